internal import Logging
internal import NIOCore

/// Performs what a connection's machine decides; the last handler of the pipeline.
final class ObserverHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Command: Sendable {
        /// Sent once the channel is the chosen one: of several addresses of a name more than one may connect.
        case start
        case resumeReading
    }

    /// Transactions in one event, at most.
    private static let batch = 1_000
    /// What a transaction or a node costs beside its bytes, roughly.
    private static let overhead = 200

    private let core: ObserverCore
    private let server: ZooKeeperAddress
    private var machine: LearnerMachine
    private var timing: LearnerTiming
    private var events: [ObserverEvent] = []
    private var transactions: [Transaction] = []
    private var bytes = 0
    private var error: ZooKeeperError?
    private var isStarted = false
    private var isPaused = false
    private var isReadWanted = false
    private var timer: Scheduled<Void>?

    init(_ core: ObserverCore, server: ZooKeeperAddress) {
        self.core = core
        self.server = server
        machine = LearnerMachine(
            server: server, lastZxid: core.position, maximumBytes: core.configuration.maximumPacketBytes,
            credentials: core.configuration.credentials)
        timing = LearnerTiming(core.configuration, now: .now())
    }

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        switch event as? Command {
        case .start:
            isStarted = true
            timing.received(now: .now())
            context.writeAndFlush(wrapOutboundOut(machine.start), promise: nil)
            checkTiming(context)
        case .resumeReading: resumeReading(context)
        case nil: context.triggerUserOutboundEvent(event, promise: promise)
        }
    }

    // MARK: Reading

    func read(context: ChannelHandlerContext) {
        if isPaused { isReadWanted = true } else { context.read() }
    }

    private func pauseReading(_ context: ChannelHandlerContext) {
        guard !isPaused else { return }
        isPaused = true
        timing.paused(now: .now())
        checkTiming(context)
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        guard isPaused else { return }
        isPaused = false
        timing.resumed(now: .now())
        checkTiming(context)
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard isStarted, error == nil else { return }
        var bytes = unwrapInboundIn(data)
        timing.received(now: .now())
        let progress = machine.progress
        machine.append(&bytes)
        do throws(ZooKeeperError) {
            while let action = try machine.next() { perform(action, context) }
        } catch {
            fail(context, error)
        }
        // Another time-out holds from here.
        if machine.progress != progress { checkTiming(context) }
    }

    private func perform(_ action: LearnerMachine.Action, _ context: ChannelHandlerContext) {
        switch action {
        case .write(let packet): context.writeAndFlush(wrapOutboundOut(packet), promise: nil)
        case .syncing(let sync): append(.syncing(sync, server: server), bytes: ObserverHandler.overhead)
        case .snapshotNodes(let nodes):
            let size = nodes.reduce(0) { $0 + $1.path.utf8.count + $1.data.count + ObserverHandler.overhead }
            append(.snapshotNodes(nodes), bytes: size)
        case .snapshotEnd(let zxid): append(.snapshotEnd(zxid: zxid), bytes: ObserverHandler.overhead)
        case .transaction(let transaction, let size):
            transactions.append(transaction)
            bytes += size + ObserverHandler.overhead
            if transactions.count >= ObserverHandler.batch { endBatch() }
        case .members(let members): core.announced(members)
        case .upToDate: append(.upToDate(zxid: machine.lastZxid), bytes: ObserverHandler.overhead)
        }
    }

    private func append(_ event: ObserverEvent, bytes: Int) {
        endBatch()
        events.append(event)
        self.bytes += bytes
    }

    private func endBatch() {
        guard !transactions.isEmpty else { return }
        events.append(.transactions(transactions))
        transactions = []
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard deliver(), error == nil else { return }
        pauseReading(context)
        // Fetched between the two: the command to resume came to a connection that was not paused.
        if !core.isFull { resumeReading(context) }
    }

    /// Whether nobody fetches what there is.
    private func deliver() -> Bool {
        endBatch()
        guard !events.isEmpty else { return false }
        defer {
            events = []
            bytes = 0
        }
        return core.deliver(events, bytes: bytes)
    }

    // MARK: Time

    private func checkTiming(_ context: ChannelHandlerContext) {
        guard isStarted, error == nil else { return }
        let now = NIODeadline.now()
        switch timing.verdict(now: now, machine.progress) {
        case .wait: break
        case .ping:
            timing.pinged(now: now)
            let packet = QuorumPacket.ping(zxid: machine.lastZxid).encoded
            context.writeAndFlush(wrapOutboundOut(packet), promise: nil)
        case .silent(let time):
            let text = "\(server) sent nothing for \(time.nanoseconds / 1_000_000) ms"
            fail(context, ZooKeeperError(.timeout, message: text))
            return
        case .stalled(let time):
            let text =
                "nobody fetched events for \(time.nanoseconds / 1_000_000) ms; \(server) was let go, "
                + "so that it need not keep them"
            fail(context, ZooKeeperError(.stalled, message: text))
            return
        }
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(
            deadline: timing.nextCheck(machine.progress)
        ) {
            self.checkTiming(context)
        }
    }

    // MARK: The end

    private func fail(_ context: ChannelHandlerContext, _ error: ZooKeeperError) {
        if self.error == nil { self.error = error }
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(context, ZooKeeperError(.connectionLoss, message: "\(server): \(error)"))
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        // A channel that was never started belongs to nobody.
        if isStarted {
            _ = deliver()
            let hint =
                machine.progress == .handshake
                ? " before it answered; perhaps it wants TLS or SASL, or this is not its quorum port" : ""
            let closed = ZooKeeperError(.connectionLoss, message: "\(server) closed the connection\(hint)")
            core.ended(
                ObserverCore.End(
                    error: error ?? closed, position: machine.wasLive ? machine.lastZxid : nil))
        }
        context.fireChannelInactive()
    }
}
