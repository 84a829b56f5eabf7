internal import Logging
internal import NIOCore
internal import NIOSSL

/// What a channel needs for TLS.
struct Encryption: Sendable {
    private let context: NIOSSLContext
    private let settings: RedisTLS
    private let name: ServerName?

    init?(
        _ tls: TLSContext?, _ address: RedisEndpoint.Address, _ deadline: NIODeadline,
        _ eventLoop: any EventLoop, _ logger: Logger
    ) async throws(RedisError) {
        guard let tls else { return nil }
        guard case .host(let host, _) = address else {
            throw RedisError(code: .notSupported, message: "there is no TLS on a unix socket")
        }
        settings = tls.settings
        name = ServerName(host)
        context = try await tls.get(before: deadline, eventLoop, logger)
    }

    func add(to channel: any Channel) throws -> TLSHandshakeHandler {
        let handler = try NIOSSLClientHandler(context: context, serverHostname: name?.text)
        let handshake = TLSHandshakeHandler(handler, settings, name)
        try channel.pipeline.syncOperations.addHandlers([handler, handshake])
        return handshake
    }
}
