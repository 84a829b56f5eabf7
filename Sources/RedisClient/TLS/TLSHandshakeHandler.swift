internal import NIOCore
internal import NIOSSL
internal import NIOTLS

/// Stands behind the handler of NIOSSL, tells how the handshake has ended, and puts what goes wrong into words.
/// Lives on its event loop.
final class TLSHandshakeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let tls: NIOSSLClientHandler
    private let settings: RedisTLS
    private let name: ServerName?
    private var context: ChannelHandlerContext?
    private var result: Result<Void, any Error>?
    private var promise: EventLoopPromise<Void>?
    private var hasRead = false

    /// - Parameter tls: the handler in front of this one.
    init(_ tls: NIOSSLClientHandler, _ settings: RedisTLS, _ name: ServerName?) {
        self.tls = tls
        self.settings = settings
        self.name = name
    }

    /// Completes when the handshake has ended: with `connectionFailed` or `timeout` where the connection cannot be
    /// used, which closes it. To be asked once.
    func finished(before deadline: NIODeadline, on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        if let result {
            promise.completeWith(result)
            return promise.futureResult
        }
        self.promise = promise
        let timer = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.abort(
                RedisError(
                    code: .timeout,
                    message:
                        "the TLS handshake is not finished in time; does the server speak TLS on this port?"))
        }
        promise.futureResult.whenComplete { _ in timer.cancel() }
        return promise.futureResult
    }

    private func abort(_ error: RedisError) {
        end(.failure(error))
        context?.close(promise: nil)
    }

    private func end(_ result: Result<Void, any Error>) {
        guard self.result == nil else { return }
        self.result = result
        promise?.completeWith(result)
        promise = nil
    }

    // MARK: ChannelInboundHandler

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(.failure(failure("closed by this client")))
        self.context = nil
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent {
            if settings.verification == .full, let name,
                tls.peerCertificate.map(name.isNamed) != true
            {
                abort(failure(TLSFailure.wrongHost))
            } else {
                end(.success(()))
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasRead = true
        context.fireChannelRead(data)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !hasRead { lose("closed by the server", context) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Else channelInactive follows, and says what matters.
        if hasRead, case .uncleanShutdown? = error as? NIOSSLError { return }
        lose(
            TLSFailure.words(for: error, certificate: tls.peerCertificate),
            isVerdict: error is BoringSSLError, context)
    }

    /// Before the first answer, it is the server's verdict on us: with TLS 1.3 it looks at our certificate when the
    /// handshake is over on our side.
    ///
    /// - Parameter isVerdict: whether the server has said so; it may be gone before we hear it.
    private func lose(_ why: String, isVerdict: Bool = false, _ context: ChannelHandlerContext) {
        switch result {
        case nil:
            let message = "the TLS handshake failed: \(why)"
            end(.failure(RedisError(code: .connectionFailed, message: message)))
        case .failure:
            break
        case .success where hasRead:
            let message = "the connection failed: \(why)"
            context.fireErrorCaught(RedisError(code: .connectionClosed, message: message))
        case .success where isVerdict:
            context.fireErrorCaught(failure(why))
        case .success:
            let demand = settings.identity == nil ? "wants a" : "does not accept the"
            let hint = "right behind the handshake; perhaps the server \(demand) client certificate"
            context.fireErrorCaught(failure("\(why) \(hint)"))
        }
    }

    private func failure(_ why: String) -> RedisError {
        RedisError(code: .connectionFailed, message: "TLS failed: \(why)")
    }
}
