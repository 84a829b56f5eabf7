import NIOCore
import NIOPosix
import Synchronization

/// Forwards TCP connections and breaks them on request.
public final class TCPProxy: Sendable {
    fileprivate struct State {
        var refuses = false
        var stalls = false
        var delay = TimeAmount.zero
        var dribbles = false
        var cutsAfterAnswer = false
        var channels: [ObjectIdentifier: any Channel] = [:]
        /// Those of `channels` that lead to a client.
        var clients: Set<ObjectIdentifier> = []
    }

    /// 127.0.0.1:port
    public let address: String
    public let port: Int
    private let listener: any Channel
    private let shared: Shared

    fileprivate final class Shared: Sendable {
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
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in accept(channel, shared) }
            .bind(host: "127.0.0.1", port: 0).get()
        return TCPProxy(listener: listener, port: listener.localAddress?.port ?? 0, shared: shared)
    }

    private static func accept(_ channel: any Channel, _ shared: Shared) -> EventLoopFuture<Void> {
        if shared.state.withLock({ $0.refuses }) { return channel.close() }
        return ClientBootstrap(group: channel.eventLoop)
            .channelOption(.autoRead, value: false)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: shared.host, port: shared.port)
            .flatMapThrowing { target in
                // Both channels live on one event loop, the one this runs on.
                try channel.pipeline.syncOperations.addHandler(
                    Forwarder(to: target, shared, isAnswering: false))
                try target.pipeline.syncOperations.addHandler(
                    Forwarder(to: channel, shared, isAnswering: true))
                shared.state.withLock { _ = $0.clients.insert(ObjectIdentifier(channel)) }
                for end in [channel, target] {
                    let id = ObjectIdentifier(end)
                    shared.state.withLock { $0.channels[id] = end }
                    end.closeFuture.whenComplete { _ in
                        shared.state.withLock {
                            $0.channels.removeValue(forKey: id)
                            $0.clients.remove(id)
                        }
                    }
                }
                if !shared.state.withLock({ $0.stalls }) { read([channel, target], true) }
            }
    }

    private static func read(_ channels: [any Channel], _ isReading: Bool) {
        for channel in channels { _ = channel.setOption(.autoRead, value: isReading) }
    }

    private func channels(ofClients: Bool? = nil) -> [any Channel] {
        shared.state.withLock { state in
            state.channels.filter { ofClients == nil || state.clients.contains($0.key) == ofClients }.map(
                \.value)
        }
    }

    /// Closes every connection; new ones are forwarded.
    public func cutAll() {
        for channel in channels() { channel.close(promise: nil) }
    }

    /// Ends one direction of every connection: towards the clients, or towards the server.
    public func halfClose(towardsClients: Bool) {
        for channel in channels(ofClients: towardsClients) { channel.close(mode: .output, promise: nil) }
    }

    /// The next bytes that the server sends on any connection are forwarded, and that connection is cut: what the
    /// client says in return is lost.
    public func cutAfterNextAnswer() {
        shared.state.withLock { $0.cutsAfterAnswer = true }
    }

    /// Whether new connections are closed at once. Those that exist stay.
    public func refuse(_ refuses: Bool) {
        shared.state.withLock { $0.refuses = refuses }
    }

    /// Whether bytes stand still in both directions, in connections that exist and in new ones.
    public func stall(_ stalls: Bool) {
        shared.state.withLock { $0.stalls = stalls }
        TCPProxy.read(channels(), !stalls)
    }

    /// How long bytes take in each direction.
    public func delay(milliseconds: Int64) {
        shared.state.withLock { $0.delay = .milliseconds(milliseconds) }
    }

    /// Whether bytes arrive one by one (the first of each piece; the rest of a large one follows together).
    public func dribble(_ dribbles: Bool) {
        shared.state.withLock { $0.dribbles = dribbles }
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

    private static let dribbled = 200
    private static let dribblePause = TimeAmount.microseconds(20)

    private let other: any Channel
    private let shared: TCPProxy.Shared
    private let isAnswering: Bool
    /// When the last piece under way is due.
    private var lastDue = NIODeadline.uptimeNanoseconds(0)
    /// Pieces under way, overdue ones too: no later one may overtake them.
    private var pending = 0

    init(to other: any Channel, _ shared: TCPProxy.Shared, isAnswering: Bool) {
        self.other = other
        self.shared = shared
        self.isAnswering = isAnswering
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        let (delay, dribbles, cuts) = shared.state.withLock { state in
            let cuts = isAnswering && state.cutsAfterAnswer
            if cuts { state.cutsAfterAnswer = false }
            return (state.delay, state.dribbles, cuts)
        }
        var due = NIODeadline.now() + delay
        if dribbles {
            for _ in 0..<min(Forwarder.dribbled, buffer.readableBytes) {
                guard let byte = buffer.readSlice(length: 1) else { break }
                forward(byte, at: due, context.eventLoop)
                due = due + Forwarder.dribblePause
            }
        }
        forward(buffer, at: due, context.eventLoop)
        if cuts {
            let channel = context.channel
            later(at: .now(), context.eventLoop) { other in
                other.close(promise: nil)
                channel.close(promise: nil)
            }
        }
    }

    private func forward(_ buffer: ByteBuffer, at due: NIODeadline, _ eventLoop: any EventLoop) {
        later(at: due, eventLoop) { $0.writeAndFlush(buffer, promise: nil) }
    }

    /// In the order of the calls, on a busy machine too.
    private func later(
        at due: NIODeadline, _ eventLoop: any EventLoop, _ act: @escaping (any Channel) -> Void
    ) {
        guard pending > 0 || due > .now() else { return act(other) }
        lastDue = max(due, lastDue + .nanoseconds(1))
        pending += 1
        eventLoop.assumeIsolated().scheduleTask(deadline: lastDue) {
            self.pending -= 1
            act(self.other)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        later(at: .now(), context.eventLoop) { $0.close(promise: nil) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
