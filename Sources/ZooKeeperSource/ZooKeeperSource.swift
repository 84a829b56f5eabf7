public import ChangeModel
public import Engine
public import Logging
public import ZooKeeperClient

/// Captures a ZooKeeper tree through persistent recursive watches and reads: any ensemble from 3.6 on, over its
/// client port.
public struct ZooKeeperSource: ChangeSource {
    public struct Configuration: Sendable {
        public var client: ZooKeeperConfiguration
        public var scope: CaptureScope
        public var snapshot: SnapshotMode
        /// Wait for a first connection for ever instead of `ZooKeeperSource.startTimeout`.
        public var waitsForServers: Bool

        public init(
            client: ZooKeeperConfiguration, scope: CaptureScope, snapshot: SnapshotMode, waitsForServers: Bool
        ) {
            self.client = client
            self.scope = scope
            self.snapshot = snapshot
            self.waitsForServers = waitsForServers
        }
    }

    /// How long a start waits for a server that takes us.
    public static let startTimeout = Duration.seconds(10)
    /// How long every server may refuse us as being behind what the log has seen.
    static let behindTimeout = Duration.seconds(60)

    private let configuration: Configuration
    private let logger: Logger

    public init(_ configuration: Configuration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    public func run(into ingest: Ingest) async throws {
        let recovered = await ingest.recover()
        var settings = configuration.client
        settings.minimumZxid = max(settings.minimumZxid, recovered.position.seen.value)
        let client = ZooKeeperClient(configuration: settings, logger: logger)
        let capture = WatchCapture(
            configuration: configuration, client: client, ingest: ingest, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await client.run()
                } catch let error as ZooKeeperError where error.code == .authenticationFailed {
                    throw PipelineError.unavailable("ZooKeeper: \(error)")
                }
            }
            group.addTask { try await capture.run(recovered) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
