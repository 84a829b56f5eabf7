import NIOCore
import NIOPosix
import Synchronization

/// Forwards TCP connections and breaks them on request.
public final class TCPProxy: Sendable {
    private struct State {
        var refuses = false
        var stalls = false
        var channels: [ObjectIdentifier: any Channel] = [:]
    }

    /// 127.0.0.1:port
    public let address: String
    public let port: Int
    private let listener: any Channel
    private let shared: Shared

    private final class Shared: Sendable {
        let host: String
        let port: Int
        let state = Mutex(State())

        init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    private init(listener: any Channel, port: Int, shared: Shared) {
        self.listener = listener
        self.port = port
        self.shared = shared
        address = "127.0.0.1:\(port)"
    }

    /// - Parameter address: host:port
    public static func start(to address: String) async throws -> TCPProxy {
        guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...])
        else {
            throw TestServerError("'\(address)' is not host:port")
        }
        let shared = Shared(host: String(address[..<colon]), port: port)
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { channel in accept(channel, shared) }
            .bind(host: "127.0.0.1", port: 0).get()
        return TCPProxy(listener: listener, port: listener.localAddress?.port ?? 0, shared: shared)
    }

    private static func accept(_ channel: any Channel, _ shared: Shared) -> EventLoopFuture<Void> {
        if shared.state.withLock({ $0.refuses }) { return channel.close() }
        return ClientBootstrap(group: channel.eventLoop)
            .channelOption(.autoRead, value: false)
            .connect(host: shared.host, port: shared.port)
            .flatMapThrowing { target in
                // Both channels live on one event loop, the one this runs on.
                try channel.pipeline.syncOperations.addHandler(Forwarder(to: target))
                try target.pipeline.syncOperations.addHandler(Forwarder(to: channel))
                for end in [channel, target] {
                    let id = ObjectIdentifier(end)
                    shared.state.withLock { $0.channels[id] = end }
                    end.closeFuture.whenComplete { _ in
                        shared.state.withLock { _ = $0.channels.removeValue(forKey: id) }
                    }
                }
                if !shared.state.withLock({ $0.stalls }) { read([channel, target], true) }
            }
    }

    private static func read(_ channels: [any Channel], _ isReading: Bool) {
        for channel in channels { _ = channel.setOption(.autoRead, value: isReading) }
    }

    /// Closes every connection; new ones are forwarded.
    public func cutAll() {
        for channel in shared.state.withLock({ Array($0.channels.values) }) { channel.close(promise: nil) }
    }

    /// Whether new connections are closed at once. Those that exist stay.
    public func refuse(_ refuses: Bool) {
        shared.state.withLock { $0.refuses = refuses }
    }

    /// Whether bytes stand still in both directions, in connections that exist and in new ones.
    public func stall(_ stalls: Bool) {
        let channels = shared.state.withLock { state in
            state.stalls = stalls
            return Array(state.channels.values)
        }
        TCPProxy.read(channels, !stalls)
    }

    /// Closes the listener and every connection.
    public func stop() async {
        try? await listener.close()
        cutAll()
    }
}

/// Writes what it reads to the other end, and closes it with its own.
private final class Forwarder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel

    init(to other: any Channel) {
        self.other = other
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        other.close(promise: nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
