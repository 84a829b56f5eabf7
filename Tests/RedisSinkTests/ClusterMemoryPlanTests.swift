import ChangeModel
import Engine
import Mapping
import RedisClient
import Testing

@testable import RedisSink

/// What a batch becomes where a cluster remembers, and what the replies to it mean.
struct ClusterMemoryPlanTests {
    private let memory = ClusterMemory(pipeline: "p", sink: "s")

    private func bytes(_ text: String) -> Bytes { Bytes(text.utf8) }
    private func key(_ name: String) -> OwnedAddress { OwnedAddress(kind: .key, key: bytes(name)) }

    private func plan(
        _ changes: [(path: String, write: SinkWrite)], excluding: Set<Int> = [],
        _ fill: (inout ClusterMemoryState) -> Void = { _ in }
    ) -> ClusterMemoryPlan {
        var state = ClusterMemoryState(memory: memory)
        fill(&state)
        let mapped = changes.enumerated().map { index, change in
            MappedChange(
                Change(operation: .update, path: change.path, data: [], zxid: Zxid(1), timestamp: 1),
                offset: Int64(index), generation: 0, writes: [change.write])
        }
        return ClusterMemoryPlan(
            mapped, excluding: excluding, state, encoder: CommandEncoder())
    }

    private func slots(_ step: ClusterMemoryPlan.Step) -> Set<HashSlot> { Set(step.slots.map(\.slot)) }
    private func slots(_ keys: String...) -> Set<HashSlot> { Set(keys.map { HashSlot(of: $0) }) }

    private func string(_ name: String) -> SinkWrite { .setString(key: bytes(name), value: [0x31]) }

    /// As `paths` names it and the thing's slot holds it.
    private func give(_ path: String, _ address: OwnedAddress, _ state: inout ClusterMemoryState) {
        state.paths[path, default: []].append(address)
        state.holds.insert(Hold(address: address, path: path))
        state.owners[address, default: 0] += 1
    }

    @Test func whatIsNewIsNamedFirstAndWhatIsGoneLast() {
        let plan = plan([("/a", string("new"))]) { give("/a", key("old"), &$0) }
        #expect(plan.steps.map(slots) == [slots("/a"), slots("new"), slots("old"), slots("/a")])
        #expect(plan.growth.paths == 0)
        #expect(plan.growth.things == 0)
        // MULTI, SET, HSET holds, HSET owners, EXEC; MULTI, UNLINK, HDEL holds, HDEL owners, EXEC.
        #expect(plan.steps.map { $0.slots[0].commands.count } == [1, 5, 5, 1])
    }

    @Test func whatStaysIsOnlyWritten() {
        let plan = plan([("/a", string("k"))]) { give("/a", key("k"), &$0) }
        #expect(plan.steps.map(slots) == [slots("k")])
        #expect(plan.steps.first?.slots.first?.commands.count == 1)
    }

    @Test func whatComesAndGoesWasNeverThere() {
        let plan = plan([("/a", string("x")), ("/a", .release), ("/b", string("y")), ("/b", string("z"))])
        #expect(plan.steps.map(slots) == [slots("/b"), slots("z")])
        #expect(plan.growth.paths == 1)
        #expect(plan.growth.things == 1)
    }

    /// `paths` may name more than is held; what nobody holds is not removed: it is not ours.
    @Test func whatIsNamedAndNotHeldIsForgotten() {
        let plan = plan([("/a", .release)]) { $0.paths["/a"] = [key("k")] }
        #expect(plan.steps.map(slots) == [slots("/a")])
        #expect(plan.growth.paths == -1)
    }

    /// Half of a batch was done: the rest of it is.
    @Test func aHoldThatIsThereCountsOnce() {
        let plan = plan([("/a", string("new"))]) {
            give("/a", key("old"), &$0)
            give("/a", key("new"), &$0)
        }
        #expect(plan.steps.map(slots) == [slots("new"), slots("old"), slots("/a")])
        #expect(plan.steps.first?.slots.first?.commands.count == 1)
        #expect(plan.growth.things == -1)
    }

    @Test func aThingStaysForItsOtherOwners() {
        let plan = plan([("/a", .release)]) {
            give("/a", key("k"), &$0)
            give("/b", key("k"), &$0)
        }
        #expect(plan.steps.map(slots) == [slots("k"), slots("/a")])
        // Its hold and the count; the key is not touched.
        #expect(plan.steps.first?.slots.first?.commands.count == 4)
        #expect(plan.growth.things == 0)
    }

    @Test func whatIsExcludedChangesNothing() {
        let plan = plan([("/a", .release), ("/a", string("x"))], excluding: [0, 1]) {
            give("/a", key("k"), &$0)
        }
        #expect(plan.steps.isEmpty)
    }

    // MARK: Replies

    private func error(_ message: String) -> RESPValue { .error(RedisServerError(message: message)) }

    /// Of a change that writes a member, with its hold and the count.
    private func outcome(_ results: [RESPValue]) throws -> SlotWrites.Outcome {
        let plan = plan([("/a", .addMember(key: bytes("s"), member: [0x31]))])
        let writes = try #require(plan.steps.last?.slots.first)
        let queued = [RESPValue](repeating: .simpleString("QUEUED"), count: 3)
        return writes.outcome(([.simpleString("OK")] + queued + [.array(results)])[...])
    }

    @Test func aRefusedCommandIsItsChanges() throws {
        guard
            case .executed(let refused, false) = try outcome([error("WRONGTYPE x"), .integer(1), .integer(1)])
        else { return #expect(Bool(false), "not executed") }
        #expect(refused.keys.sorted() == [0])
    }

    @Test func aMemoryThatIsRefusedEndsTheSink() throws {
        guard case .fatal = try outcome([.integer(1), error("WRONGTYPE x"), .integer(1)]) else {
            return #expect(Bool(false), "not fatal")
        }
    }

    @Test func whatPassesIsSentAgain() throws {
        guard case .failed = try outcome([error("OOM x"), .integer(1), .integer(1)]) else {
            return #expect(Bool(false), "not failed")
        }
        guard case .malformed = try outcome([.integer(1)]) else {
            return #expect(Bool(false), "not malformed")
        }
    }
}
