internal import NIOCore

/// When to ping, and when to give a connection up.
struct ConnectionTiming {
    enum Verdict: Equatable {
        case wait
        case ping
        /// No byte for two thirds of the session timeout.
        case silent(TimeAmount)
        /// Other bytes come, but no reply for the request timeout.
        case stuck(TimeAmount)
    }

    var sessionTimeout: TimeAmount
    private let requestTimeout: TimeAmount
    private var lastSent: NIODeadline
    private var lastReceived: NIODeadline
    /// The last reply, or part of one, or the request that ended an idle time.
    private var lastProgress: NIODeadline

    init(sessionTimeout: TimeAmount, requestTimeout: TimeAmount, now: NIODeadline) {
        self.sessionTimeout = sessionTimeout
        self.requestTimeout = requestTimeout
        lastSent = now
        lastReceived = now
        lastProgress = now
    }

    private var pingDue: NIODeadline { lastSent + .nanoseconds(sessionTimeout.nanoseconds / 3) }
    private var silentDue: NIODeadline { lastReceived + .nanoseconds(sessionTimeout.nanoseconds / 3 * 2) }
    private var stuckDue: NIODeadline { lastProgress + requestTimeout }

    mutating func sent(now: NIODeadline, startsWaiting: Bool) {
        lastSent = now
        if startsWaiting { lastProgress = now }
    }

    mutating func received(now: NIODeadline) { lastReceived = now }

    mutating func progressed(now: NIODeadline) { lastProgress = now }

    /// While we do not read, silence says nothing about the server; afterwards its time starts anew.
    mutating func resumed(now: NIODeadline) {
        lastReceived = now
        lastProgress = now
    }

    func verdict(now: NIODeadline, hasRequests: Bool, isReading: Bool) -> Verdict {
        if isReading {
            if now >= silentDue { return .silent(now - lastReceived) }
            if hasRequests, now >= stuckDue { return .stuck(now - lastProgress) }
        }
        return now >= pingDue ? .ping : .wait
    }

    /// When to ask for the next verdict.
    func nextCheck(hasRequests: Bool, isReading: Bool) -> NIODeadline {
        guard isReading else { return pingDue }
        let due = min(pingDue, silentDue)
        return hasRequests ? min(due, stuckDue) : due
    }
}
