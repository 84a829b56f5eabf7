import ChangeModel
import Engine
import Mapping
import Testing

@testable import RedisSink

@Suite struct ReplayPlacementsTests {
    private func batch() -> MappedBatch {
        let keys: [[Bytes]] = [[Bytes("a".utf8)], [Bytes("a".utf8), Bytes("b \n".utf8), Bytes("a".utf8)]]
        let changes = zip([7, 9] as [Int64], keys).map { offset, keys in
            MappedChange(
                Change(operation: .update, path: "/a", data: [], zxid: Zxid(offset), timestamp: 1),
                offset: offset, generation: 0, writes: keys.map { .streamAdd(key: $0, fields: []) })
        }
        var batch = MappedBatch(offsets: 0..<0, changes: changes, settled: .none, generation: 0)
        batch.isReplay = true
        batch.letters = [0, 3]
        return batch
    }

    @Test func entriesFollowEachOther() {
        let a = StreamID(generation: 0, offset: 41, index: 2)
        let b = StreamID(generation: 1, offset: 0, index: 0)
        let made = ReplayPlacements(batch(), free: [Bytes("a".utf8): a, Bytes("b \n".utf8): b])
        #expect(made.id(offset: 7, key: Bytes("a".utf8), entry: 0)?.text == "42-2")
        #expect(made.id(offset: 9, key: Bytes("a".utf8), entry: 0)?.text == "42-3")
        #expect(made.id(offset: 9, key: Bytes("a".utf8), entry: 1)?.text == "42-4")
        #expect(made.id(offset: 9, key: Bytes("b \n".utf8), entry: 0) == b)
        #expect(made.id(offset: 8, key: Bytes("a".utf8), entry: 0) == nil)

        let places = ReplayPlacements.parse(made.record)
        #expect(places == made.places && places.map(\.number) == [0, 3, 3])
    }

    @Test func aRecordOfAnotherFormGivesNothing() {
        for text in ["", "1", "1 2 3-0 9 a\n", "1 2 x 1 a\n", "1 2 3-0 -1 a\n", "a b c"] {
            #expect(ReplayPlacements.parse(Bytes(text.utf8)).isEmpty)
        }
        #expect(ReplayPlacements.parse(Bytes("1 2 3-0 1 a\n1 2 ".utf8)).count == 1)
    }
}
