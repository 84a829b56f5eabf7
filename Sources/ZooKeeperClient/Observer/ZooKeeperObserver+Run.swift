internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

extension ZooKeeperObserver {
    /// Connects to who leads, and again whenever the connection is lost, until the task is cancelled: then it closes the
    /// connection and returns. May be called once.
    ///
    /// - Throws: `ZooKeeperError`, where going on is pointless: `.badArguments` without servers; `.ensembleBehind` when for
    ///   `behindLimit` nobody holds what was seen; `.missingTransactions`, `.protocolViolation` and `.authenticationFailed`
    ///   when three connections in a row fail like that at the same transaction; `.connectionFailed` where `tls` is unusable.
    public func run() async throws {
        guard core.begin() else {
            throw ZooKeeperError(.badArguments, message: "run() may be called once")
        }
        let core = core
        let failure = await withTaskCancellationHandler {
            await core.keepConnected()
        } onCancel: {
            core.cancel()
        }
        core.finish(failure ?? ZooKeeperError(.closed, message: "the observer is closed"))
        if let failure { throw failure }
    }
}

/// Whether what failed again and again will fail for ever.
private struct Patience {
    /// Connections in a row that failed at the same place.
    private static let attempts = 3

    let behindLimit: Duration
    private var position: Int64
    private var violations = 0
    private var behindSince: ContinuousClock.Instant?

    init(_ configuration: ObserverConfiguration) {
        behindLimit = configuration.behindLimit
        position = configuration.lastZxid
    }

    /// - Returns: whether there is no use in going on.
    mutating func ends(_ error: ZooKeeperError, at position: Int64, wasLive: Bool) -> Bool {
        if wasLive || position != self.position {
            violations = 0
            behindSince = nil
        }
        self.position = position
        switch error.code {
        case .missingTransactions, .protocolViolation, .authenticationFailed:
            violations += 1
            return violations >= Patience.attempts
        case .ensembleBehind:
            let now = ContinuousClock.now
            let since = behindSince ?? now
            behindSince = since
            return now - since >= behindLimit
        default: return false
        }
    }
}

extension ObserverCore {
    /// Returns when the task is cancelled, or what makes going on pointless.
    fileprivate func keepConnected() async -> ZooKeeperError? {
        let servers = configuration.observerMasters + configuration.quorumServers
        guard !servers.isEmpty else {
            return ZooKeeperError(.badArguments, message: "an observer needs the quorum port of a server")
        }
        let tls: NIOSSLContext?
        do {
            tls = try await tlsContext()
        } catch {
            return ZooKeeperError(.connectionFailed, message: "cannot prepare TLS: \(error)")
        }
        var rotation = ServerRotation(
            servers, backoffInitial: configuration.backoffInitial,
            backoffMaximum: configuration.backoffMaximum)
        var patience = Patience(configuration)
        while await pause(rotation.delay()) {
            // Without the events so far, new ones are of no use.
            while isFull {
                guard await pause(.milliseconds(50)) else { return nil }
            }
            if configuration.usesAnnouncedServers { rotation.add(members) }
            guard let server = rotation.nextServer() else { return nil }
            let start = ContinuousClock.now
            let end = await connect(to: server, tls)
            guard !isCancelled else { return nil }
            logger.debug(
                "observer disconnected", metadata: ["server": "\(server)", "error": "\(end.error)"])
            deliver([.disconnected(end.error)], bytes: 0)
            let wasLive = end.position != nil
            if patience.ends(end.error, at: position, wasLive: wasLive) { return end.error }
            rotation.ended(after: ContinuousClock.now - start)
            // One that fell silent may be frozen, and still let connect.
            if wasLive, end.error.code != .timeout { rotation.startOver() }
        }
        return nil
    }

    /// Whether the task goes on.
    private func pause(_ time: Duration) async -> Bool {
        if time > .zero { try? await Task.sleep(for: time) }
        return !Task.isCancelled && !isCancelled
    }

    /// Reads files perhaps, so on a thread that may block.
    private func tlsContext() async throws -> NIOSSLContext? {
        guard var settings = configuration.tls else { return nil }
        // The peer's farewell is not waited for: packets say themselves where they end.
        settings.shutdownTimeout = .zero
        let prepared = settings
        return try await NIOThreadPool.singleton.runIfActive { try NIOSSLContext(configuration: prepared) }
    }

    private static func addHandlers(
        to channel: any Channel, _ core: ObserverCore, _ server: ZooKeeperAddress, _ tls: NIOSSLContext?
    ) throws {
        if let tls {
            let isAddress = (try? SocketAddress(ipAddress: server.host, port: 0)) != nil
            try channel.pipeline.syncOperations.addHandler(
                NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : server.host))
        }
        try channel.pipeline.syncOperations.addHandler(ObserverHandler(core, server: server))
    }

    /// One connection from its attempt to its end.
    private func connect(to server: ZooKeeperAddress, _ tls: NIOSSLContext?) async -> End {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try ObserverCore.addHandlers(to: channel, self, server, tls)
                }
            }
        do {
            let channel = try await bootstrap.connect(host: server.host, port: server.port).get()
            if connected(channel) {
                channel.triggerUserOutboundEvent(ObserverHandler.Command.start, promise: nil)
            } else {
                channel.close(promise: nil)
            }
            try await channel.closeFuture.get()
            return takeEnd() ?? failed(server, "the connection was closed")
        } catch {
            return failed(server, connectFailureReason(error))
        }
    }

    private func failed(_ server: ZooKeeperAddress, _ reason: String) -> End {
        End(error: ZooKeeperError(.connectionFailed, message: "no connection to \(server): \(reason)"))
    }
}
