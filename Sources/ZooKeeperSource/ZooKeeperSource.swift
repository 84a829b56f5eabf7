public import ChangeModel
public import Engine
public import Logging
public import ZooKeeperClient

/// Captures a ZooKeeper tree: through persistent recursive watches and reads over the client port, any ensemble from 3.6 on,
/// or every transaction as an observer over the quorum port.
public struct ZooKeeperSource: ChangeSource {
    public struct Configuration: Sendable {
        public var client: ZooKeeperConfiguration
        /// How to attach as an observer; `nil`: watches. Without quorum ports those that the ensemble itself names.
        public var observer: ObserverConfiguration?
        /// Watches take the observer's place where no server lets one in at the start.
        public var fallsBackToWatch = false
        public var scope: CaptureScope
        public var snapshot: SnapshotMode
        /// Wait for a first connection for ever instead of `ZooKeeperSource.startTimeout`.
        public var waitsForServers: Bool
        /// What is known is of another ensemble, or of a later state of this one: any difference is a change, and
        /// servers behind it are taken.
        public var isNewEnsemble = false
        /// Paths that have left the scope are deleted instead of forgotten.
        public var deletesWhatLeftTheScope = false
        /// Without, nothing is compared after a reconnect. For tests that show what it is good for.
        public var resyncs = true

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

    public var mode: String {
        configuration.observer == nil ? "watch" : configuration.fallsBackToWatch ? "auto" : "observer"
    }

    public func run(into ingest: Ingest) async throws {
        guard var observer = configuration.observer else {
            return try await watch(await ingest.recover(), ingest)
        }
        var configuration = configuration
        // Whoever can go on without it does not wait for it.
        if configuration.fallsBackToWatch { configuration.waitsForServers = false }
        do {
            if observer.quorumServers.isEmpty { try await findQuorum(&observer, configuration, ingest) }
            try await ObserverCapture(configuration, observer, await ingest.recover(), ingest, logger).run()
        } catch let error as ObserverCapture.NotReachable {
            guard configuration.fallsBackToWatch else { throw PipelineError.unavailable(error.reason) }
            logger.notice("captures by watches", metadata: ["why": "\(error.reason)"])
            try await watch(error.recovered, ingest)
        }
    }

    /// Asks the ensemble for its quorum ports. Observer masters do without.
    private func findQuorum(
        _ observer: inout ObserverConfiguration, _ configuration: Configuration, _ ingest: Ingest
    ) async throws {
        do {
            observer.quorumServers = try await QuorumDiscovery.servers(of: configuration, logger)
        } catch let error as QuorumDiscovery.Failure {
            guard !observer.observerMasters.isEmpty else {
                throw ObserverCapture.NotReachable(reason: error.reason, recovered: await ingest.recover())
            }
            logger.notice("observer masters are all there is", metadata: ["why": "\(error.reason)"])
        }
    }

    private func watch(_ recovered: consuming RecoveredCapture, _ ingest: Ingest) async throws {
        var recovered = consume recovered
        if configuration.isNewEnsemble {
            recovered.position = .start
            logger.warning(
                "a new ensemble: what is known of the old one is compared, any difference is a change")
        }
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
            group.addTask { [recovered] in try await capture.run(recovered) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}

extension ZooKeeperSource.Configuration {
    /// The sinks that need every live node once more; they are told of in the log file.
    func takeOwedSnapshots(_ ingest: Ingest, _ logger: Logger) -> [String] {
        let owed = ingest.takeOwedSnapshots()
        guard !owed.isEmpty else { return [] }
        logger.warning(
            snapshot == .never
                ? "sinks lack what the log no longer holds: 'snapshot: never' tells no node again"
                : "every live node is read once more for sinks that the log cannot serve",
            metadata: ["sinks": "\(owed.joined(separator: ", "))"])
        return owed
    }
}
