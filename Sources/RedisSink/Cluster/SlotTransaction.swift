import ChangeModel
import Engine
import Mapping
import RedisClient

/// One slot's stream entries and its checkpoint, as one MULTI.
///
/// `MULTI` · `HMGET checkpoint` · the entries · `HSET checkpoint` · `EXEC`. What the checkpoint was is known only
/// afterwards: `WATCH` cannot tell before, since the first `EXEC` of a connection ends the watches of all slots, and a
/// script that compares first costs a server twice as much. So the transaction does no harm where something else was
/// there than it builds on:
/// - A stream that exists is not made anew (`NOMKSTREAM`): where a server was emptied, nothing is appended.
/// - Of the checkpoint only what changes is written: one that was emptied lacks its owner then, and speaks for nobody.
/// - What another process has written meanwhile is refused for its ID, not written twice.
///
/// Earlier processes' connections are ended when the sink is claimed, so that this is the only one that writes.
enum SlotTransaction {
    enum Outcome {
        /// Executed on what was found. Refused for good: entries by number. Of `absent` ones there is no stream.
        case executed(on: Checkpoint?, refused: [Int: RedisServerError], absent: [Int])
        /// Not executed: these entries, by number, are not even accepted.
        case notAccepted([Int: RedisServerError])
        /// Nothing was executed.
        case refused(RedisServerError)
        case malformed
    }

    /// - Parameter entries: appends one `XADD` for each of them.
    static func append(
        expected: Checkpoint?, next: Checkpoint, replayed: Bytes? = nil, key: String,
        to batch: inout RedisCommandBatch, entries: (inout RedisCommandBatch) -> Void = { _ in }
    ) {
        batch.append("MULTI")
        CheckpointRecord.appendRead(key: key, to: &batch)
        entries(&batch)
        let isOurs =
            expected?.epoch == next.epoch && expected?.owner == next.owner && expected?.logID == next.logID
        CheckpointRecord.appendWrite(
            of: next, replayed: replayed, isWhole: !isOurs, key: key, to: &batch)
        batch.append("EXEC")
    }

    /// - Parameter replies: to all of its commands.
    static func outcome(_ replies: ArraySlice<RESPValue>, key: String) throws(PipelineError) -> Outcome {
        let count = replies.count - 4
        guard count >= 0, let last = replies.last else { return .malformed }
        if let refused = queueErrors(replies) { return refused }
        switch last {
        case .error(let error):
            return .refused(error)
        case .array(let results):
            guard results.count == count + 2 else { return .malformed }
            if case .error(let error) = results[count + 1] { return .refused(error) }
            var refused: [Int: RedisServerError] = [:]
            var absent: [Int] = []
            for number in 0..<count {
                switch results[number + 1] {
                case .error(let error): refused[number] = error
                case .null: absent.append(number)
                default: break
                }
            }
            return .executed(on: try checkpoint(results[0], key: key), refused: refused, absent: absent)
        default:
            return .malformed
        }
    }

    private static func queueErrors(_ replies: ArraySlice<RESPValue>) -> Outcome? {
        var refused: [Int: RedisServerError] = [:]
        for (index, reply) in replies.dropLast().enumerated() {
            guard case .error(let error) = reply else { continue }
            guard (2..<replies.count - 2).contains(index), ErrorClass(error) == .record else {
                return .refused(error)
            }
            refused[index - 2] = error
        }
        return refused.isEmpty ? nil : .notAccepted(refused)
    }

    /// A slot's checkpoint; `nil` where there is none, or one that was removed and written to since.
    static func checkpoint(_ reply: RESPValue, key: String) throws(PipelineError) -> Checkpoint? {
        if let values = reply.array, values.count == CheckpointRecord.fields.count,
            values[0] == .null, values[7] == .null
        {
            return nil
        }
        return try CheckpointRecord.parse(reply, key: key)
    }
}
