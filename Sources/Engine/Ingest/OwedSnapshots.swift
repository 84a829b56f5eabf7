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
        var underWay: [String: Int] = [:]
    }

    private let directory: FilePath
    private let state: Mutex<State>

    /// - Parameter log: the pipeline's log directory.
    init(log: FilePath) {
        directory = log.appending("owed")
        state = Mutex(State(waiting: ((try? AtomicFile.names(in: directory)) ?? []).sorted()))
    }

    var isEmpty: Bool { state.withLock { $0.waiting.isEmpty && $0.underWay.isEmpty } }

    /// The sinks whose snapshot has not begun; it is the caller's to give it to them.
    func take() -> [String] {
        state.withLock { state in
            defer { state.waiting = [] }
            for sink in state.waiting { state.underWay[sink, default: 0] += 1 }
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

    /// The repeated snapshots of these sinks are durable. Blocking.
    func settle(_ sinks: [String]) throws(LogError) {
        for sink in sinks {
            // Asked for again in the meantime: the file stays for that.
            let isWanted = state.withLock { state in
                let left = (state.underWay[sink] ?? 1) - 1
                state.underWay[sink] = left > 0 ? left : nil
                return left > 0 || state.waiting.contains(sink)
            }
            if !isWanted { try AtomicFile.remove(directory.appending(sink)) }
        }
    }
}
