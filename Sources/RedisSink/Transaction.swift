import ChangeModel
import Engine
import RedisClient

/// One batch and its checkpoint as one MULTI, and what the answers mean. Pure.
///
/// `MULTI` · the data commands · what is remembered of them · `HSET checkpoint` · `EXEC` · `WATCH checkpoint` ·
/// `HMGET checkpoint`: the watch is the fence for the next transaction, and what is read behind it is what that one builds on.
struct Transaction {
    private(set) var commands = RedisCommandBatch()
    /// Index into `changes` of each data command.
    private var owners: [Int] = []
    /// Commands behind them that remember what belongs to which path.
    private let memoryCount: Int
    private let changes: [MappedChange]
    private let key: String

    enum Outcome: Equatable {
        /// Executed. Refused for good: changes by index, with the server's words.
        case executed([Int: RedisServerError])
        /// Not executed: these changes' commands are not even accepted.
        case notAccepted([Int: RedisServerError])
        /// Not executed, for a reason that passes.
        case passing(RedisServerError)
        /// Not executed; this connection is of no use.
        case reconnect(RedisServerError)
        /// Not executed: the checkpoint was changed by somebody else.
        case conflict
        /// Not executed, and waiting does not help.
        case fatal(RedisServerError)
        /// The answers make no sense.
        case malformed
    }

    /// - Parameter excluded: changes (by index) that the server has refused already.
    init(
        _ changes: [MappedChange], excluding excluded: Set<Int>, memory: RedisCommandBatch? = nil,
        checkpoint: Checkpoint, key: String, encoder: CommandEncoder, isFenced: Bool
    ) {
        memoryCount = memory?.count ?? 0
        self.changes = changes
        self.key = key
        commands.append("MULTI")
        for (index, change) in changes.enumerated() where !excluded.contains(index) {
            let before = commands.count
            encoder.append(change, floor: checkpoint.floor, to: &commands)
            owners.append(contentsOf: repeatElement(index, count: commands.count - before))
        }
        if let memory { commands.append(contentsOf: memory) }
        CheckpointRecord.appendWrite(
            of: checkpoint, replayed: encoder.placements?.record, key: key, to: &commands)
        commands.append("EXEC")
        if isFenced { commands.append("WATCH", key) } else { commands.append("UNWATCH") }
        CheckpointRecord.appendRead(key: key, to: &commands)
    }

    /// The checkpoint that the last command read.
    func checkpoint(in replies: [RESPValue]) throws(PipelineError) -> Checkpoint? {
        guard let last = replies.last else { return nil }
        return try CheckpointRecord.parse(last, key: key)
    }

    func outcome(of replies: [RESPValue]) -> Outcome {
        let dataCount = owners.count
        let count = dataCount + memoryCount
        guard replies.count == commands.count, replies.count == count + 5 else { return .malformed }
        if let refused = queueErrors(replies) { return refused }
        switch replies[count + 2] {
        case .array(let results):
            guard results.count == count + 1 else { return .malformed }
            for case .error(let error) in results[dataCount...] { return .fatal(error) }
            var refused: [Int: RedisServerError] = [:]
            for (index, result) in results.prefix(dataCount).enumerated() {
                if case .error(let error) = result { refused.note(error, for: owners[index]) }
            }
            return .executed(refused)
        case .null:
            return .conflict
        case .error(let error):
            return outcome(ofWholeBatch: error)
        default:
            return .malformed
        }
    }

    /// Errors given while commands were queued: the transaction was not executed.
    private func queueErrors(_ replies: [RESPValue]) -> Outcome? {
        var refused: [Int: RedisServerError] = [:]
        for (index, reply) in replies.prefix(owners.count + memoryCount + 2).enumerated() {
            guard case .error(let error) = reply else { continue }
            let isData = index > 0 && index <= owners.count
            if ErrorClass(error) == .record, isData {
                refused[owners[index - 1]] = error
            } else {
                return outcome(ofWholeBatch: error)
            }
        }
        return refused.isEmpty ? nil : .notAccepted(refused)
    }

    private func outcome(ofWholeBatch error: RedisServerError) -> Outcome {
        switch ErrorClass(error) {
        case .passing: .passing(error)
        case .reconnect: .reconnect(error)
        case .record, .cluster: .fatal(error)
        }
    }
}
