import ChangeModel
import Engine
import Mapping
import RedisClient

/// Keys that the path does not decide, and lists.
extension RedisClusterSink {
    /// What is remembered of what the cluster remembers.
    struct MemoryStock {
        var growth = ClusterMemoryPlan.Growth()
        /// Slots that have anything.
        var slots: [HashSlot] = []
    }

    /// Whether what a batch becomes depends on what the cluster holds.
    var remembers: Bool { configuration.maxRemembered != nil || configuration.writesLists }

    /// A slot that has lost something sends all of them back: what belongs together lies in several, or what was held back
    /// is missing in slots that have what comes behind it.
    var goesBackAsOne: Bool { remembers || configuration.holdsBack }

    var memory: ClusterMemory? {
        configuration.maxRemembered.map { _ in
            ClusterMemory(pipeline: configuration.pipeline, sink: configuration.sink)
        }
    }

    func deliverRemembering(_ batch: MappedBatch) async throws -> DeliveryOutcome {
        var refused: [Int: RedisServerError] = [:]
        var excluded: Set<Int> = []
        var slots: Set<HashSlot> = []
        plans: while true {
            try Task.checkCancellation()
            do {
                try await refresh(waits: false)
                if let offset = try await reconcile(nil) { return .rewound(to: offset) }
                if .now - lastMarked >= RedisClusterSink.lookInterval {
                    // All nodes are heard every second, whatever a batch has for them.
                    try await markAll()
                    if let offset = try await reconcile(nil) { return .rewound(to: offset) }
                }
                try await keepStock()
                let plan = try await plan(batch, excluding: excluded)
                refused.merge(plan.refused) { first, _ in first }
                for step in plan.steps {
                    var work = ClusterWork(batch, step.slots)
                    if let offset = try await complete(&work) { return .rewound(to: offset) }
                    slots.formUnion(step.slots.map(\.slot))
                    refused.merge(work.refused) { first, _ in first }
                    if !work.notAccepted.isEmpty || work.isOutdated {
                        // A part of the step may be done.
                        stock = nil
                        refused.merge(work.notAccepted) { first, _ in first }
                        excluded.formUnion(work.notAccepted.keys)
                        continue plans
                    }
                    if let before = stock?.growth { stock?.growth = before + step.growth }
                }
                break
            } catch let error as RedisClusterError {
                try await lost(error)
            } catch let error as RedisError {
                try await lost(error)
            }
        }
        if let offset = try await replicate(slots) { return .rewound(to: offset) }
        return finish(batch, refused)
    }

    /// Throws `PipelineError.failed` where more would have to be remembered than the definition allows.
    private func plan(_ batch: MappedBatch, excluding excluded: Set<Int>) async throws -> ClusterMemoryPlan {
        let state = try await read(batch)
        let plan = ClusterMemoryPlan(
            batch.changes, excluding: excluded, state,
            encoder: CommandEncoder())
        if let bound = configuration.maxRemembered, let stock {
            let after = stock.growth + plan.growth
            let isMore = plan.growth.paths > 0 || plan.growth.things > 0
            if isMore, max(after.paths, after.things) > bound {
                throw PipelineError.failed(
                    "sink \(configuration.sink) would have to remember more than \(bound) paths or keys; "
                        + "raise its 'max_remembered'")
            }
        }
        return plan
    }

    // MARK: Reading

    /// What is remembered of the batch's paths and of what they write; then of what they wrote before.
    private func read(_ batch: MappedBatch) async throws -> ClusterMemoryState {
        let memory = memory
        var state = ClusterMemoryState(memory: memory)
        var first = ClusterMemoryState.Questions()
        var paths: Set<String> = []
        var holds: Set<Hold> = []
        var lists: Set<Bytes> = []
        for change in batch.changes {
            let path = change.change.path
            if memory != nil, paths.insert(path).inserted { first.ask(path: path) }
            for write in change.writes {
                if write.isOfList, let key = write.key, lists.insert(key).inserted { first.ask(list: key) }
                guard memory != nil, let address = OwnedAddress(write) else { continue }
                let hold = Hold(address: address, path: path)
                if holds.insert(hold).inserted { first.ask(hold) }
            }
        }
        try await ask(first, &state)
        var second = ClusterMemoryState.Questions()
        for (path, addresses) in state.paths {
            for address in addresses {
                let hold = Hold(address: address, path: path)
                if holds.insert(hold).inserted { second.ask(hold) }
                if address.kind == .listItem, lists.insert(address.key).inserted {
                    second.ask(list: address.key)
                }
            }
        }
        try await ask(second, &state)
        return state
    }

    private func ask(_ asked: ClusterMemoryState.Questions, _ state: inout ClusterMemoryState) async throws {
        guard !asked.slots.isEmpty else { return }
        try state.take(try await replies(to: asked.questions(state.memory)), to: asked)
    }

    // MARK: Replies

    /// Replies to a slot's part of a step.
    func take(
        _ replies: ArraySlice<RESPValue>, slotWrites index: Int, _ part: Part, _ work: inout ClusterWork,
        _ round: inout Round
    ) throws {
        if isObstacle(replies, index, part.node, &work, &round) { return }
        switch work.slotWrites[index].outcome(replies) {
        case .executed(let refused, let isOutdated):
            let slot = work.units[index].slot
            for (change, error) in refused { work.refuse(change, in: slot, error) }
            if isOutdated { work.isOutdated = true }
            finish(index, part, &work)
        case .notAccepted(let errors):
            work.notAccepted.merge(errors) { first, _ in first }
            work.units[index].isOpen = false
        case .failed(let error):
            switch ErrorClass(error) {
            case .passing: round.cause = round.cause ?? error.message
            case .reconnect: throw RedisError(code: .server(error), message: error.message)
            case .record, .cluster: throw fatal(error, part.node)
            }
        case .fatal(let error):
            throw fatal(error, part.node)
        case .malformed:
            throw RedisError(code: .protocolViolation, message: "answers to a transaction of another form")
        }
    }
}
