import Synchronization
public import SystemPackage

/// The bounded buffer between a source and the log, with group commit: while one batch is being written, the
/// next gathers. Load makes batches larger; an idle pipeline has the latency of one write.
public final class Ingest: Sendable {
    private struct State {
        var pending: [CaptureBatch] = []
        var weight = 0
        var taken: Int64 = 0
        var appended: Int64 = 0
    }

    /// Bytes of waiting changes at which a source has to wait.
    private let limit: Int
    private let log: PipelineLog
    /// Where the source tells how it is.
    public let progress: CaptureProgress
    private let state = Mutex(State())
    /// Batches handed in by the source, and batches taken by the writer: each side waits for the other's.
    private let arrived = Watermark(0)
    private let taken = Watermark(0)
    /// One past the log end at the moment when the first snapshot or resync of this run was complete.
    public let synchronized = Watermark(-1)

    public init(log: PipelineLog, progress: CaptureProgress = CaptureProgress(), limit: Int = 16 << 20) {
        self.log = log
        self.progress = progress
        self.limit = limit
    }

    /// Where the log lies.
    public var directory: FilePath { log.directory }

    /// What is known of the tree; for the source, once.
    public func recover() async -> RecoveredCapture { await log.takeRecovered() }

    /// Whether the next batch should carry the known state, to be written beside the log.
    public var wantsKnownState: Bool { log.wantsKnownState }

    /// Sinks that need every live node once more (`Change.onlyFor`); each is handed out once, and settled by the
    /// batch that completes it.
    public func takeOwedSnapshots() -> [String] { log.owed.take() }

    /// Queues a batch for the log; waits while too much is queued already. The batch is durable some time later.
    ///
    /// A cancelled task does not wait: its batch is queued beyond the limit, so that nothing the source has
    /// taken over as known is missing in the log.
    public func append(_ batch: CaptureBatch) async {
        let weight = batch.weight
        while true {
            let isCancelled = Task.isCancelled
            let (accepted, wait) = state.withLock { state in
                guard isCancelled || state.weight == 0 || state.weight + weight <= limit else {
                    return (nil as Int64?, state.taken + 1)
                }
                state.pending.append(batch)
                state.weight += weight
                state.appended += 1
                return (state.appended, 0)
            }
            if let accepted {
                arrived.set(accepted)
                return
            }
            try? await taken.wait(until: wait)
        }
    }

    /// No further batch will come; `run` returns once all are durable.
    public func finish() {
        arrived.finish()
    }

    /// Moves batches into the log until `finish`, then returns. Throws what the log throws.
    func run() async throws {
        while true {
            let next = state.withLock { $0.pending.isEmpty ? $0.appended + 1 : 0 }
            if next > 0 {
                try await arrived.wait(until: next)
            }
            let batches = state.withLock { state in
                defer {
                    state.pending = []
                    state.weight = 0
                    state.taken += 1
                }
                return state.pending
            }
            taken.set(state.withLock { $0.taken })
            if batches.isEmpty {
                if arrived.isFinished { return }
                continue
            }
            let end = try await log.append(batches)
            let isSynchronized = batches.contains { batch in
                batch.isSynchronized
                    || batch.entries.contains { if case .snapshotEnd = $0 { true } else { false } }
            }
            if isSynchronized, synchronized.value < 0 { synchronized.set(end) }
        }
    }
}
