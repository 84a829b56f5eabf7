import ChangeModel
import Engine
import Mapping
import RedisClient
import Testing

@testable import RedisSink

/// What the replies to a slot's `MULTI` mean.
struct SlotTransactionTests {
    private let key = "millrace:{0}:p:s"
    private let queued = RESPValue.simpleString("QUEUED")
    private let added = RESPValue.bulkString(Array("1-0".utf8))

    /// `e p c g l z f o t`
    private func record(epoch: String? = "3", owner: String? = "host process 1") -> RESPValue {
        .array(
            [epoch, "7", "5", "0", "log", "9", "0", owner, "1"].map { text in
                text.map { .bulkString(Array($0.utf8)) } ?? .null
            })
    }

    private func outcome(_ results: [RESPValue], entries: Int) throws -> SlotTransaction.Outcome {
        let replies = [RESPValue.simpleString("OK")] + Array(repeating: queued, count: entries + 2)
        return try SlotTransaction.outcome((replies + [.array(results)])[...], key: key)
    }

    private func error(_ message: String) -> RESPValue { .error(RedisServerError(message: message)) }

    @Test func executedOnACheckpoint() throws {
        guard
            case .executed(let found, let refused, let absent) = try outcome(
                [record(), added, added, .integer(0)], entries: 2)
        else { return #expect(Bool(false), "not executed") }
        #expect(found?.epoch == 3)
        #expect(found?.sent == 7)
        #expect(found?.confirmed == 5)
        #expect(refused.isEmpty)
        #expect(absent.isEmpty)
    }

    @Test func refusedAndAbsentEntriesAreTold() throws {
        guard
            case .executed(_, let refused, let absent) = try outcome(
                [record(), error("WRONGTYPE x"), added, .null, .integer(0)], entries: 3)
        else { return #expect(Bool(false), "not executed") }
        #expect(refused.keys.sorted() == [0])
        #expect(absent == [2])
    }

    /// Written to since it was removed: only what changes is there, and it speaks for nobody.
    @Test func aCheckpointWithoutItsOwnerIsNone() throws {
        guard
            case .executed(let found, _, _) = try outcome(
                [record(epoch: nil, owner: nil), added, .integer(6)], entries: 1)
        else { return #expect(Bool(false), "not executed") }
        #expect(found == nil)
    }

    @Test func aCheckpointThatLacksAFieldIsSaid() throws {
        #expect(throws: PipelineError.self) {
            try outcome([record(epoch: nil), added, .integer(0)], entries: 1)
        }
    }

    @Test func entriesThatAreNotQueuedAreNamed() throws {
        let replies = [
            RESPValue.simpleString("OK"), queued, queued, error("NOPERM no"), queued,
            error("EXECABORT Transaction discarded because of previous errors."),
        ]
        guard case .notAccepted(let refused) = try SlotTransaction.outcome(replies[...], key: key) else {
            return #expect(Bool(false), "not told which")
        }
        #expect(refused.keys.sorted() == [1])
    }

    /// What passes by itself, or is no matter of an entry, concerns the whole transaction.
    @Test(arguments: [(2, "OOM command not allowed"), (1, "NOPERM no"), (4, "NOPERM no"), (2, "MOVED 1 h:1")])
    func otherwiseNothingWasExecuted(_ index: Int, _ message: String) throws {
        var replies = [RESPValue.simpleString("OK"), queued, queued, queued, queued, error("EXECABORT x")]
        replies[index] = error(message)
        guard case .refused(let found) = try SlotTransaction.outcome(replies[...], key: key) else {
            return #expect(Bool(false), "not refused")
        }
        #expect(found.message == message)
    }

    /// A checkpoint that could not be written: out of memory, or a replica by now.
    @Test func aRefusedCheckpointIsARefusal() throws {
        guard case .refused = try outcome([record(), added, error("READONLY x")], entries: 1) else {
            return #expect(Bool(false), "not refused")
        }
    }

    @Test func otherFormsAreMalformed() throws {
        for replies: [RESPValue] in [
            [], [queued, queued, queued], [queued, queued, queued, .null],
            [queued, queued, queued, .array([record()])],
            [queued, queued, queued, .array([record(), added, .integer(0)])],
        ] {
            guard case .malformed = try SlotTransaction.outcome(replies[...], key: key) else {
                return #expect(Bool(false), "taken: \(replies)")
            }
        }
    }

    /// A new owner writes all of the checkpoint, the same one only what changes.
    @Test func onlyWhatChangesIsWritten() {
        let next = Checkpoint(
            epoch: 3, sent: 8, confirmed: 7, generation: 0, logID: "log", settled: .none, floor: 0,
            owner: "host process 1", written: 2)
        var before = next
        before.sent = 7
        var other = before
        other.owner = "other process 1"
        func size(_ expected: Checkpoint?) -> Int {
            var batch = RedisCommandBatch()
            SlotTransaction.append(
                expected: expected, next: next, key: key, to: &batch)
            #expect(batch.count == 4)
            return batch.byteCount
        }
        #expect(size(before) < size(other))
        #expect(size(other) == size(nil))
    }
}
