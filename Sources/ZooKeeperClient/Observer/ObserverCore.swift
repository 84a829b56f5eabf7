internal import Logging
internal import NIOCore
internal import Synchronization

/// What an observer and its connection share: the events that wait, and who waits for them.
final class ObserverCore: Sendable {
    typealias Waiter = CheckedContinuation<[ObserverEvent], any Error>

    /// How a connection ended.
    struct End: Sendable {
        var error: ZooKeeperError
        /// What is held and committed, if the connection got that far.
        var position: Int64?
    }

    private enum Stage { case idle, running, ended(ZooKeeperError) }

    private struct State {
        var stage = Stage.idle
        var events: [ObserverEvent] = []
        /// Of what waits in `events`, roughly.
        var bytes = 0
        var waiter: (id: UInt64, continuation: Waiter, timer: Scheduled<Void>?)?
        var nextID: UInt64 = 0
        var channel: (any Channel)?
        var isCancelled = false
        var members: [ZooKeeperAddress] = []
        var end: End?
        var position: Int64
    }

    let configuration: ObserverConfiguration
    let eventLoop: any EventLoop
    let logger: Logger
    private let state: Mutex<State>

    init(_ configuration: ObserverConfiguration, _ eventLoop: any EventLoop, _ logger: Logger) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        state = Mutex(State(position: configuration.lastZxid))
    }

    // MARK: The run

    /// Whether it is the first.
    func begin() -> Bool {
        state.withLock { state in
            guard case .idle = state.stage else { return false }
            state.stage = .running
            return true
        }
    }

    /// Nothing comes any more; what waits can be fetched.
    func finish(_ error: ZooKeeperError) {
        let waiter = state.withLock { state in
            state.stage = .ended(error)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.timer?.cancel()
        waiter?.continuation.resume(throwing: error)
    }

    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            return state.channel
        }?.close(promise: nil)
    }

    var isCancelled: Bool { state.withLock { $0.isCancelled } }
    /// The last transaction that is handed out and committed.
    var position: Int64 { state.withLock { $0.position } }

    // MARK: The connection

    /// Whether it is still wanted.
    func connected(_ channel: any Channel) -> Bool {
        state.withLock { state in
            state.channel = channel
            state.end = nil
            return !state.isCancelled
        }
    }

    func ended(_ end: End) {
        state.withLock { state in
            state.channel = nil
            state.end = end
            if let position = end.position { state.position = position }
        }
    }

    func takeEnd() -> End? {
        state.withLock { state in
            defer { state.end = nil }
            return state.end
        }
    }

    func announced(_ members: [ZooKeeperAddress]) { state.withLock { $0.members = members } }
    var members: [ZooKeeperAddress] { state.withLock { $0.members } }

    // MARK: Events

    /// Whether no more should come until some are fetched.
    var isFull: Bool { state.withLock { $0.bytes >= configuration.readAheadBytes } }

    /// - Returns: `isFull`.
    @discardableResult
    func deliver(_ events: [ObserverEvent], bytes: Int) -> Bool {
        let (served, isFull) = state.withLock { state in
            for event in events { ObserverCore.append(event, to: &state.events) }
            state.bytes += bytes
            guard !state.events.isEmpty, let waiter = state.waiter else {
                return (
                    nil as (Waiter, Scheduled<Void>?, [ObserverEvent])?,
                    state.bytes >= configuration.readAheadBytes
                )
            }
            state.waiter = nil
            return ((waiter.continuation, waiter.timer, ObserverCore.take(&state)), false)
        }
        if let (continuation, timer, events) = served {
            timer?.cancel()
            continuation.resume(returning: events)
        }
        return isFull
    }

    /// Of attempts to connect that fail one after the other, the first and the last are kept.
    private static func append(_ event: ObserverEvent, to events: inout [ObserverEvent]) {
        let isThird = events.suffix(2).filter(\.isDisconnected).count == 2
        if event.isDisconnected, isThird { events.removeLast() }
        events.append(event)
    }

    private static func take(_ state: inout State) -> [ObserverEvent] {
        defer {
            state.events = []
            state.bytes = 0
        }
        return state.events
    }

    private enum Answer {
        case now(Result<[ObserverEvent], any Error>)
        case later(UInt64)
    }

    func nextEvents(timeout: Duration?) async throws -> [ObserverEvent] {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                wait(id, continuation)
                if Task.isCancelled { stopWaiting(id, .failure(CancellationError())) }
                if let timeout { limitWaiting(id, timeout) }
            }
        } onCancel: {
            stopWaiting(id, .failure(CancellationError()))
        }
    }

    private func wait(_ id: UInt64, _ continuation: Waiter) {
        let (answer, channel) = state.withLock {
            state -> (Result<[ObserverEvent], any Error>?, (any Channel)?) in
            if !state.events.isEmpty {
                let wasFull = state.bytes >= configuration.readAheadBytes
                return (.success(ObserverCore.take(&state)), wasFull ? state.channel : nil)
            }
            if case .ended(let error) = state.stage { return (.failure(error), nil) }
            if state.waiter != nil {
                let error = ZooKeeperError(.badArguments, message: "another task waits for events already")
                return (.failure(error), nil)
            }
            state.waiter = (id, continuation, nil)
            return (nil, nil)
        }
        if let answer { continuation.resume(with: answer) }
        channel?.triggerUserOutboundEvent(ObserverHandler.Command.resumeReading, promise: nil)
    }

    private func stopWaiting(_ id: UInt64, _ result: Result<[ObserverEvent], any Error>) {
        let waiter = state.withLock { state in
            guard state.waiter?.id == id else { return nil as (Waiter, Scheduled<Void>?)? }
            defer { state.waiter = nil }
            return state.waiter.map { ($0.continuation, $0.timer) }
        }
        waiter?.1?.cancel()
        waiter?.0.resume(with: result)
    }

    private func limitWaiting(_ id: UInt64, _ timeout: Duration) {
        let timer = eventLoop.scheduleTask(in: TimeAmount(timeout)) { self.stopWaiting(id, .success([])) }
        let isWaiting = state.withLock { state in
            guard state.waiter?.id == id else { return false }
            state.waiter?.timer = timer
            return true
        }
        // Served in the meantime.
        if !isWaiting { timer.cancel() }
    }
}

extension ObserverEvent {
    fileprivate var isDisconnected: Bool { if case .disconnected = self { true } else { false } }
}
