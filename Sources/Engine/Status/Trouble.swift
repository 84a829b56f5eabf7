import Synchronization

/// What something waits out by itself, and since when: a server that is away, or that takes nothing at the moment.
public final class Trouble: Sendable {
    public struct Report: Sendable, Hashable {
        /// Of the last attempt.
        public var reason: String
        /// Of the first attempt that failed.
        public var since: ContinuousClock.Instant

        public init(reason: String, since: ContinuousClock.Instant) {
            self.reason = reason
            self.since = since
        }
    }

    private let state = Mutex<Report?>(nil)

    public init() {}

    public var current: Report? { state.withLock { $0 } }

    /// An attempt has failed, and another follows.
    public func met(_ reason: String) {
        state.withLock { state in
            state = Report(reason: reason, since: state?.since ?? .now)
        }
    }

    /// It works (again).
    public func passed() {
        state.withLock { $0 = nil }
    }
}
