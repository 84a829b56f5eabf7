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
                try await readAside(notBehind: machine.settled)
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

    /// - Parameter settled: a server that does not have all up to it lacks what the log has told before.
    private func readAside(notBehind settled: Zxid) async throws {
        var settings = settings
        settings.lastZxid = 0
        let observer = ZooKeeperObserver(configuration: settings, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await observer.run()
                } catch let error as ZooKeeperError {
                    throw ObserverCapture.failure(error)
                }
            }
            group.addTask { try await self.takeAside(observer, notBehind: settled) }
            defer { group.cancelAll() }
            try await group.next()
        }
        try Task.checkCancellation()
    }

    /// Nothing is kept apart until it is committed: what is told is what is known to be. After a lost connection all of it
    /// comes again, and is told again.
    private func takeAside(_ observer: ZooKeeperObserver, notBehind settled: Zxid) async throws {
        while true {
            let events: [ObserverEvent]
            do {
                events = try await observer.nextEvents(timeout: nil)
            } catch let error as ZooKeeperError {
                // What `run()` throws says it better.
                try await Task.sleep(for: ObserverCapture.tick)
                throw ObserverCapture.failure(error)
            }
            for event in events {
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
