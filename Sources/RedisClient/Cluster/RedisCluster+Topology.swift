internal import Logging
internal import Synchronization

extension RedisCluster {
    /// Nodes that are asked at the same time.
    private static let askedAtOnce = 3
    /// Without an answer for so long, another node is asked too.
    private static let patience = Duration.milliseconds(250)
    /// How much longer than the first answer the others may take.
    private static let grace = Duration.milliseconds(100)

    /// Asks the nodes which of them serves which slot. Calls at the same time share the answer; a call less
    /// than a second after the last asking waits until it has passed.
    ///
    /// Where nodes differ, those that see a healthy cluster count more, then those that have seen its newest
    /// epoch, then the majority; a node that takes more than a tenth of a second longer than the first is not
    /// heard.
    ///
    /// - Throws: `unreachable` where nobody answers within `connectTimeout` (then the map stays as it is),
    ///   `closed`, `cancelled`.
    @discardableResult
    public func refreshTopology() async throws(RedisClusterError) -> ClusterTopology {
        let rounds = state.withLock { state in
            state.gate.want()
            return state.gate.rounds
        }
        while true {
            switch step() {
            case .ask:
                return try await ask()
            case .wait(let end):
                try await sleep(until: end)
                fallthrough
            case .none:
                if let result = state.withLock({ $0.result(since: rounds) }) { return try result.get() }
            }
        }
    }

    /// The map to send by. Where it is in doubt, the nodes are asked first if that is due; where there is
    /// none, it is waited for, unless the nodes have just been asked in vain.
    ///
    /// - Throws: `unreachable` where there is none, `closed`, `cancelled`.
    public func currentTopology() async throws(RedisClusterError) -> ClusterTopology {
        while true {
            if Task.isCancelled { throw RedisClusterError(code: .cancelled, message: "cancelled") }
            let (known, failure, isClosed) = state.withLock { ($0.topology, $0.failure, $0.isClosed) }
            if isClosed { throw closed() }
            switch step() {
            case .ask:
                do throws(RedisClusterError) {
                    return try await ask()
                } catch {
                    guard let known, error.code != .closed, error.code != .cancelled else { throw error }
                    return known
                }
            case .none:
                if let known { return known }
            case .wait(let end):
                if let known { return known }
                if let failure, end - .now > RefreshGate.lookInterval { throw failure }
                try await sleep(until: end)
            }
        }
    }

    /// The map is asked for again before the next use that it is due for: at most once a second.
    public func doubtTopology() {
        state.withLock { $0.gate.doubt() }
    }

    private func step() -> RefreshGate.Step {
        state.withLock { $0.gate.step(.now) }
    }

    /// To be called after `RefreshGate.Step.ask` only.
    private func ask() async throws(RedisClusterError) -> ClusterTopology {
        let (answers, failures) = await answers()
        let best = TopologyAnswer.best(of: answers)
        var error: RedisClusterError?
        if best == nil {
            error = failure(failures)
            logger.debug("no map of the cluster", metadata: ["error": "\(error?.message ?? "")"])
        }
        state.withLock { state in
            // Whoever gave up says nothing about the cluster.
            if error?.code == .cancelled { return state.gate.abandon() }
            state.gate.end(succeeded: best != nil)
            state.failure = error
            guard let best else { return }
            state.topology = best
            let addresses = Set(
                (best.masters + best.masters.flatMap { best.replicas(of: $0) }).map(\.address))
            // Connections that are dropped here end when what is under way on them has been answered.
            state.clients = state.clients.filter { addresses.contains($0.key) }
        }
        if let best { return best }
        throw error ?? closed()
    }

    private func failure(_ failures: [RedisError]) -> RedisClusterError {
        if Task.isCancelled { return RedisClusterError(code: .cancelled, message: "cancelled") }
        if state.withLock({ $0.isClosed }) { return closed() }
        let telling = failures.first { $0.code == .authenticationFailed } ?? failures.last
        let reasons = failures.map(\.description).joined(separator: "; ")
        return RedisClusterError(
            code: .unreachable(telling?.code ?? .timeout),
            message: "no node tells the map of slots: \(reasons.isEmpty ? "no answer in time" : reasons)")
    }

    /// Masters first, then their replicas, then the seeds.
    private func candidates() -> [RedisEndpoint.Address] {
        var candidates: [RedisEndpoint.Address] = []
        if let topology {
            let masters = topology.masters.shuffled()
            candidates = (masters + masters.flatMap { topology.replicas(of: $0) }).map(\.address)
        }
        var seen: Set<RedisEndpoint.Address> = []
        return (candidates + seeds).filter { seen.insert($0).inserted }
    }

    private enum Event: Sendable {
        case answer(TopologyAnswer)
        case failure(RedisError)
        /// Nobody has answered for a while.
        case impatience
        /// Who has not answered by now is not heard.
        case end
    }

    private func answers() async -> ([TopologyAnswer], [RedisError]) {
        var waiting = candidates()[...]
        let deadline = ContinuousClock.now + configuration.connectTimeout
        return await withTaskGroup(of: Event.self) { group in
            var answers: [TopologyAnswer] = []
            var failures: [RedisError] = []
            var running = 0
            func askNext() {
                guard let address = waiting.popFirst() else { return }
                running += 1
                group.addTask { await self.ask(address, deadline) }
            }
            func notify(_ event: Event, at time: ContinuousClock.Instant) {
                group.addTask {
                    try? await Task.sleep(until: time, clock: .continuous)
                    return event
                }
            }
            for _ in 0..<RedisCluster.askedAtOnce { askNext() }
            notify(.end, at: deadline)
            notify(.impatience, at: .now + RedisCluster.patience)
            events: while running > 0, let event = await group.next() {
                switch event {
                case .answer(let answer):
                    running -= 1
                    if answers.isEmpty { notify(.end, at: .now + RedisCluster.grace) }
                    answers.append(answer)
                case .failure(let failure):
                    running -= 1
                    failures.append(failure)
                    if answers.isEmpty { askNext() }
                case .impatience where answers.isEmpty && !waiting.isEmpty && !Task.isCancelled:
                    askNext()
                    notify(.impatience, at: .now + RedisCluster.patience)
                case .impatience:
                    break
                case .end:
                    break events
                }
            }
            group.cancelAll()
            return (answers, failures)
        }
    }

    private func ask(_ address: RedisEndpoint.Address, _ deadline: ContinuousClock.Instant) async -> Event {
        guard let client = client(for: address) else {
            return .failure(RedisError(code: .connectionClosed, message: "closed"))
        }
        do throws(RedisError) {
            let connection = try await client.connection(deadline: deadline, isPatient: false)
            let replies = try await connection.send(TopologyAnswer.question)
            return .answer(try TopologyAnswer(replies, asked: address))
        } catch {
            return .failure(error)
        }
    }

    func sleep(until end: ContinuousClock.Instant) async throws(RedisClusterError) {
        do {
            try await Task.sleep(until: end, clock: .continuous)
        } catch {
            throw RedisClusterError(code: .cancelled, message: "cancelled")
        }
    }
}

extension RedisCluster.State {
    /// What came of asking the nodes since then; `nil` where nobody has.
    fileprivate func result(since rounds: UInt64) -> Result<ClusterTopology, RedisClusterError>? {
        guard gate.rounds > rounds else { return nil }
        if let failure { return .failure(failure) }
        return topology.map { .success($0) }
    }
}
