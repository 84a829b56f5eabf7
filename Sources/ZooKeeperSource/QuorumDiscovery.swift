import Logging
import ZooKeeperClient

/// Where an observer attaches, asked of the ensemble itself: its configuration lies in `/zookeeper/config`.
enum QuorumDiscovery {
    struct Failure: Error {
        var reason: String
    }

    /// - Throws: `Failure` where the ensemble cannot be reached within the time of a start, or names no quorum port.
    static func servers(
        of configuration: ZooKeeperSource.Configuration, _ logger: Logger
    ) async throws -> [ZooKeeperAddress] {
        var settings = configuration.client
        // Not below the chroot.
        settings.connect.chroot = nil
        let place = list(settings.connect.servers)
        let client = ZooKeeperClient(configuration: settings, logger: logger)
        let servers = try await withThrowingTaskGroup(of: [ZooKeeperAddress].self) { group in
            group.addTask {
                try await client.run()
                throw CancellationError()
            }
            group.addTask { try await ask(client) }
            if !configuration.waitsForServers {
                group.addTask {
                    try await Task.sleep(for: ZooKeeperSource.startTimeout)
                    throw Failure(reason: "no ZooKeeper at \(place) within 10 s")
                }
            }
            defer { group.cancelAll() }
            do {
                let found = try await group.next() ?? []
                await client.close()
                return found
            } catch let error as ZooKeeperError {
                throw Failure(
                    reason:
                        "the quorum ports cannot be read from /zookeeper/config (\(error)); name them in quorum"
                )
            }
        }
        guard !servers.isEmpty else {
            throw Failure(
                reason:
                    "the ensemble names no quorum port in /zookeeper/config that can be reached from here: a standalone "
                    + "server has none, and 0.0.0.0 is none; else name them in quorum")
        }
        logger.info("the ensemble names its quorum ports", metadata: ["servers": "\(list(servers))"])
        return servers
    }

    private static func ask(_ client: ZooKeeperClient) async throws -> [ZooKeeperAddress] {
        while true {
            do throws(ZooKeeperError) {
                return try await client.quorumServers()
            } catch {
                switch error.code {
                case .connectionLoss, .sessionExpired, .timeout, .throttled:
                    try await Task.sleep(for: .milliseconds(100))
                default:
                    throw error
                }
            }
        }
    }

    private static func list(_ servers: [ZooKeeperAddress]) -> String {
        servers.map { "\($0)" }.joined(separator: ",")
    }
}
