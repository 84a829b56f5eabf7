internal import NIOCore

/// When to give a sign of life unasked, and when to give a connection up.
struct LearnerTiming {
    enum Verdict: Equatable {
        case wait
        case ping
        /// No byte for this long.
        case silent(TimeAmount)
        /// Nobody fetched events for this long.
        case stalled(TimeAmount)
    }

    private let syncTimeout: TimeAmount
    private let silenceTimeout: TimeAmount
    private let keepAliveInterval: TimeAmount
    private let stallLimit: TimeAmount
    private var lastReceived: NIODeadline
    private var lastPing: NIODeadline
    /// When reading was paused.
    private var pausedAt: NIODeadline?

    init(_ configuration: ObserverConfiguration, now: NIODeadline) {
        syncTimeout = TimeAmount(configuration.syncTimeout)
        silenceTimeout = TimeAmount(configuration.silenceTimeout)
        keepAliveInterval = TimeAmount(configuration.keepAliveInterval)
        stallLimit = TimeAmount(configuration.stallLimit)
        lastReceived = now
        lastPing = now
    }

    mutating func received(now: NIODeadline) { lastReceived = now }
    mutating func pinged(now: NIODeadline) { lastPing = now }

    mutating func paused(now: NIODeadline) {
        pausedAt = pausedAt ?? now
        lastPing = now
    }

    /// While we did not read, silence said nothing about the server.
    mutating func resumed(now: NIODeadline) {
        pausedAt = nil
        lastReceived = now
    }

    private func silentDue(isLive: Bool) -> NIODeadline {
        lastReceived + (isLive ? silenceTimeout : syncTimeout)
    }

    /// - Parameter isLive: whether the server may be pinged, and pings.
    func verdict(now: NIODeadline, isLive: Bool) -> Verdict {
        if let pausedAt {
            if now >= pausedAt + stallLimit { return .stalled(now - pausedAt) }
            return isLive && now >= lastPing + keepAliveInterval ? .ping : .wait
        }
        return now >= silentDue(isLive: isLive) ? .silent(now - lastReceived) : .wait
    }

    /// When to ask for the next verdict.
    func nextCheck(isLive: Bool) -> NIODeadline {
        guard let pausedAt else { return silentDue(isLive: isLive) }
        let due = pausedAt + stallLimit
        return isLive ? min(due, lastPing + keepAliveInterval) : due
    }
}
