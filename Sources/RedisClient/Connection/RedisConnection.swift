public import Logging
public import NIOCore
public import NIOPosix
internal import Synchronization

/// One connection, ready for commands: authenticated, named, its database selected.
///
/// Batches go out in the order of the calls of `send` and are answered in that order; any number of tasks may
/// send. After a connection has ended it stays so: see `RedisClient` for one that comes back.
///
/// Push messages (RESP3) are dropped and `SUBSCRIBE`, `MONITOR` and `CLIENT REPLY` must not be sent: their
/// replies are not one for each command.
public final class RedisConnection: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<RedisChannelHandler>
    private let ending: Ending
    private let replyTimeout: TimeAmount
    /// Where it leads: `host:port`, or the path of a socket.
    let address: String
    private let nextID = Atomic<UInt64>(0)
    /// Never the same for two connections of a process.
    let number = RedisConnection.count.add(1, ordering: .relaxed).newValue
    private static let count = Atomic<UInt64>(0)

    /// Whether the connection has ended. One that has not may still be found broken by the next `send`.
    public var isClosed: Bool { ending.hasCome }

    private init(_ opened: OpenedChannel, configuration: RedisConfiguration) {
        channel = opened.channel
        handler = opened.handler
        ending = opened.ending
        replyTimeout = TimeAmount(configuration.replyTimeout)
        address = configuration.endpoint.address.description
    }

    deinit {
        channel.close(promise: nil)
    }

    /// Connects and sets the connection up, within the configuration's `connectTimeout`.
    ///
    /// With TLS, the files are read for this connection alone; those of a `RedisClient` share them.
    ///
    /// - Throws: `connectionFailed` (also where TLS fails, or one of its files), `timeout`, `authenticationFailed`,
    ///   `server` for another command of the set-up that was refused (`LOADING` too), `notSupported` where RESP3 is
    ///   wanted and not offered, for TLS on a unix socket, or for a cluster, which needs `RedisCluster`, `cancelled`,
    ///   or what `send` throws. The message says what failed and names the address.
    public static func connect(
        _ configuration: RedisConfiguration,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger
    ) async throws(RedisError) -> RedisConnection {
        try await connect(
            configuration, tls: configuration.endpoint.tls.map(TLSContext.init),
            eventLoopGroup: eventLoopGroup, logger: logger)
    }

    /// - Parameter tls: of the endpoint's `tls`.
    static func connect(
        _ configuration: RedisConfiguration, tls: TLSContext?, eventLoopGroup: any EventLoopGroup,
        logger: Logger
    ) async throws(RedisError) -> RedisConnection {
        guard configuration.endpoint.clusterSeeds == nil else {
            throw RedisError(
                code: .notSupported,
                message: "\(configuration.endpoint) is a cluster, which needs RedisCluster",
                address: configuration.endpoint.address.description)
        }
        if let sentinel = configuration.endpoint.sentinel {
            return try await SentinelLookup(
                configuration: configuration, sentinel: sentinel, tls: tls,
                eventLoopGroup: eventLoopGroup, logger: logger
            ).connect()
        }
        let deadline = NIODeadline.now() + TimeAmount(configuration.connectTimeout)
        let opened = try await OpenedChannel.open(configuration, tls, deadline, eventLoopGroup, logger)
        let connection = RedisConnection(opened, configuration: configuration)
        var isAnswered = false
        do throws(RedisError) {
            var handshake = Handshake(configuration)
            var commands: RedisCommandBatch? = handshake.start()
            while let batch = commands {
                let replies = try await connection.send(batch, timeout: deadline - .now())
                isAnswered = true
                commands = try handshake.receive(replies)
            }
        } catch {
            await connection.close()
            throw isAnswered || tls != nil ? error : perhapsEncrypted(error)
        }
        logger.debug("connected", metadata: ["redis": "\(connection.address)"])
        return connection
    }

    /// A port that takes TLS ends an open connection at once, with or without a word of TLS.
    private static func perhapsEncrypted(_ error: RedisError) -> RedisError {
        guard error.code == .connectionClosed || error.code == .protocolViolation else { return error }
        let message =
            "\(error.message), before any answer; does the server want TLS (rediss://) on this port?"
        return RedisError(code: error.code, message: message, address: error.address)
    }

    /// Sends the commands with one write, and returns their replies, one each, in order. Errors of the server
    /// are among them as values.
    ///
    /// A cancelled task does not wait any longer; its replies are dropped when they come, and the connection
    /// goes on.
    ///
    /// - Precondition: the last command has all its arguments.
    /// - Throws: `connectionClosed`, `timeout`, `protocolViolation` or `limitExceeded` of a reply: the
    ///   connection has ended, and what was executed is unknown. `limitExceeded` because too much is
    ///   outstanding (`RedisConfiguration.maximumOutstandingBatches`, `…Bytes`): nothing was sent, the
    ///   connection goes on; `isClosed` tells the two apart. `cancelled`.
    public func send(_ batch: RedisCommandBatch) async throws(RedisError) -> [RESPValue] {
        try await send(batch, timeout: replyTimeout)
    }

    private func send(_ batch: RedisCommandBatch, timeout: TimeAmount) async throws(RedisError) -> [RESPValue]
    {
        precondition(batch.missing == 0, "the last command lacks arguments")
        guard batch.count > 0 else { return [] }
        guard !ending.hasCome else { throw ending.error(address) }
        let id = nextID.add(1, ordering: .relaxed).newValue
        let isCancelled = Flag()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: RedisChannelHandler.Waiter) in
                channel.eventLoop.execute { [handler] in
                    handler.value.send(
                        batch, id: id, timeout: timeout, isCancelled: isCancelled, waiter: waiter)
                }
            }
        } onCancel: {
            isCancelled.raise()
            channel.eventLoop.execute { [handler] in handler.value.abandon(id: id) }
        }
        return try result.get()
    }

    /// Ends the connection. Batches that are not answered yet throw `connectionClosed`.
    public func close() async {
        channel.eventLoop.execute { [handler] in handler.value.close() }
        try? await channel.closeFuture.get()
    }
}
