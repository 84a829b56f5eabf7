public import Logging
public import NIOCore
public import NIOPosix
internal import Synchronization

/// Holds one connection to a server, and makes a new one when it has ended.
public final class RedisClient: Sendable {
    /// What attempts to connect have come to since the last connection.
    private struct Failures {
        var count = 0
        var last: RedisError?
        var pauseEnd = ContinuousClock.now
    }

    private enum State {
        case idle(Failures)
        /// A task is connecting.
        case connecting(Failures)
        case connected(RedisConnection)
        case closed
    }

    private enum Step {
        case use(RedisConnection)
        case connect
        case wait(until: ContinuousClock.Instant, last: RedisError?)
        case closed
    }

    /// How often a task looks whether another one has connected.
    private static let lookInterval = Duration.milliseconds(10)

    private let configuration: RedisConfiguration
    private let tls: TLSContext?
    private let eventLoopGroup: any EventLoopGroup
    private let logger: Logger
    private let state = Mutex(State.idle(Failures()))

    /// Does not connect yet. The files that TLS needs are read with the first connection.
    public convenience init(
        configuration: RedisConfiguration,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger
    ) {
        self.init(
            configuration: configuration, tls: configuration.endpoint.tls.map(TLSContext.init),
            eventLoopGroup: eventLoopGroup, logger: logger)
    }

    /// - Parameter tls: of the endpoint's `tls`; shared with other clients of the same.
    init(
        configuration: RedisConfiguration, tls: TLSContext?, eventLoopGroup: any EventLoopGroup,
        logger: Logger
    ) {
        self.configuration = configuration
        self.tls = tls
        self.eventLoopGroup = eventLoopGroup
        self.logger = logger
    }

    /// The live connection, or a new one. Attempts are repeated after pauses (`RedisConfiguration.backoff`)
    /// until the deadline; tasks that ask at the same time share them.
    ///
    /// - Parameter isPatient: `false` to be told of a failure at once, also of one that is so young that
    ///   another attempt is not due yet.
    /// - Throws: the last attempt's error when the deadline has passed, `timeout` where there was none. At
    ///   once `authenticationFailed`, `notSupported`, `cancelled`, and `connectionClosed` after `close()`.
    public func connection(
        deadline: ContinuousClock.Instant, isPatient: Bool = true
    ) async throws(RedisError) -> RedisConnection {
        while true {
            if Task.isCancelled { throw failure(.cancelled, "cancelled") }
            switch nextStep(deadline) {
            case .use(let connection):
                return connection
            case .closed:
                throw failure(.connectionClosed, "the client was closed")
            case .connect:
                if let connection = try await connect(deadline) { return connection }
                if !isPatient, let failure = lastFailure { throw failure }
            case .wait(let end, let last):
                if !isPatient, let failure = lastFailure { throw failure }
                guard deadline > .now else { throw last ?? failure(.timeout, "not connected in time") }
                do {
                    try await Task.sleep(until: min(end, deadline), clock: .continuous)
                } catch {
                    throw failure(.cancelled, "cancelled")
                }
            }
        }
    }

    /// Ends the connection where Sentinel names another master by now: the old one may still take writes, which
    /// will be thrown away. Does nothing without Sentinel, or where none answers.
    public func followMaster() async {
        let connection: RedisConnection? = state.withLock { state in
            if case .connected(let connection) = state { connection } else { nil }
        }
        guard let connection, let sentinel = configuration.endpoint.sentinel else { return }
        let lookup = SentinelLookup(
            configuration: configuration, sentinel: sentinel, tls: tls, eventLoopGroup: eventLoopGroup,
            logger: logger)
        guard let master = await lookup.successor(of: connection.address) else { return }
        logger.warning(
            "Sentinel names another master",
            metadata: ["old": "\(connection.address)", "new": "\(master)"])
        await connection.close()
    }

    /// Ends the connection, if there is one, for good.
    public func close() async {
        let connection: RedisConnection? = state.withLock { state in
            defer { state = .closed }
            if case .connected(let connection) = state { return connection }
            return nil
        }
        await connection?.close()
    }

    private func nextStep(_ deadline: ContinuousClock.Instant) -> Step {
        let now = ContinuousClock.now
        return state.withLock { state in
            if case .connected(let connection) = state, connection.isClosed { state = .idle(Failures()) }
            switch state {
            case .connected(let connection):
                return .use(connection)
            case .idle(let failures) where now < failures.pauseEnd || now >= deadline:
                return .wait(until: failures.pauseEnd, last: failures.last)
            case .idle(let failures):
                state = .connecting(failures)
                return .connect
            case .connecting(let failures):
                return .wait(until: now + RedisClient.lookInterval, last: failures.last)
            case .closed:
                return .closed
            }
        }
    }

    /// `nil` while there is a connection, or a task connects.
    private var lastFailure: RedisError? {
        state.withLock { state in
            if case .idle(let failures) = state { failures.last } else { nil }
        }
    }

    /// One attempt; `nil` where it failed and another may succeed.
    private func connect(_ deadline: ContinuousClock.Instant) async throws(RedisError) -> RedisConnection? {
        var configuration = configuration
        configuration.connectTimeout = min(
            configuration.connectTimeout, max(deadline - .now, .milliseconds(1)))
        do throws(RedisError) {
            let connection = try await RedisConnection.connect(
                configuration, tls: tls, eventLoopGroup: eventLoopGroup, logger: logger)
            if keep(connection) { return connection }
            await connection.close()
            return nil
        } catch {
            logger.debug("no connection", metadata: ["error": "\(error)"])
            note(error)
            switch error.code {
            case .authenticationFailed, .notSupported, .cancelled: throw error
            default: return nil
            }
        }
    }

    /// `false` where the client was closed in the meantime.
    private func keep(_ connection: RedisConnection) -> Bool {
        state.withLock { state in
            guard case .connecting = state else { return false }
            state = .connected(connection)
            return true
        }
    }

    private func note(_ error: RedisError) {
        state.withLock { state in
            guard case .connecting(var failures) = state else { return }
            // Whoever gave up says nothing about the server.
            if error.code != .cancelled {
                let doubled = configuration.backoff.lowerBound * (1 << min(failures.count, 16))
                failures.pauseEnd =
                    .now + min(doubled, configuration.backoff.upperBound) * Double.random(in: 0...1)
                failures.count += 1
                failures.last = error
            }
            state = .idle(failures)
        }
    }

    private func failure(_ code: RedisError.Code, _ message: String) -> RedisError {
        RedisError(code: code, message: message, address: configuration.endpoint.address.description)
    }
}
