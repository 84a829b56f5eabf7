import ChangeModel
import Mapping
import Testing

@testable import Engine

/// What a node leaves in a sink, whichever change of it came last.
@Suite struct ExpectationTests {
    private static let now: Int64 = 1_000_000_000
    private let key = SinkItem(kind: .string, key: Bytes("k:1".utf8))

    private func expecter(
        _ operations: Set<ChangeModel.Operation> = Set(Operation.allCases), value: String? = nil,
        onDelete: DeletePolicy = .delete, ttl: String? = nil, mayLackNodes: Bool = false
    ) throws -> Expecter {
        var sink = SinkSpecification(
            name: "s", write: .string, key: try Template("k:{x}"), value: try value.map { try Template($0) },
            onDelete: onDelete)
        sink.ttl = try ttl.map { try Template($0) }
        let rule = Rule(match: try PathPattern("/a/{x}"), operations: operations)
        let transform = TransformSpecification(stages: [.rules([rule])])
        return Expecter(
            mapper: Mapper(transform: transform, sinks: [sink]), sink: 0, kind: .string,
            dependsOnOperation: sink.dependsOnOperation(transform),
            dependsOnOffset: sink.dependsOnOffset(transform), mayLackNodes: mayLackNodes)
    }

    private func node(_ data: String, version: Int32 = 0, mtime: Int64 = 0) -> TreeNode {
        TreeNode(
            path: "/a/1", data: Bytes(data.utf8),
            stat: NodeStat(czxid: Zxid(5), mzxid: Zxid(version > 0 ? 6 : 5), mtime: mtime, version: version))
    }

    private func takes(_ expecter: Expecter, _ node: TreeNode, _ contents: ItemContent...) -> [Bool] {
        let wanted = expecter.live(node, now: ExpectationTests.now).wanted(key)
        return contents.map { wanted?.takes($0, .string) ?? false }
    }

    private func text(_ text: String) -> ItemContent { .value(Bytes(text.utf8)) }

    @Test func theValueAndNoOther() throws {
        let plain = try expecter()
        #expect(!plain.dependsOnOperation)
        #expect(
            takes(plain, node("v"), text("v"), text("w"), .absent, .otherType) == [true, false, false, false])
        #expect(plain.live(TreeNode(path: "/b", data: [], stat: node("").stat), now: 0).items.isEmpty)
        let late = try expecter(mayLackNodes: true)
        #expect(takes(late, node("v"), text("v"), text("w"), .absent) == [true, false, true])
    }

    @Test func whatOnLeavesOutMayBeOld() throws {
        let creations = try expecter([.create, .delete])
        #expect(takes(creations, node("v"), text("v"), text("w"), .absent) == [true, false, true])
        #expect(takes(creations, node("v", version: 1), text("v"), text("w"), .absent) == [true, true, true])
        let changes = try expecter([.update, .delete])
        #expect(takes(changes, node("v"), text("v"), .absent).last == false)
        #expect(changes.live(node("v"), now: 0).items.isEmpty)
        #expect(takes(changes, node("v", version: 1), text("v"), text("w"), .absent) == [true, false, true])
    }

    @Test func whatComesFromTheChangeMayDiffer() throws {
        let named = try expecter(value: "{op} {zxid} {value}")
        #expect(
            takes(
                named, node("v", version: 1), text("r 6 v"), text("u 6 v"), text("c 5 v"), text("d 6 v"),
                .absent) == [true, true, true, false, false])
        #expect(takes(named, node("v"), text("u 5 v"), text("c 5 v")) == [false, true])
        let placed = try expecter(value: "{offset}")
        #expect(takes(placed, node("v"), text("12"), .absent) == [true, false])
    }

    @Test func whatMayHaveExpiredMayBeGone() throws {
        let expiring = try expecter(ttl: "1h")
        let (old, young) = (node("v"), node("v", mtime: ExpectationTests.now - 1000))
        #expect(takes(expiring, old, text("v"), text("w"), .absent) == [true, false, true])
        #expect(takes(expiring, young, text("v"), .absent) == [true, false])
    }

    @Test func afterADeletion() throws {
        func gone(_ policy: DeletePolicy) throws -> [Bool]? {
            let expectation = try expecter(onDelete: policy).gone("/a/1")
            return expectation.wanted(key).map { wanted in
                [ItemContent.absent, text(""), text("v")].map { wanted.takes($0, .string) }
            }
        }
        #expect(try gone(.delete) == [true, false, false])
        #expect(try gone(.tombstone) == [true, true, false])
        #expect(try gone(.keep) == nil)
        #expect(try expecter(onDelete: .keep).gone("/a/1").isOpen)
    }

    @Test func scoresAreNumbersAndFieldsHaveNoOrder() {
        var wanted = Wanted()
        wanted.accept(.value(Bytes("1.50".utf8)))
        #expect(wanted.takes(text("1.5"), .scoredMember) && !wanted.takes(text("1.5"), .hashField))
        #expect(!wanted.takes(text("2"), .scoredMember))
        var hash = Wanted()
        hash.accept(.fields([[1]: [2], [3]: nil]))
        #expect(hash.takes(.fields([[3]: [9], [1]: [2]]), .hash))
        #expect(!hash.takes(.fields([[1]: [2]]), .hash))
        #expect(!hash.takes(.fields([[1]: [2], [3]: [], [4]: []]), .hash))
    }

    @Test func whatIsShownCanBePrinted() {
        let bytes = Bytes("a\u{1b}[2J\n\\é".utf8)
        #expect(bytes.printable == #"a\x1b[2J\x0a\\é"#)
        #expect(([0xff, 0x61, 0x00] as Bytes).printable == #"\xffa\x00"#)
        let texts = ShownContent.texts(
            .fields([[0x61]: [0x31], [0x62]: [0x32]]),
            .fields([[0x61]: [0x31], [0x62]: [0x33], [0x63]: [0x34]]))
        #expect(texts.expected == #"{b="2"}"# && texts.found == #"{b="3" c="4"}"#)
        let long = ShownContent.texts(.value(Bytes(repeating: 0x61, count: 5000)), .absent)
        #expect((long.expected?.count ?? 0) < 300 && long.found == nil)
    }
}
