internal import Synchronization

/// Whether, and why, a connection has ended; seen from every thread.
final class Ending: Sendable {
    private let reason = Mutex<RedisError?>(nil)

    var hasCome: Bool { reason.withLock { $0 != nil } }

    /// Only the first reason stays.
    func note(_ error: RedisError) {
        reason.withLock { $0 = $0 ?? error }
    }

    /// For who asks something of a connection that has ended.
    func error(_ address: String) -> RedisError {
        let reason = reason.withLock { $0 }
        // It has not even begun.
        if let reason, reason.code == .connectionFailed { return reason }
        return RedisError(
            code: .connectionClosed, message: "the connection has ended: \(reason?.message ?? "closed")",
            address: address)
    }
}

/// Goes up once; seen from every thread.
final class Flag: Sendable {
    private let value = Atomic(false)

    var isRaised: Bool { value.load(ordering: .acquiring) }

    func raise() {
        value.store(true, ordering: .releasing)
    }
}
