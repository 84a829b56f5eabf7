public import Logging
public import NIOCore
public import NIOPosix

/// A client of ZooKeeper's native protocol (3.6 or later).
///
/// `run()` makes the connection and keeps it; everything else works while it runs. There are two ways to use
/// it:
///
/// - The async operations (`getData`, `create`, …): each waits for its answer, and for a connection, at most
///   `requestTimeout`. Their answers are no events.
/// - `send` and `nextEvents`: requests are pipelined, and replies, notifications and changes of the
///   connection arrive in exactly the order of the wire, for one consumer.
///
/// Nothing grows without bound. While a consumer does not fetch its events, the client stops reading from the
/// server at `eventQueueLimit`. A client on which neither `send` nor `nextEvents` was ever called has no
/// consumer and forgets its oldest events instead.
public final class ZooKeeperClient: Sendable {
    let core: ClientCore

    /// - Parameter eventLoopGroup: Gives the one event loop on which all connections of this client live.
    public init(
        configuration: ZooKeeperConfiguration,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger
    ) {
        core = ClientCore(configuration, eventLoopGroup.next(), logger)
    }

    /// Where the client stands now. It may be outdated when it is read.
    public var state: ZooKeeperState { core.update { state, _ in state.snapshot } }

    // MARK: Pipelined requests and ordered events

    /// Sends requests in their order, without waiting for answers.
    ///
    /// Each tag gets exactly one `.reply`. Without a connection, and when the connection drops, it fails with
    /// `.connectionLoss` (the one whose answer was too large with `.frameTooLarge`), always before the
    /// `.disconnected` of that connection. Requests sent after a reconnect whose `.connected` is not fetched
    /// yet go to the new connection.
    public func send(_ requests: [(request: ZooKeeperRequest, tag: UInt64)]) {
        core.update { state, effects in state.send(requests, &effects) }
    }

    /// Everything that has happened since the last call; waits until something does.
    ///
    /// - Parameter timeout: How long to wait; `nil` waits for ever.
    /// - Returns: Events in the order of the wire; none when the time is over.
    /// - Throws: `CancellationError` when the task is cancelled; `ZooKeeperError` `.closed` when the client
    ///   has ended and all events are fetched, `.badArguments` when another task waits already.
    public func nextEvents(timeout: Duration?) async throws -> [ZooKeeperEvent] {
        let core = core
        let id = core.update { state, _ in state.newID() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let waiter = EventInbox.Waiter(id: id, continuation: continuation, timer: nil)
                core.update { state, effects in state.wait(waiter, &effects) }
                if Task.isCancelled { core.stopWaiting(id, .failure(CancellationError())) }
                if let timeout { core.limitWaiting(id, to: timeout) }
            }
        } onCancel: {
            core.stopWaiting(id, .failure(CancellationError()))
        }
    }

    // MARK: One request, one answer

    /// Sends one request and waits for its answer.
    ///
    /// - Throws: The server's error; `.connectionLoss` when the connection drops after the request was sent,
    ///   `.timeout`, `.cancelled`, `.overloaded`, `.closed`.
    public func perform(_ request: ZooKeeperRequest) async throws(ZooKeeperError) -> ZooKeeperResponse {
        let core = core
        let id = core.update { state, _ in state.newID() }
        let path = request.path
        let cancelled = ZooKeeperError(.cancelled, path: path, message: "the task was cancelled")
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let timeout = core.configuration.requestTimeout
                let timer = core.eventLoop.scheduleTask(in: TimeAmount(timeout)) {
                    let error = ZooKeeperError(.timeout, path: path, message: "no answer for \(timeout)")
                    core.update { state, effects in state.abandon(id, error, &effects) }
                }
                core.update { state, effects in
                    state.submit(request, id, Caller(continuation: continuation, timer: timer), &effects)
                }
                if Task.isCancelled {
                    core.update { state, effects in state.abandon(id, cancelled, &effects) }
                }
            }
        } onCancel: {
            core.update { state, effects in state.abandon(id, cancelled, &effects) }
        }
        return try answer.get()
    }
}

extension ClientCore {
    func stopWaiting(_ id: UInt64, _ result: Result<[ZooKeeperEvent], any Error>) {
        update { state, effects in state.stopWaiting(id, result, &effects) }
    }

    func limitWaiting(_ id: UInt64, to timeout: Duration) {
        let timer = eventLoop.scheduleTask(in: TimeAmount(timeout)) { self.stopWaiting(id, .success([])) }
        // Served in the meantime.
        if !update({ state, _ in state.setTimer(timer, of: id) }) { timer.cancel() }
    }
}
