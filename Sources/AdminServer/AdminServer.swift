public import Engine
import Glibc
public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Tells over HTTP how the pipelines of this process are: `/metrics`, `/live`, `/ready`, `/status`, and a page for people.
///
/// Only GET, nothing that changes anything, and no data of theirs. Nothing grows with who asks: requests, connections and
/// their lifetimes are bounded, an answer is made as a whole, and servers are asked by one reader about once a second.
public struct AdminServer: Sendable {
    private let answers: Answers
    private let logger: Logger
    /// From a connection's beginning to its end, whatever it does.
    var lifetime = TimeAmount.seconds(15)

    /// Connections at the same time; further ones are closed at once.
    private static let maximumConnections = 64
    private static let backlog: Int32 = 64

    public init(version: String, pipelines: [PipelineProgress], logger: Logger) {
        answers = Answers(version: version, pipelines: pipelines)
        self.logger = logger
    }

    /// Listens, then runs the body and serves until it is done.
    ///
    /// Throws what the body throws, and before it begins `PipelineError.unavailable` where the address cannot be had.
    public func serve(
        _ address: HTTPAddress, while body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let connections = Connections()
        let (requests, continuation) = AsyncStream.makeStream(
            of: AdminRequest.self, bufferingPolicy: .bufferingOldest(AdminServer.maximumConnections))
        let listener = try await listen(address, connections, continuation)
        logger.info(
            "watch it over HTTP", metadata: ["address": "http://\(AdminServer.name(of: listener, address))/"])
        do {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    try await body()
                    return true
                }
                for watch in answers.watches {
                    group.addTask {
                        try await watch.run()
                        return false
                    }
                }
                group.addTask {
                    await answer(requests)
                    return false
                }
                while let isBody = try await group.next(), !isBody {}
                group.cancelAll()
            }
        } catch {
            await close(listener, connections)
            throw error
        }
        await close(listener, connections)
    }

    private func answer(_ requests: AsyncStream<AdminRequest>) async {
        await withDiscardingTaskGroup { group in
            for await request in requests {
                group.addTask {
                    do {
                        request.reply(try await answers.answer(request.method, request.target))
                    } catch {
                        request.reply(.text(.serviceUnavailable, "ending"))
                    }
                }
            }
        }
    }

    private func listen(
        _ address: HTTPAddress, _ connections: Connections,
        _ requests: AsyncStream<AdminRequest>.Continuation
    ) async throws(PipelineError) -> any Channel {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: AdminServer.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { [lifetime] channel in
                guard connections.add(channel, limit: AdminServer.maximumConnections) else {
                    return channel.eventLoop.makeFailedFuture(ChannelError.connectTimeout(.zero))
                }
                return channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(RequestSizeLimit())
                    try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try pipeline.addHandler(AdminConnection(lifetime: lifetime) { requests.yield($0) })
                }
            }
        do {
            return try await bootstrap.bind(host: address.host, port: address.port).get()
        } catch {
            throw .unavailable("--http \(address): \(AdminServer.reason(error))")
        }
    }

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        switch error.errnoCode {
        case EADDRINUSE: return "another process listens there; name another port"
        case EADDRNOTAVAIL: return "no interface of this machine has this address"
        case EACCES: return "this user may not listen there; ports from 1024 on are free to all"
        default: return String(cString: strerror(error.errnoCode))
        }
    }

    /// With the port that was found where none was named.
    private static func name(of listener: any Channel, _ address: HTTPAddress) -> String {
        var address = address
        address.port = listener.localAddress?.port ?? address.port
        return "\(address)"
    }

    private func close(_ listener: any Channel, _ connections: Connections) async {
        try? await listener.close().get()
        connections.closeAll()
    }
}

/// Those that are open.
private final class Connections: Sendable {
    private let open = Mutex<[ObjectIdentifier: any Channel]>([:])

    /// `false` where there are too many.
    func add(_ channel: any Channel, limit: Int) -> Bool {
        let id = ObjectIdentifier(channel)
        let isTaken = open.withLock { open in
            guard open.count < limit else { return false }
            open[id] = channel
            return true
        }
        if isTaken {
            channel.closeFuture.whenComplete { _ in self.open.withLock { _ = $0.removeValue(forKey: id) } }
        }
        return isTaken
    }

    func closeAll() {
        for channel in open.withLock({ Array($0.values) }) { channel.close(promise: nil) }
    }
}
