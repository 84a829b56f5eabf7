import ChangeModel
import Engine
import Mapping
import RedisClient

/// Keys that the path does not decide, and lists.
extension RedisSink {
    /// What the batch becomes by what Redis remembers; `nil` where nothing of it needs a memory.
    ///
    /// Throws `PipelineError.failed` where more would have to be remembered than the definition allows.
    func plan(
        _ batch: MappedBatch, excluding refused: Set<Int>, _ connection: RedisConnection
    ) async throws -> OwnedPlan? {
        let names = configuration.maxRemembered == nil ? nil : OwnedState.Names(checkpoint: key)
        let needsMemory = batch.changes.contains { change in
            !change.writes.isEmpty && (names != nil || change.writes.contains { $0.isOfList })
        }
        guard needsMemory else { return nil }
        var state = OwnedState(names: names)
        var addresses: Set<OwnedAddress> = []
        if let names {
            let paths = Array(Set(batch.changes.map(\.change.path)))
            var commands = RedisCommandBatch()
            OwnedState.appendRead(of: paths, names, to: &commands)
            try state.take(try await answers(to: commands, connection), paths: paths)
            addresses = Set(state.paths.values.joined())
            for change in batch.changes { addresses.formUnion(change.writes.compactMap(OwnedAddress.init)) }
        }
        var lists = Set(addresses.filter { $0.kind == .listItem }.map(\.key))
        for change in batch.changes {
            for write in change.writes where write.isOfList { if let key = write.key { lists.insert(key) } }
        }
        var commands = RedisCommandBatch()
        let (things, keys) = (Array(addresses), Array(lists))
        OwnedState.appendRead(of: things, lists: keys, names, to: &commands)
        let known = commands.count - 2 * keys.count
        let replies = commands.count == 0 ? [] : try await answers(to: commands, connection, checked: known)
        try state.take(replies, addresses: things, lists: keys)
        let plan = OwnedPlan(batch.changes, excluding: refused, state)
        if let bound = configuration.maxRemembered, plan.size(state) > bound {
            throw PipelineError.failed(
                "sink \(configuration.sink) would have to remember more than \(bound) paths or keys; "
                    + "raise its 'max_remembered'")
        }
        return plan
    }

    /// The first `checked` answers are none that refuse.
    private func answers(
        to commands: RedisCommandBatch, _ connection: RedisConnection, checked: Int = .max
    ) async throws -> ArraySlice<RESPValue> {
        let replies = try await connection.send(commands)
        for (index, reply) in replies.enumerated() {
            guard case .error(let error) = reply else { continue }
            switch ErrorClass(error) {
            case .passing, .reconnect: throw RedisError(code: .server(error), message: error.message)
            case .record where index >= checked: continue
            case .record, .cluster: throw fatal(error)
            }
        }
        return replies[...]
    }
}
