internal import NIOCore

/// One connection's protocol, without its socket: frames in, actions and frames out. `Token` is what the
/// owner knows a request by.
struct ConnectionMachine<Token> {
    struct Setup: Sendable {
        var server: ZooKeeperAddress
        var connect: ConnectRequest
        var authentication: [Authentication] = []
        var requestTimeout: Duration
        var encoder: RequestEncoder
    }

    /// What a frame asks the owner to do.
    enum Action {
        case none
        case write(ByteBuffer)
        /// The session is attached and authenticated; requests may be submitted.
        case attached(ConnectReply)
        case expired
        case notification(WatchNotification)
        case reply(Token, zxid: Int64, Result<ZooKeeperResponse, ZooKeeperError>)
        /// The server has closed the session, as asked.
        case closed
        /// The connection must end: `.protocolViolation` or `.authenticationFailed`.
        case failed(ZooKeeperError)
    }

    struct InFlight {
        let xid: Int32
        let token: Token
        let expected: ExpectedReply
    }

    private enum Phase {
        case idle
        case handshaking
        case authenticating(remaining: Int, ConnectReply)
        case attached
        case closing(xid: Int32)
    }

    private let setup: Setup
    private var phase = Phase.idle
    private var inFlight = CircularBuffer<InFlight>()
    private var nextXid: Int32 = 1
    var timing: ConnectionTiming
    /// The highest transaction that a reply named.
    private(set) var lastZxid: Int64

    init(_ setup: Setup, now: NIODeadline) {
        self.setup = setup
        lastZxid = setup.connect.lastZxid
        timing = ConnectionTiming(
            sessionTimeout: .milliseconds(Int64(setup.connect.timeoutMilliseconds)),
            requestTimeout: TimeAmount(setup.requestTimeout), now: now)
    }

    var inFlightCount: Int { inFlight.count }
    var isAttached: Bool { if case .attached = phase { true } else { false } }
    /// The connect request is out and the server has not said a word.
    var isHandshaking: Bool { if case .handshaking = phase { true } else { false } }
    var isStarted: Bool { if case .idle = phase { false } else { true } }

    /// Takes what is in flight when the connection is over, in the order of the requests.
    mutating func takeInFlight() -> CircularBuffer<InFlight> {
        defer { inFlight.removeAll() }
        return inFlight
    }

    // MARK: Out

    mutating func start() -> ByteBuffer {
        var buffer = ByteBuffer()
        setup.connect.encode(into: &buffer)
        phase = .handshaking
        return buffer
    }

    /// Appends a request to `buffer`.
    ///
    /// - Throws: What makes the request impossible to send; then nothing was appended and no reply follows.
    mutating func submit(
        _ request: ZooKeeperRequest, token: Token, into buffer: inout ByteBuffer, now: NIODeadline
    ) throws(ZooKeeperError) {
        let xid = nextXid
        let expected = try setup.encoder.encode(request, xid: xid, into: &buffer)
        nextXid = xid == Int32.max ? 1 : xid + 1
        timing.sent(now: now, startsWaiting: inFlight.isEmpty)
        inFlight.append(InFlight(xid: xid, token: token, expected: expected))
    }

    /// The frame that closes the session. Replies to what is in flight come first.
    mutating func close(now: NIODeadline) -> ByteBuffer {
        timing.sent(now: now, startsWaiting: false)
        phase = .closing(xid: nextXid)
        return ConnectionMachine.header(xid: nextXid, .closeSession)
    }

    mutating func ping(now: NIODeadline) -> ByteBuffer {
        timing.sent(now: now, startsWaiting: false)
        return ConnectionMachine.header(xid: ReservedXid.ping, .ping)
    }

