internal import NIOCore

/// Who waits for the answer to a request.
enum RequestOwner: Sendable, Hashable {
    /// The consumer of events; the tag is its own.
    case consumer(tag: UInt64)
    /// A suspended caller.
    case caller(id: UInt64)
}

struct Submission: Sendable {
    let request: ZooKeeperRequest
    let owner: RequestOwner
}

typealias Answer = Result<ZooKeeperResponse, ZooKeeperError>

struct Caller: Sendable {
    let continuation: CheckedContinuation<Answer, Never>
    let timer: Scheduled<Void>
}

/// How a connection came to its end.
enum ConnectionEnd: Sendable {
    case lost(ZooKeeperError, lifetime: Duration)
    case expired
    case closed
}

/// What the lock guards: the session, what waits to be sent, who waits for what. Whatever leaves the client
/// (continuations, commands to the connection) is put into `effects`, done once the lock is released.
struct ClientState {
    private enum Life { case idle, running, ended }

    private let configuration: ZooKeeperConfiguration
    private var life = Life.idle
    private(set) var isClosing = false

    // The session.
    private(set) var session = SessionIdentity.none
    private(set) var lastZxid: Int64
    private var sessionTimeout = Duration.zero

    // The connection.
    private var channel: (any Channel)?
    private var server: ZooKeeperAddress?
    private var isFlushRequested = false
    private var isPaused = false
    private var end: ConnectionEnd?

    // Requests and who waits for them.
    private var queue = CircularBuffer<Submission>()
    private var abandonedInQueue = 0
    private var callers: [UInt64: Caller] = [:]
    private var lastID: UInt64 = 0
    private var inbox: EventInbox
    private var closers: [CheckedContinuation<Void, Never>] = []
    private var pause: (continuation: CheckedContinuation<Void, Never>, timer: Scheduled<Void>)?

    init(_ configuration: ZooKeeperConfiguration) {
        self.configuration = configuration
        lastZxid = configuration.minimumZxid
        inbox = EventInbox(limit: configuration.eventQueueLimit)
    }

    private var isAttached: Bool { server != nil }
    private var isOver: Bool { isClosing || life == .ended }

    var snapshot: ZooKeeperState {
        ZooKeeperState(
            server: server, sessionID: session.number, sessionTimeout: sessionTimeout, lastZxid: lastZxid)
    }

    mutating func newID() -> UInt64 {
        lastID += 1
        return lastID
    }

    // MARK: Requests

    mutating func send(_ requests: [(request: ZooKeeperRequest, tag: UInt64)], _ effects: inout Effects) {
        guard !requests.isEmpty else { return }
        inbox.expectConsumer()
        for (request, tag) in requests {
            if let refusal = refusal(of: request, needsConnection: true) {
                inbox.append(.reply(tag: tag, zxid: -1, .failure(refusal)))
            } else {
                queue.append(Submission(request: request, owner: .consumer(tag: tag)))
            }
        }
        requestFlush(&effects)
        wake(&effects)
    }

    /// A caller waits for a connection too, for as long as its timer lets it.
    mutating func submit(
        _ request: ZooKeeperRequest, _ id: UInt64, _ caller: Caller, _ effects: inout Effects
    ) {
        if let refusal = refusal(of: request, needsConnection: false) {
            effects.answer(caller, .failure(refusal))
            return
        }
        callers[id] = caller
        queue.append(Submission(request: request, owner: .caller(id: id)))
        requestFlush(&effects)
    }

    private func refusal(of request: ZooKeeperRequest, needsConnection: Bool) -> ZooKeeperError? {
        if isOver { return .closed(path: request.path) }
        if needsConnection, !isAttached { return .notConnected(path: request.path) }
        guard queue.count < configuration.maximumRequestsWaiting else {
            return ZooKeeperError(
                .overloaded, path: request.path, message: "\(queue.count) requests wait already")
        }
        return nil
    }

