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

    /// - Throws: `connectionFailed`, `timeout` or `cancelled`.
    static func open(
        _ configuration: RedisConfiguration, _ group: any EventLoopGroup, _ logger: Logger
    ) async throws(RedisError) -> OpenedChannel {
        let address = configuration.endpoint.address
        let attempt = Attempt()
        let bootstrap = ClientBootstrap(group: group)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try attempt.started(channel)
                    let handler = RedisChannelHandler(configuration, ending: Ending(), logger: logger)
                    // TLS: its handler goes in front of this one.
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        do {
            return try await withTaskCancellationHandler {
                let connected: EventLoopFuture<any Channel>
                switch address {
                case .host(let host, let port):
                    // A peer that vanished is noticed even when nothing is asked of it.
                    connected = bootstrap.channelOption(.socketOption(.so_keepalive), value: 1)
                        .connect(host: host, port: port)
                case .unixSocket(let path):
                    connected = bootstrap.connect(unixDomainSocketPath: path)
                }
                return try await connected.flatMapThrowing { channel in
                    let handler = try channel.pipeline.syncOperations.handler(type: RedisChannelHandler.self)
                    return OpenedChannel(
                        channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop),
                        ending: handler.ending)
                }.get()
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
        var reason = error
        if let error = error as? NIOConnectionError {
            reason = error.connectionErrors.last?.error ?? error.dnsAError ?? error.dnsAAAAError ?? error
        }
        if case .connectTimeout? = reason as? ChannelError {
            return RedisError(code: .timeout, message: "cannot connect: no answer in time", address: place)
        }
        // The handler has left the pipeline already.
        let text =
            switch reason {
            case is ChannelPipelineError: "the server closed the connection at once"
            case let error as IOError: String(cString: strerror(error.errnoCode))
            default: "\(reason)"
            }
        return RedisError(code: .connectionFailed, message: "cannot connect: \(text)", address: place)
    }
}

/// Ends an attempt to connect whose task is cancelled.
private final class Attempt: Sendable {
    private struct State {
        var channels: [any Channel] = []
        var isCancelled = false
    }

    private let state = Mutex(State())

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// One for each address of the host that is tried.
    func started(_ channel: any Channel) throws {
        let isCancelled = state.withLock { state in
            state.channels.append(channel)
            return state.isCancelled
        }
        if isCancelled { throw CancellationError() }
    }

    func cancel() {
        let channels = state.withLock { state in
            state.isCancelled = true
            return state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }
}
