internal import Glibc
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// A connected socket with the handler on it, before anything is said.
struct OpenedChannel {
    let channel: any Channel
    let handler: NIOLoopBound<RedisChannelHandler>
    let ending: Ending

    /// - Throws: `connectionFailed`, `timeout`, `notSupported` for TLS on a unix socket, or `cancelled`.
    static func open(
        _ configuration: RedisConfiguration, _ tls: TLSContext?, _ deadline: NIODeadline,
        _ group: any EventLoopGroup, _ logger: Logger
    ) async throws(RedisError) -> OpenedChannel {
        let address = configuration.endpoint.address
        let attempt = Attempt()
        do {
            return try await withTaskCancellationHandler {
                let encryption = try await Encryption(tls, address, deadline, group.any(), logger)
                let bootstrap = ClientBootstrap(group: group)
                    .connectTimeout(max(deadline - .now(), .milliseconds(1)))
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try attempt.started(channel)
                            let handler = RedisChannelHandler(configuration, ending: Ending(), logger: logger)
                            let handshake = try encryption?.add(to: channel)
                            try channel.pipeline.syncOperations.addHandler(handler)
                            attempt.prepared(channel, handler, handshake)
                        }
                    }
                let connected: EventLoopFuture<any Channel>
                switch address {
                case .host(let host, let port):
                    // A peer that vanished is noticed even when nothing is asked of it.
                    connected = bootstrap.channelOption(.socketOption(.so_keepalive), value: 1)
                        .connect(host: host, port: port)
                case .unixSocket(let path):
                    connected = bootstrap.connect(unixDomainSocketPath: path)
                }
                return try await connected.flatMap { attempt.opened($0, before: deadline) }.get()
            } onCancel: {
                attempt.cancel()
            }
        } catch {
            throw failure(error, address, isCancelled: attempt.isCancelled)
        }
    }

    private static func failure(
        _ error: any Error, _ address: RedisEndpoint.Address, isCancelled: Bool
    ) -> RedisError {
        let place = address.description
        if isCancelled { return RedisError(code: .cancelled, message: "cancelled", address: place) }
        if let error = error as? RedisError {
            return RedisError(code: error.code, message: error.message, address: place)
        }
        var reason = error
        if let error = error as? NIOConnectionError {
            reason = error.connectionErrors.last?.error ?? error.dnsAError ?? error.dnsAAAAError ?? error
        }
        if case .connectTimeout? = reason as? ChannelError {
            return RedisError(code: .timeout, message: "cannot connect: no answer in time", address: place)
        }
        let text =
            switch reason {
            case let error as IOError: String(cString: strerror(error.errnoCode))
            default: "\(reason)"
            }
        return RedisError(code: .connectionFailed, message: "cannot connect: \(text)", address: place)
    }
}

/// The channels of an attempt to connect, one for each address of the host that is tried. Ends them where its task is
/// cancelled.
private final class Attempt: Sendable {
    private struct Prepared {
        let opened: OpenedChannel
        let handshake: NIOLoopBound<TLSHandshakeHandler>?
    }

    private struct State {
        var channels: [any Channel] = []
        /// What is on them: the pipeline of a channel that has been closed already does not tell.
        var prepared: [ObjectIdentifier: Prepared] = [:]
        var isCancelled = false
    }

    private let state = Mutex(State())

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    func started(_ channel: any Channel) throws {
        let isCancelled = state.withLock { state in
            state.channels.append(channel)
            return state.isCancelled
        }
        if isCancelled { throw CancellationError() }
    }

    func prepared(
        _ channel: any Channel, _ handler: RedisChannelHandler, _ handshake: TLSHandshakeHandler?
    ) {
        let loop = channel.eventLoop
        let prepared = Prepared(
            opened: OpenedChannel(
                channel: channel, handler: NIOLoopBound(handler, eventLoop: loop), ending: handler.ending),
            handshake: handshake.map { NIOLoopBound($0, eventLoop: loop) })
        state.withLock { $0.prepared[ObjectIdentifier(channel)] = prepared }
    }

    /// The channel that has been connected, when TLS is ready on it too. On its event loop.
    func opened(_ channel: any Channel, before deadline: NIODeadline) -> EventLoopFuture<OpenedChannel> {
        let loop = channel.eventLoop
        guard let prepared = state.withLock({ $0.prepared[ObjectIdentifier(channel)] }) else {
            return loop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        guard let handshake = prepared.handshake else { return loop.makeSucceededFuture(prepared.opened) }
        return handshake.value.finished(before: deadline, on: loop).map { prepared.opened }
    }

    func cancel() {
        let channels = state.withLock { state in
            state.isCancelled = true
            return state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }
}
