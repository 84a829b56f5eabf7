import ChangeModel
import Mapping
import Testing

@testable import Engine

/// `dedupe` and `throttle`: what goes on, what waits, what is held for good.
@Suite struct ChangeGatesTests {
    private let start = ContinuousClock.now

    private func change(
        _ offset: Int64, _ path: String, _ value: String, _ operation: Operation = .update,
        key: String? = nil, onlyFor: String? = nil
    ) -> MappedChange {
        let bytes = Bytes(value.utf8)
        let write = SinkWrite.setString(key: Bytes((key ?? path).utf8), value: bytes)
        let change = Change(
            operation: operation, path: path, data: bytes, zxid: Zxid(offset), timestamp: 1, onlyFor: onlyFor)
        return MappedChange(change, offset: offset, generation: 0, writes: [write])
    }

    private func entry(_ offset: Int64, _ value: String) -> MappedChange {
        var change = change(offset, "/a", value)
        change.writes = [
            .streamAdd(
                key: [1],
                fields: [
                    Field(name: "zxid", value: Bytes("\(offset)".utf8)),
                    Field(name: "data", value: Bytes(value.utf8)),
                ])
        ]
        return change
    }

    private func offsets(_ changes: [MappedChange]) -> [Int64] { changes.map(\.offset) }

    @Test func aValueThatIsThereGoesNoFurther() {
        var gates = ChangeGates([.dedupe])
        func take(_ change: MappedChange) -> Bool { !gates.take(change, at: start).isEmpty }
        #expect(take(change(0, "/a", "1", .create)))
        #expect(!take(change(1, "/a", "1")))
        #expect(take(change(2, "/b", "1")))
        #expect(take(change(3, "/a", "2")))
        #expect(take(change(4, "/a", "1")))
        // A sink that has lost it gets it once more.
        #expect(take(change(5, "/a", "1", .read, onlyFor: "sink")))
        #expect(take(change(6, "/a", "1", .delete)))
        #expect(take(change(7, "/a", "1", .create)))
        gates.forget(["/a"])
        #expect(take(change(8, "/a", "1")))
        gates.clear()
        #expect(take(change(9, "/a", "1")))
        #expect(gates.oldestHeld == nil)
    }

    /// An envelope tells which change it was; the data in it what it says. What `set` puts in a fact's place counts.
    @Test func anEnvelopesDataCounts() {
        let gates = ChangeGates([.dedupe])
        func entry(_ offset: Int64, _ value: String, _ version: String? = nil) -> MappedChange {
            var change = change(offset, "/a", value)
            let fields = ["zxid": "\(offset)", "version": version ?? "-1", "envelope": "{\(offset)}"]
            let list = fields.sorted { $0.key < $1.key }.map {
                Field(name: $0.key, value: Bytes($0.value.utf8))
            }
            change.writes = [.streamAdd(key: [1], fields: FieldList(list))]
            return change
        }
        #expect(offsets(gates.take(entry(0, "x"), at: start)) == [0])
        #expect(offsets(gates.take(entry(1, "x"), at: start)) == [])
        #expect(offsets(gates.take(entry(2, "y"), at: start)) == [2])
        #expect(offsets(gates.take(entry(3, "y", "5"), at: start)) == [3])
        #expect(offsets(gates.take(entry(4, "y", "6"), at: start)) == [4])
        #expect(offsets(gates.take(entry(5, "y", "6"), at: start)) == [])
    }

    @Test func entriesAreComparedByWhatTheySay() {
        let gates = ChangeGates([.dedupe])
        #expect(offsets(gates.take(entry(0, "x"), at: start)) == [0])
        #expect(offsets(gates.take(entry(1, "x"), at: start)) == [])
        #expect(offsets(gates.take(entry(2, "y"), at: start)) == [2])
    }

    @Test func theNewestOfAnIntervalWins() {
        let gates = ChangeGates([.throttle(milliseconds: 100)])
        func take(_ change: MappedChange, after milliseconds: Int) -> [Int64] {
            offsets(gates.take(change, at: start + .milliseconds(milliseconds)))
        }
        func release(after milliseconds: Int, all: Bool = false) -> [Int64] {
            offsets(gates.release(all, at: start + .milliseconds(milliseconds)))
        }
        #expect(take(change(0, "/a", "1"), after: 0) == [0])
        #expect(take(change(1, "/a", "2"), after: 10) == [])
        #expect(take(change(2, "/b", "1"), after: 20) == [2])
        #expect(gates.oldestHeld == 1)
        #expect(take(change(3, "/a", "3", .delete), after: 30) == [])
        #expect(gates.oldestHeld == 3)
        #expect(gates.nextDue == start + .milliseconds(100))
        #expect(release(after: 99) == [])
        #expect(release(after: 100) == [3])
        #expect(gates.oldestHeld == nil)
        // The interval begins again with what was let through.
        #expect(take(change(4, "/a", "4"), after: 150) == [])
        #expect(take(change(5, "/b", "2"), after: 150) == [5])
        #expect(release(after: 151, all: true) == [4])
        #expect(take(change(6, "/a", "5"), after: 400) == [6])
    }

    /// What the newer change would leave behind comes first.
    @Test func writesToAnotherKeyAreNotReplaced() {
        let gates = ChangeGates([.throttle(milliseconds: 100)])
        #expect(offsets(gates.take(change(0, "/a", "1", key: "x"), at: start)) == [0])
        #expect(offsets(gates.take(change(1, "/a", "2", key: "x"), at: start)) == [])
        #expect(offsets(gates.take(change(2, "/a", "3", key: "y"), at: start)) == [1])
        #expect(gates.oldestHeld == 2)
        var removal = change(3, "/a", "", .delete)
        removal.writes = [.release]
        #expect(offsets(gates.take(removal, at: start)) == [])
        #expect(offsets(gates.release(true, at: start)) == [3])
    }

    @Test func whatIsForASinkAloneDoesNotWait() {
        let gates = ChangeGates([.throttle(milliseconds: 100)])
        _ = gates.take(change(0, "/a", "1"), at: start)
        #expect(offsets(gates.take(change(1, "/a", "2"), at: start)) == [])
        #expect(offsets(gates.take(change(2, "/a", "3", .read, onlyFor: "s"), at: start)) == [2])
        #expect(gates.oldestHeld == nil)
    }

    @Test func moreThanCanBeHeldComesEarlyAndWhole() {
        let gates = ChangeGates([.throttle(milliseconds: 100)])
        let count: Int64 = 25_000
        var passed: [Int64] = []
        for offset in 0..<count {
            passed += offsets(gates.take(change(offset, "/\(offset)", "1"), at: start))
        }
        for offset in 0..<count {
            passed += offsets(gates.take(change(count + offset, "/\(offset)", "2"), at: start))
        }
        while gates.oldestHeld != nil { passed += offsets(gates.release(true, at: start)) }
        #expect(passed.sorted() == Array(0..<2 * count))
    }

    /// A value that is back to what was written last.
    @Test func whatIsHeldMayTurnOutToBeThereAlready() {
        let gates = ChangeGates([.throttle(milliseconds: 100), .dedupe])
        _ = gates.take(change(0, "/a", "1"), at: start)
        _ = gates.take(change(1, "/a", "2"), at: start)
        _ = gates.take(change(2, "/a", "1"), at: start)
        #expect(gates.oldestHeld == 2)
        #expect(offsets(gates.release(true, at: start)) == [])
        #expect(gates.oldestHeld == nil)
    }
}
