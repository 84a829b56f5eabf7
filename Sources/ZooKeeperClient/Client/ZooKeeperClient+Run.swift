internal import Logging
internal import NIOCore
internal import NIOPosix

extension ZooKeeperClient {
    /// Connects, and connects again whenever the connection is lost, until `close()` is called or the task is
    /// cancelled: both close the session in order and then return. May be called once.
    ///
    /// - Throws: `ZooKeeperError` `.authenticationFailed`, which no retry can mend.
    public func run() async throws {
        guard core.update({ state, _ in state.begin() }) else {
            throw ZooKeeperError(.badArguments, message: "run() may be called once")
        }
        let failure = await withTaskCancellationHandler {
            await core.keepConnected()
        } onCancel: {
            core.update { state, effects in state.beginClose(&effects) }
        }
        core.update { state, effects in state.finish(&effects) }
        if let failure { throw failure }
    }

    /// Closes the session, which removes its ephemeral nodes at once, and waits until `run()` is done: for at
    /// most `connectTimeout` after the requests under way. Without a connection the session is left to
    /// expire.
    public func close() async {
        let core = core
        await withCheckedContinuation { continuation in
            core.update { state, effects in
                state.beginClose(&effects)
                state.waitForEnd(continuation, &effects)
            }
        }
    }
}

extension ClientCore {
    /// Returns when the client is closed, or what makes going on pointless.
    fileprivate func keepConnected() async -> ZooKeeperError? {
        var rotation = ServerRotation(configuration)
        while true {
            await pause(rotation.delay())
            // A consumer that does not fetch its events gets no new ones.
            while update({ state, _ in state.isInboxFull && !state.isClosing }) {
                await pause(.milliseconds(50))
            }
            guard !update({ state, _ in state.isClosing }), let server = rotation.nextServer() else {
                return nil
            }
            switch await connect(to: server) {
            case .lost(let error, let lifetime):
                logger.debug("connection lost", metadata: ["server": "\(server)", "error": "\(error)"])
                if error.code == .authenticationFailed { return error }
                rotation.ended(after: lifetime)
            case .expired:
                logger.debug("session expired", metadata: ["server": "\(server)"])
                rotation.retrySame()
            case .closed: return nil
            }
        }
    }

    /// One connection from its attempt to its end.
    private func connect(to server: ZooKeeperAddress) async -> ConnectionEnd {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ConnectionHandler(self, server: server))
                }
            }
        do {
            let channel = try await bootstrap.connect(host: server.host, port: server.port).get()
            let request = update { state, _ in state.connecting(channel) }
            let isClosing = update { state, _ in state.isClosing }
            if isClosing {
                channel.close(promise: nil)
            } else {
                channel.triggerUserOutboundEvent(ConnectionHandler.Command.start(request), promise: nil)
            }
            try await channel.closeFuture.get()
            if let end = update({ state, _ in state.takeEnd() }) { return end }
            return failed(server, "the connection was closed")
        } catch {
            return failed(server, connectFailureReason(error))
        }
    }

    private func failed(_ server: ZooKeeperAddress, _ reason: String) -> ConnectionEnd {
        let error = ZooKeeperError(.connectionFailed, message: "no connection to \(server): \(reason)")
        update { state, effects in state.attemptFailed(error, &effects) }
        return .lost(error, lifetime: .zero)
    }

    /// Waits, or until the client is to close.
    private func pause(_ time: Duration) async {
        guard time > .zero else { return }
        await withCheckedContinuation { continuation in
            let timer = eventLoop.scheduleTask(in: TimeAmount(time)) {
                self.update { state, effects in state.endPause(&effects) }
            }
            update { state, effects in state.startPause(continuation, timer, &effects) }
        }
    }
}
