import ChangeModel
import Engine
import Mapping
import RedisClient

/// One slot's stream entries and its checkpoint, as one script.
///
/// `WATCH` cannot be the fence here: the first `EXEC` of a connection ends the watches of all slots. The script compares
/// instead: it writes only where the checkpoint is still the one that this transaction builds on. So it may also be
/// executed late, or be sent again, and never does any harm.
enum SlotTransaction {
    /// `KEYS`: the checkpoint, the streams. `ARGV`: `e`, `p` and `o` of the expected checkpoint (empty: none), the
    /// number of arguments for its `HSET`, these, then each command with the number of its arguments before it.
    ///
    /// Answers `{0, checkpoint}` where that is another one, else `{1, number, error, …}` with the commands, from 0,
    /// that were refused. An error of `HSET` (out of memory, a replica) comes where no command could write either.
    static let script = """
        local found = redis.call('HMGET', KEYS[1], 'e', 'p', 'c', 'g', 'l', 'z', 'f', 'o', 't')
        if (found[1] or '') ~= ARGV[1] or (found[2] or '') ~= ARGV[2] or (found[8] or '') ~= ARGV[3] then
          return {0, found}
        end
        local result = {1}
        local fields = tonumber(ARGV[4])
        local at, last, number = 5 + fields, #ARGV, 0
        while at <= last do
          local count = tonumber(ARGV[at])
          local reply = redis.pcall(unpack(ARGV, at + 1, at + count))
          if type(reply) == 'table' and reply.err then
            result[#result + 1] = number
            result[#result + 1] = reply.err
          end
          at = at + count + 1
          number = number + 1
        end
        redis.call('HSET', KEYS[1], unpack(ARGV, 5, 4 + fields))
        return result
        """

    /// Of an entry; Lua unpacks a little less than 8,000 arguments.
    static let maximumFields = 3_500
    static let tooManyFields = RedisServerError(
        message: "an entry of more than \(maximumFields) fields cannot be written to a cluster")

    enum Outcome {
        /// Refused for good: entries by number.
        case executed([Int: RedisServerError])
        /// The checkpoint is another one, or there is none.
        case conflict(Checkpoint?)
        /// Nothing was executed.
        case refused(RedisServerError)
        case malformed
    }

    /// What is added to the expected checkpoint.
    struct Entry {
        var key: Bytes
        var id: StreamID
        var fields: [Field]
    }

    static func append(
        _ entries: [Entry], streams: [Bytes], expected: Checkpoint?, next: Checkpoint, replayed: Bytes?,
        key: String, script: String, encoder: CommandEncoder, to batch: inout RedisCommandBatch
    ) {
        let fields = CheckpointRecord.arguments(of: next, replayed: replayed)
        let counts = entries.map { encoder.entryArgumentCount($0.fields) }
        batch.begin(
            argumentCount: 4 + streams.count + 4 + fields.count + counts.reduce(0) { $0 + $1 + 1 })
        batch.add("EVALSHA" as StaticString)
        batch.add(script)
        batch.add(Int64(1 + streams.count))
        batch.add(key)
        for stream in streams { batch.add(stream) }
        batch.add(expected.map { "\($0.epoch)" } ?? "")
        batch.add(expected.map { "\($0.sent)" } ?? "")
        batch.add(expected?.owner ?? "")
        batch.add(Int64(fields.count))
        for field in fields { batch.add(field) }
        for (entry, count) in zip(entries, counts) {
            batch.add(Int64(count))
            encoder.addEntry(entry.key, entry.id, entry.fields, to: &batch)
        }
    }

    static func outcome(_ reply: RESPValue, key: String) throws(PipelineError) -> Outcome {
        if case .error(let error) = reply { return .refused(error) }
        guard let values = reply.array, let kind = values.first?.int else { return .malformed }
        if kind == 0 {
            guard values.count == 2 else { return .malformed }
            return .conflict(try CheckpointRecord.parse(values[1], key: key))
        }
        var refused: [Int: RedisServerError] = [:]
        var index = 1
        while index + 1 < values.count {
            guard let number = values[index].int, let text = values[index + 1].string else {
                return .malformed
            }
            refused[Int(truncatingIfNeeded: number)] = RedisServerError(message: text)
            index += 2
        }
        return .executed(refused)
    }
}
