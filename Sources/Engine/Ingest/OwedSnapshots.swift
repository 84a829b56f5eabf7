import SegmentLog
import Synchronization
import SystemPackage

/// Sinks that are owed every live node once more, because the log no longer holds what they have not taken.
///
/// A file per sink in `owed/` beside the log keeps the debt over the end of the process: it is there before the
/// sink's checkpoint moves past the gap, and goes once the repeated snapshot is durable.
final class OwedSnapshots: Sendable {
    private struct State {
        var waiting: [String]
        /// How often each has been taken and not been settled.
        var taken: [String: Int] = [:]
        /// How many of those wait for nodes that may not be read now.
        var deferred: [String: Int] = [:]
    }

    private let directory: FilePath
    private let state: Mutex<State>

    /// - Parameter log: the pipeline's log directory.
    init(log: FilePath) throws(LogError) {
        directory = log.appending("owed")
        var names: [String] = []
        do {
            names = try AtomicFile.names(in: directory)
        } catch  where error.code == .notFound {
            // Nothing has ever been owed.
        }
        state = Mutex(State(waiting: names.sorted()))
    }

    /// Whether there is nothing that will be paid without anybody's doing.
    var isQuiet: Bool {
        state.withLock { state in
            state.waiting.isEmpty && state.taken.allSatisfy { $0.value <= state.deferred[$0.key] ?? 0 }
        }
    }

    /// The sinks whose snapshot has not begun; it is the caller's to give it to them.
    func take() -> [String] {
        state.withLock { state in
            defer { state.waiting = [] }
            for sink in state.waiting { state.taken[sink, default: 0] += 1 }
            return state.waiting
        }
    }

    /// Durable when it returns. Blocking.
    func add(_ sink: String) throws(LogError) {
        try AtomicFile.replace(directory.appending(sink), with: [])
        state.withLock { state in
            if !state.waiting.contains(sink) { state.waiting.append(sink) }
        }
    }

    /// What these sinks are still owed is hidden from the capture: the debt stays until it can be read.
    func postpone(_ sinks: [String]) {
        state.withLock { state in
            for sink in sinks { state.deferred[sink, default: 0] += 1 }
        }
    }

    /// The repeated snapshots of these sinks are durable. Blocking.
    func settle(_ sinks: [String]) throws(LogError) {
        for sink in sinks {
            // Asked for again in the meantime: the file stays for that.
            let isWanted = state.withLock { state in
                let left = (state.taken[sink] ?? 1) - 1
                state.taken[sink] = left > 0 ? left : nil
                state.deferred[sink] = left > 0 ? min(state.deferred[sink] ?? 0, left) : nil
                return left > 0 || state.waiting.contains(sink)
            }
            if !isWanted { try AtomicFile.remove(directory.appending(sink)) }
        }
    }
}
