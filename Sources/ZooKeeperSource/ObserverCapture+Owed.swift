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
            try await readAside()
            // Where the first observer has got a snapshot meanwhile, that one has served them.
            machine.endAside()
            logger.info("the tree is told once more")
        }
    }

    private func readAside() async throws {
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
            group.addTask { try await self.takeAside(observer) }
            defer { group.cancelAll() }
            try await group.next()
        }
        try Task.checkCancellation()
    }

    /// Nothing is kept apart until it is committed: what is told is what is known to be. After a lost connection all of it
    /// comes again, and is told again.
    private func takeAside(_ observer: ZooKeeperObserver) async throws {
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
                case .upToDate:
                    return
                case .syncing, .snapshotEnd, .transactions, .disconnected:
                    break
                }
            }
        }
    }
}