    /// The caller no longer waits. A request already sent is not taken back.
    mutating func abandon(_ id: UInt64, _ error: ZooKeeperError, _ effects: inout Effects) {
        guard let caller = callers.removeValue(forKey: id) else { return }
        effects.answer(caller, .failure(error))
        abandonedInQueue += 1
        if abandonedInQueue > queue.count / 2 { dropAbandoned() }
    }

    private mutating func dropAbandoned() {
        abandonedInQueue = 0
        queue = CircularBuffer(queue.filter { isWanted($0.owner) })
    }

    private func isWanted(_ owner: RequestOwner) -> Bool {
        if case .caller(let id) = owner { callers[id] != nil } else { true }
    }

    private mutating func requestFlush(_ effects: inout Effects) {
        guard isAttached, !isFlushRequested, !queue.isEmpty, let channel else { return }
        isFlushRequested = true
        effects.command(.flush, channel)
    }

    /// Up to `count` requests for the connection to send.
    mutating func takeRequests(_ count: Int) -> [Submission] {
        isFlushRequested = false
        var taken: [Submission] = []
        while taken.count < count, let next = queue.popFirst() {
            if isWanted(next.owner) { taken.append(next) }
        }
        return taken
    }

    // MARK: Events

    private mutating func wake(_ effects: inout Effects) {
        guard !inbox.isEmpty, let waiter = inbox.takeWaiter() else { return }
        effects.wake(waiter, .success(takeEvents(&effects)))
    }

    private mutating func takeEvents(_ effects: inout Effects) -> [ZooKeeperEvent] {
        if isPaused, let channel {
            isPaused = false
            effects.command(.resumeReading, channel)
        }
        return inbox.take()
    }

    /// Registers the consumer, or serves it at once.
    mutating func wait(_ waiter: EventInbox.Waiter, _ effects: inout Effects) {
        if inbox.waiter != nil {
            let error = ZooKeeperError(.badArguments, message: "events have one consumer; another one waits")
            effects.wake(waiter, .failure(error))
        } else if !inbox.isEmpty {
            effects.wake(waiter, .success(takeEvents(&effects)))
        } else if life == .ended {
            effects.wake(waiter, .failure(ZooKeeperError.closed(path: nil)))
        } else {
            inbox.wait(waiter)
        }
    }

    mutating func setTimer(_ timer: Scheduled<Void>, of id: UInt64) -> Bool { inbox.setTimer(timer, of: id) }

    mutating func stopWaiting(
        _ id: UInt64, _ result: Result<[ZooKeeperEvent], any Error>, _ effects: inout Effects
    ) {
        if let waiter = inbox.takeWaiter(id) { effects.wake(waiter, result) }
    }

    var isInboxFull: Bool { inbox.isFull }

    // MARK: The connection

    /// What a connection has read. Answers whether it must stop reading, and whether requests wait.
    mutating func deliver(
        _ received: consuming Received, _ effects: inout Effects
    ) -> (isFull: Bool, hasRequests: Bool) {
        take(received, &effects)
        wake(&effects)
        isPaused = inbox.isFull && !isClosing
        return (isPaused, !queue.isEmpty)
    }

    private mutating func take(_ received: Received, _ effects: inout Effects) {
        lastZxid = max(lastZxid, received.lastZxid)
        inbox.append(contentsOf: received.events)
        for (id, answer) in received.answers {
            if let caller = callers.removeValue(forKey: id) { effects.answer(caller, answer) }
        }
    }

    /// What a new connection begins with.
    mutating func connecting(_ channel: any Channel) -> ConnectRequest {
        self.channel = channel
        end = nil
        isPaused = false
        isFlushRequested = false
        return ConnectRequest(
            lastZxid: lastZxid,
            timeoutMilliseconds: Int32(clamping: configuration.sessionTimeout.milliseconds),
            session: session)
    }

