extension RedisCluster {
    /// Bounds of the pause before something that the cluster could not serve is sent again.
    private static let pauses = Duration.milliseconds(10)...(.milliseconds(500))
    /// Redirections that are followed without a pause.
    private static let quickRedirections = 5

    /// Sends commands for one slot, follows redirections, and waits while the cluster cannot serve the slot,
    /// until the deadline. Returns the replies, one for each command.
    ///
    /// The commands are executed in their order: each, or each transaction (`MULTI` to `EXEC`), goes out when
    /// the one before has been answered. For many commands at once there are transactions, and `send(_:)`.
    /// What has been executed, or may have been, is never sent again.
    ///
    /// Connections are shared: `WATCH`, `SELECT` and the like do not belong here.
    ///
    /// - Precondition: every `MULTI` has its `EXEC` or `DISCARD`.
    /// - Throws: `connectionLost`, `cancelled` and `timeout`: how much was executed is unknown. `crossSlot`,
    ///   `closed`, and `unreachable` where the credentials are refused. At the deadline the last error.
    public func send(
        _ commands: RedisCommandBatch, to slot: HashSlot, deadline: ContinuousClock.Instant
    ) async throws(RedisClusterError) -> [RESPValue] {
        var replies: [RESPValue] = []
        for unit in commands.units() { replies += try await follow(unit, slot, deadline) }
        return replies
    }

    /// Sends one command, for the slot of the key; otherwise as `send(_:to:deadline:)`.
    public func send(
        _ arguments: String..., key: String, deadline: ContinuousClock.Instant
    ) async throws(RedisClusterError) -> RESPValue {
        var command = RedisCommandBatch()
        command.begin(argumentCount: arguments.count)
        for argument in arguments { command.add(argument) }
        let replies = try await follow(command, HashSlot(of: key), deadline)
        return replies.first ?? .null
    }

    /// What the cluster refuses has not been executed, so that it may be sent again.
    private func follow(
        _ unit: RedisCommandBatch, _ slot: HashSlot, _ deadline: ContinuousClock.Instant
    ) async throws(RedisClusterError) -> [RESPValue] {
        var batch = ClusterBatch(slot: slot, commands: unit)
        var pause = RedisCluster.pauses.lowerBound
        var redirections = 0
        while true {
            let outcome = await send(batch, deadline)
            guard let error = outcome.error else { return outcome.replies }
            batch.target = .owner
            switch error.code {
            case .moved:
                redirections += 1
            case .ask(let address):
                redirections += 1
                batch.target = .asking(address)
            case .unreachable(.authenticationFailed), .unreachable(.notSupported):
                throw error
            case .tryAgain, .clusterDown, .loading, .masterDown, .readOnly, .notCovered, .unreachable,
                .limitExceeded:
                redirections = RedisCluster.quickRedirections
            case .crossSlot, .connectionChanged, .closed, .connectionLost, .timeout, .cancelled:
                throw error
            }
            if redirections < RedisCluster.quickRedirections, .now < deadline { continue }
            guard .now + pause < deadline else { throw error }
            try await sleep(until: .now + pause)
            pause = min(pause * 2, RedisCluster.pauses.upperBound)
            // Who asks has to start over: the slot may have arrived in the meantime.
            batch.target = .owner
            redirections = 0
        }
    }

    /// One attempt, given up at the deadline.
    private func send(_ batch: ClusterBatch, _ deadline: ContinuousClock.Instant) async -> ClusterOutcome {
        await withTaskGroup(of: ClusterOutcome?.self) { group in
            group.addTask { await self.send([batch]).first }
            group.addTask {
                try? await Task.sleep(until: deadline, clock: .continuous)
                return nil
            }
            var outcome: ClusterOutcome?
            var isOver = false
            for await first in group {
                if let first { outcome = first } else { isOver = outcome == nil }
                group.cancelAll()
            }
            if let outcome, outcome.error?.code != .cancelled || !isOver || Task.isCancelled {
                return outcome
            }
            let error = RedisClusterError(
                code: .timeout, message: "not answered before the deadline", node: outcome?.node)
            return ClusterOutcome(
                slot: batch.slot, replies: [], error: error, node: outcome?.node,
                connection: outcome?.connection)
        }
    }
}