    private static func header(xid: Int32, _ code: OperationCode) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.put(Int32(8))
        buffer.put(xid)
        buffer.put(code.rawValue)
        return buffer
    }

    private func authenticationFrames() -> ByteBuffer {
        var buffer = ByteBuffer()
        for entry in setup.authentication {
            let start = buffer.writerIndex
            buffer.put(Int32(0))
            buffer.put(ReservedXid.auth)
            buffer.put(OperationCode.auth.rawValue)
            buffer.put(Int32(0))
            buffer.put(entry.scheme)
            buffer.put(entry.credentials)
            buffer.setInteger(Int32(clamping: buffer.writerIndex - start - 4), at: start)
        }
        return buffer
    }

    // MARK: In

    mutating func receive(_ frame: ByteBuffer, now: NIODeadline) -> Action {
        var frame = frame
        do throws(MalformedBytes) {
            if case .handshaking = phase { return attach(try ConnectReply(reading: &frame)) }
            let xid: Int32 = try frame.take()
            let zxid: Int64 = try frame.take()
            let error: Int32 = try frame.take()
            lastZxid = max(lastZxid, zxid)
            switch xid {
            case ReservedXid.ping: return .none
            case ReservedXid.notification: return try notification(&frame, zxid: zxid)
            case ReservedXid.auth: return authenticated(error)
            default: return reply(xid: xid, zxid: zxid, error: error, &frame, now: now)
            }
        } catch {
            return violation(error.reason)
        }
    }

    private func violation(_ what: String) -> Action {
        .failed(ZooKeeperError(.protocolViolation, message: "\(setup.server) sent \(what)"))
    }

    private mutating func attach(_ reply: ConnectReply) -> Action {
        guard !reply.isExpired else { return .expired }
        timing.sessionTimeout = .milliseconds(Int64(reply.timeoutMilliseconds))
        guard !setup.authentication.isEmpty else {
            phase = .attached
            return .attached(reply)
        }
        phase = .authenticating(remaining: setup.authentication.count, reply)
        return .write(authenticationFrames())
    }

    private mutating func authenticated(_ error: Int32) -> Action {
        guard case .authenticating(let remaining, let reply) = phase else {
            return violation("an answer to an authentication that was not asked for")
        }
        if error != 0 {
            return .failed(
                ZooKeeperError(
                    .authenticationFailed,
                    message:
                        "\(setup.server) refuses the credentials or their scheme (\(error))"
                ))
        }
        guard remaining == 1 else {
            phase = .authenticating(remaining: remaining - 1, reply)
            return .none
        }
        phase = .attached
        return .attached(reply)
    }

    private func notification(_ body: inout ByteBuffer, zxid: Int64) throws(MalformedBytes) -> Action {
        let type: Int32 = try body.take()
        _ = try body.take(Int32.self)
        let path = try body.takeString()
        // Type -1 tells of the session's state, which the client knows by itself.
        guard type != -1, let below = setup.encoder.chroot.remove(path) else { return .none }
        return .notification(WatchNotification(type: .init(wire: type), path: below, zxid: zxid))
    }

    /// Replies come in the order of the requests: any other xid means that one side has lost count.
    private mutating func reply(
        xid: Int32, zxid: Int64, error: Int32, _ body: inout ByteBuffer, now: NIODeadline
    ) -> Action {
        guard let head = inFlight.first, head.xid == xid else {
            if case .closing(xid) = phase, inFlight.isEmpty { return .closed }
            return violation(
                "a reply to request \(xid) where \(inFlight.first.map { "\($0.xid)" } ?? "none") is due")
        }
        inFlight.removeFirst()
        timing.progressed(now: now)
        if error != 0 {
            let error = ZooKeeperError(server: error, path: head.expected.path)
            return .reply(head.token, zxid: zxid, .failure(error))
        }
        return .reply(head.token, zxid: zxid, head.expected.decode(&body, chroot: setup.encoder.chroot))
    }

    /// What a frame of `problem` means: the reply that was too large is the first in flight, by its xid.
    mutating func frameProblem(_ problem: FrameSplitter.Problem, limit: Int) -> (ZooKeeperError, InFlight?) {
        switch problem {
        case .negativeLength(let length):
            return (
                ZooKeeperError(
                    .protocolViolation, message: "\(setup.server) sent a frame of \(length) bytes"), nil
            )
        case .tooLarge(let frame):
            var request: InFlight?
            if let head = inFlight.first, head.xid == frame.xid { request = inFlight.removeFirst() }
            let error = ZooKeeperError(
                .frameTooLarge, path: request?.expected.path,
                message: "\(setup.server) sent a frame of \(frame.length) bytes, \(limit) are allowed")
            return (error, request)
        }
    }
}