    mutating func attached(
        _ reply: ConnectReply, to server: ZooKeeperAddress, _ effects: inout Effects
    ) {
        let isNew = session.number != reply.session.number
        session = reply.session
        sessionTimeout = .milliseconds(Int64(reply.timeoutMilliseconds))
        self.server = server
        inbox.append(.connected(sessionID: session.number, isNewSession: isNew, server: server))
        requestFlush(&effects)
        wake(&effects)
    }

    /// First what was read, then the requests that get no answer, then the end itself.
    mutating func ended(
        _ end: ConnectionEnd, _ received: Received,
        inFlight: [(owner: RequestOwner, path: String?)], _ effects: inout Effects
    ) {
        take(received, &effects)
        for (owner, path) in inFlight { fail(owner, .connectionLoss(path: path), &effects) }
        channel = nil
        server = nil
        isPaused = false
        let waiting = queue
        queue.removeAll()
        for submission in waiting {
            if case .consumer = submission.owner {
                fail(submission.owner, .notConnected(path: submission.request.path), &effects)
            } else if isWanted(submission.owner) {
                queue.append(submission)
            }
        }
        abandonedInQueue = 0
        switch end {
        case .lost(let error, _): inbox.append(.disconnected(error))
        case .expired: forgetSession(.sessionExpired)
        case .closed: forgetSession(.disconnected(.closed(path: nil)))
        }
        self.end = end
        wake(&effects)
    }

    private mutating func forgetSession(_ event: ZooKeeperEvent) {
        session = .none
        sessionTimeout = .zero
        inbox.append(event)
    }

    private mutating func fail(_ owner: RequestOwner, _ error: ZooKeeperError, _ effects: inout Effects) {
        switch owner {
        case .consumer(let tag): inbox.append(.reply(tag: tag, zxid: -1, .failure(error)))
        case .caller(let id):
            if let caller = callers.removeValue(forKey: id) { effects.answer(caller, .failure(error)) }
        }
    }

    mutating func takeEnd() -> ConnectionEnd? {
        defer { end = nil }
        return end
    }

    mutating func attemptFailed(_ error: ZooKeeperError, _ effects: inout Effects) {
        channel = nil
        inbox.append(.disconnected(error))
        wake(&effects)
    }

    // MARK: Life

    /// False if `run` was called before.
    mutating func begin() -> Bool {
        guard life == .idle else { return isClosing }
        life = .running
        return true
    }

    mutating func beginClose(_ effects: inout Effects) {
        guard !isOver else { return }
        isClosing = true
        if let channel { effects.command(.close, channel) }
        endPause(&effects)
        if life == .idle { finish(&effects) }
    }

    mutating func waitForEnd(_ closer: CheckedContinuation<Void, Never>, _ effects: inout Effects) {
        if life == .running { closers.append(closer) } else { effects.resume(closer) }
    }

    mutating func finish(_ effects: inout Effects) {
        life = .ended
        for submission in queue { fail(submission.owner, .closed(path: submission.request.path), &effects) }
        queue.removeAll()
        wake(&effects)
        if let waiter = inbox.takeWaiter() {
            effects.wake(waiter, .failure(ZooKeeperError.closed(path: nil)))
        }
        for closer in closers { effects.resume(closer) }
        closers = []
    }

    mutating func startPause(
        _ continuation: CheckedContinuation<Void, Never>, _ timer: Scheduled<Void>, _ effects: inout Effects
    ) {
        pause = (continuation, timer)
        if isClosing { endPause(&effects) }
    }

    mutating func endPause(_ effects: inout Effects) {
        guard let pause else { return }
        self.pause = nil
        pause.timer.cancel()
        effects.resume(pause.continuation)
    }
}

extension Duration {
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, isOver) = seconds.multipliedReportingOverflow(by: 1000)
        return isOver ? (seconds < 0 ? .min : .max) : whole + attoseconds / 1_000_000_000_000_000
    }
}
