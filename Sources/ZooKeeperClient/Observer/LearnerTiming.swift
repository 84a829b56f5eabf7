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

    /// How far the connection is.
    enum Progress { case handshake, sync, live }

    private let handshakeTimeout: TimeAmount
    private let syncTimeout: TimeAmount
    private let silenceTimeout: TimeAmount
    private let keepAliveInterval: TimeAmount
    private let stallLimit: TimeAmount
    private var lastReceived: NIODeadline
    private var lastPing: NIODeadline
    /// When reading was paused.
    private var pausedAt: NIODeadline?

    init(_ configuration: ObserverConfiguration, now: NIODeadline) {
        handshakeTimeout = TimeAmount(configuration.handshakeTimeout)
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

    private func silentDue(_ progress: Progress) -> NIODeadline {
        switch progress {
        case .handshake: lastReceived + handshakeTimeout
        case .sync: lastReceived + syncTimeout
        case .live: lastReceived + silenceTimeout
        }
    }

    func verdict(now: NIODeadline, _ progress: Progress) -> Verdict {
        if let pausedAt {
            if now >= pausedAt + stallLimit { return .stalled(now - pausedAt) }
            return progress == .live && now >= lastPing + keepAliveInterval ? .ping : .wait
        }
        return now >= silentDue(progress) ? .silent(now - lastReceived) : .wait
    }

    /// When to ask for the next verdict.
    func nextCheck(_ progress: Progress) -> NIODeadline {
        guard let pausedAt else { return silentDue(progress) }
        let due = pausedAt + stallLimit
        return progress == .live ? min(due, lastPing + keepAliveInterval) : due
    }
}
