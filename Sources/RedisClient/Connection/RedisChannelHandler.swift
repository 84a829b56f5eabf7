internal import Logging
internal import NIOCore
internal import Synchronization

/// Performs what `RESPDecoder` and `ReplyQueue` decide. Lives on its event loop.
final class RedisChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias Waiter = CheckedContinuation<Result<[RESPValue], RedisError>, Never>

    private let address: String
    private let logger: Logger
    let ending: Ending
    private var decoder: RESPDecoder
    private var queue: ReplyQueue<Waiter>
    private var context: ChannelHandlerContext?
    private var timer: (task: Scheduled<Void>, deadline: NIODeadline)?
    /// Why the connection was closed.
    private var failure: RedisError?

    /// - Parameter ending: noted when the connection has ended, before anyone who waits is told.
    init(_ configuration: RedisConfiguration, ending: Ending, logger: Logger) {
        address = configuration.endpoint.address.description
        self.logger = logger
        self.ending = ending
        decoder = RESPDecoder(limits: configuration.limits)
        queue = ReplyQueue(
            maximumBatches: configuration.maximumOutstandingBatches,
            maximumBytes: configuration.maximumOutstandingBytes,
            maximumReplyBytes: configuration.limits.maximumReplyBytes)
    }

    // MARK: Asked by RedisConnection

    /// Sends a batch, unless its caller has given up in the meantime.
    func send(_ batch: RedisCommandBatch, id: UInt64, timeout: TimeAmount, isCancelled: Flag, waiter: Waiter)
    {
        guard !isCancelled.isRaised else { return waiter.resume(returning: .failure(cancelled())) }
        guard failure == nil, let context else {
            return waiter.resume(returning: .failure(ending.error(address)))
        }
        do throws(RedisError) {
            try queue.enqueue(
                id: id, commands: batch.count, bytes: batch.byteCount, deadline: .now() + timeout,
                waiter: waiter)
        } catch {
            return waiter.resume(returning: .failure(located(error)))
        }
        context.writeAndFlush(NIOAny(batch.buffer), promise: nil)
        armTimer()
    }

    /// Lets the caller of a batch go. Its replies still come, and are dropped.
    func abandon(id: UInt64) {
        queue.abandon(id: id)?.resume(returning: .failure(cancelled()))
    }

    func close() {
        fail(closed("closed by this client"))
    }

    // MARK: ChannelInboundHandler

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        fail(closed("closed by this client"))
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard failure == nil else { return }
        do throws(RedisError) {
            try decoder.decode(unwrapInboundIn(data)) { (message, memory) throws(RedisError) in
                switch message {
                case .reply(let reply):
                    if let completion = try queue.receive(reply, memory: memory) {
                        completion.waiter?.resume(returning: .success(completion.replies))
                    }
                case .push:
                    logger.trace("dropped a push message", metadata: ["redis": "\(address)"])
                }
            }
        } catch {
            fail(located(error))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(closed("closed by the server"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail((error as? RedisError).map(located) ?? closed("the connection failed: \(error)"))
    }

    // MARK: Ends

    private func fail(_ error: RedisError) {
        guard failure == nil else { return }
        failure = error
        ending.note(error)
        timer?.task.cancel()
        timer = nil
        context?.close(promise: nil)
        logger.debug("connection ended", metadata: ["redis": "\(address)", "reason": "\(error.message)"])
        for waiter in queue.removeAll() { waiter.resume(returning: .failure(error)) }
    }

    private func armTimer() {
        guard let context, let deadline = queue.deadline else { return }
        if let timer {
            // It looks again at the first batch when it goes off; only too late is wrong.
            if timer.deadline <= deadline { return }
            timer.task.cancel()
        }
        let loop = context.eventLoop.assumeIsolated()
        timer = (loop.scheduleTask(deadline: deadline) { self.timerFired() }, deadline)
    }

    private func timerFired() {
        timer = nil
        guard let deadline = queue.deadline else { return }
        guard deadline <= .now() else { return armTimer() }
        fail(located(RedisError(code: .timeout, message: "a batch was not answered in time")))
    }

    private func closed(_ why: String) -> RedisError {
        located(RedisError(code: .connectionClosed, message: why))
    }

    private func cancelled() -> RedisError {
        located(RedisError(code: .cancelled, message: "cancelled"))
    }

    private func located(_ error: RedisError) -> RedisError {
        RedisError(code: error.code, message: error.message, address: address)
    }
}
