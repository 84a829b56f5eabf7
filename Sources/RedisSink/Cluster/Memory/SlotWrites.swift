import Mapping
import RedisClient

/// What a slot is sent in one step: data, and what is remembered of it, as one transaction. Sent twice it does no more
/// than once.
struct SlotWrites: Sendable {
    let slot: HashSlot
    /// `MULTI` and `EXEC` included, where there is more than one.
    private(set) var commands = RedisCommandBatch()
    /// Of the first commands of the transaction: the change that each belongs to, and whether it writes a list.
    private var data: [(change: Int, isList: Bool)] = []
    private var memoryCount = 0

    /// What has become of it.
    enum Outcome {
        /// Executed. Refused for good: changes by index. `isOutdated`: a list is not what it was read as, and was left.
        case executed(refused: [Int: RedisServerError], isOutdated: Bool)
        /// Nothing was executed: these changes' commands are not even accepted.
        case notAccepted([Int: RedisServerError])
        case failed(RedisServerError)
        /// What the sink itself needs is refused.
        case fatal(RedisServerError)
        case malformed
    }

    /// A list that is to be written where it still is what it was read as.
    struct ListWrite {
        var key: Bytes
        var old: Bytes?
        /// `nil`: the key goes.
        var new: Bytes?
        var lifetime: ChildrenList.Lifetime
    }

    init(
        _ slot: HashSlot, writes: [(change: Int, write: SinkWrite)],
        lists: [(change: Int, write: ListWrite)] = [],
        memory: RedisCommandBatch, encoder: CommandEncoder
    ) {
        self.slot = slot
        var body = RedisCommandBatch()
        for (change, write) in writes {
            let before = body.count
            encoder.append(write, to: &body)
            for _ in before..<body.count { data.append((change, false)) }
        }
        for (change, write) in lists {
            SlotWrites.append(write, to: &body)
            data.append((change, true))
        }
        memoryCount = memory.count
        body.append(contentsOf: memory)
        guard body.count > 1 else {
            commands = body
            return
        }
        commands.append("MULTI")
        commands.append(contentsOf: body)
        commands.append("EXEC")
    }

    // MARK: Lists

    /// Another sink may write other items of the same list meanwhile. `WATCH` cannot tell: the first `EXEC` of a connection
    /// ends the watches of all slots.
    private static let script: StaticString = """
        local list = redis.call('GET', KEYS[1])
        if (list or '') ~= ARGV[1] then return 0 end
        if ARGV[2] == '' then redis.call('DEL', KEYS[1])
        elseif ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
        elseif ARGV[3] == 'KEEPTTL' then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
        else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
        return 1
        """

    private static func append(_ write: ListWrite, to batch: inout RedisCommandBatch) {
        batch.begin(argumentCount: 7)
        batch.add("EVAL" as StaticString)
        batch.add(script)
        batch.add("1" as StaticString)
        batch.add(write.key)
        batch.add(write.old ?? [])
        batch.add(write.new ?? [])
        switch write.lifetime {
        case .forever: batch.add("" as StaticString)
        case .unchanged: batch.add("KEEPTTL" as StaticString)
        case .milliseconds(let count): batch.add(count)
        }
    }

    // MARK: Replies

    /// - Parameter replies: to all of the commands, none of which says that the cluster could not serve it.
    func outcome(_ replies: ArraySlice<RESPValue>) -> Outcome {
        let count = data.count + memoryCount
        guard replies.count == commands.count, let last = replies.last else { return .malformed }
        guard count > 1 else { return outcome(of: replies) }
        var refused: [Int: RedisServerError] = [:]
        for (number, reply) in replies.dropLast().enumerated() {
            guard case .error(let error) = reply else { continue }
            guard ErrorClass(error) == .record else { return .failed(error) }
            guard number > 0, number <= data.count else { return .fatal(error) }
            refused[data[number - 1].change] = error
        }
        if !refused.isEmpty { return .notAccepted(refused) }
        switch last {
        case .array(let results) where results.count == count: return outcome(of: results[...])
        case .error(let error): return ErrorClass(error) == .record ? .fatal(error) : .failed(error)
        default: return .malformed
        }
    }

    /// Of commands that were executed.
    private func outcome(of results: ArraySlice<RESPValue>) -> Outcome {
        var refused: [Int: RedisServerError] = [:]
        var isOutdated = false
        for (number, result) in results.enumerated() {
            if case .error(let error) = result {
                guard ErrorClass(error) == .record else { return .failed(error) }
                guard number < data.count else { return .fatal(error) }
                refused.note(error, for: data[number].change)
            } else if number < data.count, data[number].isList, result == .integer(0) {
                isOutdated = true
            }
        }
        return .executed(refused: refused, isOutdated: isOutdated)
    }
}
