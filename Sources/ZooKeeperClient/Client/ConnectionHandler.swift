internal import Logging
internal import NIOCore

/// Performs what a connection's machine decides; the last handler of the pipeline.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Command: Sendable {
        /// Sent once the channel is the chosen one: of several addresses of a name more than one may connect.
        case start(ConnectRequest)
        case flush
        case resumeReading
        case close
    }

    private typealias Machine = ConnectionMachine<RequestOwner>

    /// Requests encoded between two looks at whether the socket keeps up.
    private static let chunk = 64

    private let core: ClientCore
    private let server: ZooKeeperAddress
    private var machine: Machine?
    private var splitter: FrameSplitter
    private var received = Received()
    private var end: ConnectionEnd?
    private var attachedAt: NIODeadline?
    private var isCloseWanted = false
    private var isPaused = false
    private var isReadWanted = false
    private var timer: Scheduled<Void>?

    init(_ core: ClientCore, server: ZooKeeperAddress) {
        self.core = core
        self.server = server
        splitter = FrameSplitter(maximumBytes: core.configuration.maximumReplyBytes)
    }

    // MARK: Commands

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        switch event as? Command {
        case .start(let connect): start(context, connect)
        case .flush: flush(context)
        case .resumeReading: resumeReading(context)
        case .close:
            isCloseWanted = true
            resumeReading(context)
            closeSession(context)
        case nil: context.triggerUserOutboundEvent(event, promise: promise)
        }
    }

    private func start(_ context: ChannelHandlerContext, _ connect: ConnectRequest) {
        let configuration = core.configuration
        var machine = Machine(
            Machine.Setup(
                server: server, connect: connect, authentication: configuration.authentication,
                requestTimeout: configuration.requestTimeout,
                encoder: RequestEncoder(
                    chroot: Chroot(configuration.connect.chroot),
                    maximumBytes: configuration.maximumRequestBytes)),
            now: .now())
        context.writeAndFlush(wrapOutboundOut(machine.start()), promise: nil)
        self.machine = machine
        let timeout = configuration.connectTimeout
        schedule(context, at: .now() + TimeAmount(timeout)) { handler, context in
            handler.fail(
                context,
                ZooKeeperError(.connectionFailed, message: "\(handler.server) gave no answer for \(timeout)"))
        }
    }

    /// Sends what waits, as far as the window and the socket allow.
    private func flush(_ context: ChannelHandlerContext) {
        var hasWritten = false
        while machine?.isAttached == true, context.channel.isWritable {
            let room = core.configuration.maximumRequestsInFlight - (machine?.inFlightCount ?? 0)
            guard room > 0 else { break }
            let requests = core.update { state, _ in state.takeRequests(min(room, ConnectionHandler.chunk)) }
            guard !requests.isEmpty else { break }
            var buffer = context.channel.allocator.buffer(capacity: requests.count * 64)
            let now = NIODeadline.now()
            for submission in requests {
                do throws(ZooKeeperError) {
                    try machine?.submit(submission.request, token: submission.owner, into: &buffer, now: now)
                } catch {
                    answer(submission.owner, zxid: -1, .failure(error))
                }
            }
            context.write(wrapOutboundOut(buffer), promise: nil)
            hasWritten = true
        }
        if hasWritten {
            context.flush()
            if !received.isEmpty { deliver(context) }
        }
    }

    private func closeSession(_ context: ChannelHandlerContext) {
        guard machine?.isAttached == true, let frame = machine?.close(now: .now()) else { return }
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        schedule(context, at: .now() + TimeAmount(core.configuration.connectTimeout)) { handler, context in
            handler.close(context, .closed)
        }
    }

    // MARK: Reading

    func read(context: ChannelHandlerContext) {
        if isPaused { isReadWanted = true } else { context.read() }
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        guard isPaused else { return }
        isPaused = false
        machine?.timing.resumed(now: .now())
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard machine != nil, end == nil else { return }
        let now = NIODeadline.now()
        var bytes = unwrapInboundIn(data)
        machine?.timing.received(now: now)
        splitter.append(&bytes)
        do throws(FrameSplitter.Problem) {
            while end == nil, let frame = try splitter.next() { receive(context, frame, now) }
        } catch {
            guard
                let (failure, request) = machine?.frameProblem(
                    error, limit: core.configuration.maximumReplyBytes)
            else { return }
            if let request { answer(request.token, zxid: -1, .failure(failure)) }
            fail(context, failure)
        }
        // A large reply that is still arriving is progress.
        if splitter.holdsPart { machine?.timing.progressed(now: now) }
    }

    private func receive(_ context: ChannelHandlerContext, _ frame: ByteBuffer, _ now: NIODeadline) {
        guard let action = machine?.receive(frame, now: now) else { return }
        switch action {
        case .none: break
        case .write(let buffer): context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
        case .attached(let reply): attached(context, reply)
        case .expired: close(context, .expired)
        case .notification(let notification): received.events.append(.notification(notification))
        case .reply(let owner, let zxid, let result): answer(owner, zxid: zxid, result)
        case .closed: close(context, .closed)
        case .failed(let error): fail(context, error)
        }
    }

    private func answer(_ owner: RequestOwner, zxid: Int64, _ result: Answer) {
        switch owner {
        case .consumer(let tag): received.events.append(.reply(tag: tag, zxid: zxid, result))
        case .caller(let id): received.answers.append((id, result))
        }
    }

    private func attached(_ context: ChannelHandlerContext, _ reply: ConnectReply) {
        attachedAt = .now()
        checkTiming(context)
        core.update { state, effects in state.attached(reply, to: server, &effects) }
        if isCloseWanted { closeSession(context) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if end == nil { deliver(context) }
    }

    private func deliver(_ context: ChannelHandlerContext) {
        guard machine?.isStarted == true else { return }
        let (isFull, hasRequests) = core.update { state, effects in
            state.deliver(takeReceived(), &effects)
        }
        // Events may have been fetched since, but then a command to resume is on its way.
        if isFull { isPaused = true }
        if hasRequests { flush(context) }
    }

    private func takeReceived() -> Received {
        received.lastZxid = machine?.lastZxid ?? 0
        defer { received = Received() }
        return received
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { flush(context) }
    }

    // MARK: Time

    private func checkTiming(_ context: ChannelHandlerContext) {
        guard let machine, end == nil else { return }
        let hasRequests = machine.inFlightCount > 0
        switch machine.timing.verdict(now: .now(), hasRequests: hasRequests, isReading: !isPaused) {
        case .wait: break
        case .ping:
            if let frame = self.machine?.ping(now: .now()) {
                context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
            }
        case .silent(let time):
            fail(
                context,
                ZooKeeperError(.connectionLoss, message: "\(server) sent nothing for \(time.text)"))
            return
        case .stuck(let time):
            fail(
                context,
                ZooKeeperError(.timeout, message: "\(server) answered no request for \(time.text)"))
            return
        }
        let next = self.machine?.timing.nextCheck(hasRequests: hasRequests, isReading: !isPaused) ?? .now()
        schedule(context, at: next) { handler, context in handler.checkTiming(context) }
    }

    private func schedule(
        _ context: ChannelHandlerContext, at time: NIODeadline,
        _ body: @escaping (ConnectionHandler, ChannelHandlerContext) -> Void
    ) {
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: time) { body(self, context) }
    }

    // MARK: The end

    private func fail(_ context: ChannelHandlerContext, _ error: ZooKeeperError) {
        let lifetime = attachedAt.map { Duration.nanoseconds((NIODeadline.now() - $0).nanoseconds) } ?? .zero
        close(context, .lost(error, lifetime: lifetime))
    }

    private func close(_ context: ChannelHandlerContext, _ end: ConnectionEnd) {
        if self.end == nil { self.end = end }
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if machine?.isHandshaking == true {
            fail(context, refusal)
        } else {
            fail(context, ZooKeeperError(.connectionLoss, message: "\(server): \(error)"))
        }
    }

    /// A server that is behind us closes without a word, as does one that serves nobody.
    private var refusal: ZooKeeperError {
        let zxid = machine?.lastZxid ?? 0
        let reason =
            zxid > 0
            ? "it may be behind zxid 0x\(String(zxid, radix: 16)), which this client has seen, or serve nobody"
            : "it serves nobody"
        return ZooKeeperError(
            .refusedByServer, message: "\(server) closed the connection without an answer: \(reason)")
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        if end == nil {
            let error =
                machine?.isHandshaking == true
                ? refusal
                : ZooKeeperError(.connectionLoss, message: "\(server) closed the connection")
            fail(context, error)
        }
        // A channel that was never started belongs to nobody.
        if machine != nil, let end {
            let inFlight = machine?.takeInFlight().map { (owner: $0.token, path: $0.expected.path) } ?? []
            core.update { state, effects in
                state.ended(end, takeReceived(), inFlight: inFlight, &effects)
            }
        }
        context.fireChannelInactive()
    }
}

extension TimeAmount {
    fileprivate var text: String { "\(nanoseconds / 1_000_000) ms" }
}
