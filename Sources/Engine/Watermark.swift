import Synchronization

/// A number that tasks raise and others wait for: the durable end of the log, a sink's confirmed position.
///
/// It may be lowered (a rewind); those who wait look at the value of the moment.
public final class Watermark: Sendable {
    private struct Waiter {
        var level: Int64
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var value: Int64
        var isFinished = false
        var nextID: UInt64 = 0
        var waiters: [UInt64: Waiter] = [:]
        /// Waits cancelled before they were registered.
        var cancelled: Set<UInt64> = []
    }

    private let state: Mutex<State>

    public init(_ value: Int64) {
        state = Mutex(State(value: value))
    }

    public var value: Int64 { state.withLock { $0.value } }

    /// No further rise will come: every wait returns.
    public var isFinished: Bool { state.withLock { $0.isFinished } }

    public func set(_ value: Int64) {
        wake { $0.value = value }
    }

    public func finish() {
        wake { $0.isFinished = true }
    }

    private func wake(_ change: (inout State) -> Void) {
        let ready = state.withLock { state in
            change(&state)
            let ids = state.waiters.filter { state.isFinished || $0.value.level <= state.value }.map(\.key)
            return ids.compactMap { state.waiters.removeValue(forKey: $0)?.continuation }
        }
        for continuation in ready { continuation.resume() }
    }

    /// Returns once the value is at least `level`, or nothing more will come. Throws `CancellationError`.
    public func wait(until level: Int64) async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    if state.isFinished || state.value >= level || state.cancelled.remove(id) != nil {
                        return true
                    }
                    state.waiters[id] = Waiter(level: level, continuation: continuation)
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                let waiter = state.waiters.removeValue(forKey: id)
                if waiter == nil { state.cancelled.insert(id) }
                return waiter
            }
            waiter?.continuation.resume()
        }
        state.withLock { _ = $0.cancelled.remove(id) }
        try Task.checkCancellation()
    }

    /// Waits at most `timeout`; `true` if the level was reached or nothing more will come.
    public func wait(until level: Int64, timeout: Duration) async throws -> Bool {
        if state.withLock({ $0.isFinished || $0.value >= level }) { return true }
        return try await firstOf {
            try await self.wait(until: level)
            return true
        } or: {
            try await Task.sleep(for: timeout)
            return false
        }
    }
}

/// The result of whichever ends first; the other is cancelled and awaited.
public func firstOf<Value: Sendable>(
    _ first: @escaping @Sendable () async throws -> Value,
    or second: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await first() }
        group.addTask { try await second() }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}

/// The result of a step; the error where it takes longer.
func within<Value: Sendable>(
    _ limit: Duration, _ step: @escaping @Sendable () async throws -> Value, else error: PipelineError
) async throws -> Value {
    try await firstOf(
        step,
        or: {
            try await Task.sleep(for: limit)
            throw error
        })
}
