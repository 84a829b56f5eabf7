import NIOCore
import NIOHTTP1

/// A request that waits for its answer.
struct AdminRequest: Sendable {
    var method: HTTPMethod
    var target: String
    var channel: any Channel
}

/// A connection serves one request and is closed: whoever scrapes comes every few seconds, and nothing has to be known of
/// the next request while one is answered. All of it, the slowest reader included, is over after `lifetime`.
final class AdminConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let lifetime: TimeAmount
    private let take: @Sendable (AdminRequest) -> Void
    private var head: HTTPRequestHead?
    private var isTaken = false
    private var deadline: Scheduled<Void>?

    init(lifetime: TimeAmount, take: @escaping @Sendable (AdminRequest) -> Void) {
        self.lifetime = lifetime
        self.take = take
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: lifetime) {
            channel.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isTaken else { return }
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end:
            guard let head else { return }
            isTaken = true
            take(AdminRequest(method: head.method, target: head.uri, channel: context.channel))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What can be said of a request that is none has been said by the handler before this one.
        context.close(promise: nil)
    }
}

extension AdminRequest {
    /// Sends the answer and closes the connection; what cannot be sent within the connection's lifetime is not.
    func reply(_ answer: Answer) {
        var headers = HTTPHeaders([
            ("content-type", answer.type), ("content-length", "\(answer.body.count)"),
            ("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("connection", "close"),
        ])
        for (name, value) in answer.headers { headers.add(name: name, value: value) }
        let head = HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers)
        let channel = channel
        channel.write(HTTPServerResponsePart.head(head), promise: nil)
        channel.write(
            HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: answer.body))), promise: nil)
        channel.writeAndFlush(HTTPServerResponsePart.end(nil)).whenComplete { _ in
            channel.close(promise: nil)
        }
    }
}

/// Closes a connection that sends more than a request of ours can have.
final class RequestSizeLimit: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    static let bytes = 16 << 10

    private var received = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let before = received
        received += unwrapInboundIn(data).readableBytes
        guard received > RequestSizeLimit.bytes else {
            context.fireChannelRead(data)
            return
        }
        guard before <= RequestSizeLimit.bytes else { return }
        let text =
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
        context.close(promise: nil)
    }
}
