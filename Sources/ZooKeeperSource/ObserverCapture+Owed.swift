import ChangeModel
import Engine
import Logging
import ZooKeeperClient

/// Sinks that the log cannot serve any more get every live node from a second observer beside the first, so that no
/// transaction is missed for them.
extension ObserverCapture {
    func serveOwedSnapshots() async throws {
        while true {
            try await Task.sleep(for: ObserverCapture.tick)
            guard isConnected, !isStaging else { continue }
            let owed = configuration.takeOwedSnapshots(ingest, logger)
            if !owed.isEmpty { machine.repeatSnapshot(for: owed) }
            guard machine.owesSnapshot else { continue }
            machine.beginAside()
            isServing = true
            defer { isServing = false }
            do {
                let settled = machine.settled
                try await withObserver(after: 0) { try await self.takeAside($0, notBehind: settled) }
                // Where the first observer has got a snapshot meanwhile, that one serves them.
                machine.endAside()
                logger.info("the tree is told once more")
            } catch let error as CancellationError {
                throw error
            } catch {
                // What one sink lacks ends nothing for the others.
                machine.abandonAside()
                logger.error(
                    "the tree cannot be told once more; trying again", metadata: ["error": "\(error)"])
                try await Task.sleep(for: ObserverCapture.retryInterval)
            }
        }
    }

    private static let retryInterval = Duration.seconds(10)

    /// Nothing is kept apart until it is committed: what is told is what is known to be. After a lost connection all of it
    /// comes again, and is told again.
    ///
    /// - Parameter settled: a server that does not have all up to it lacks what the log has told before.
    private func takeAside(_ observer: ZooKeeperObserver, notBehind settled: Zxid) async throws {
        while true {
            for event in try await events(of: observer, timeout: nil) {
                switch event {
                case .snapshotNodes(let nodes):
                    for node in nodes { machine.nodeAside(node) }
                    // Handed out by the task of the transactions alone, so that the order is one.
                    while machine.waitingBytes >= ObserverCapture.batchBytes {
                        try await Task.sleep(for: ObserverCapture.servingTick)
                    }
                case .syncing(.snapshot(let zxid), let server) where zxid < settled.value:
                    throw PipelineError.unavailable(
                        "\(server) is at zxid \(Zxid(zxid).hexadecimal), behind the log")
                case .disconnected(let error):
                    logger.warning("the tree is asked for again", metadata: ["error": "\(error)"])
                case .upToDate:
                    return
                case .syncing, .snapshotEnd, .transactions:
                    break
                }
            }
        }
    }
}
