import ChangeModel
import Synchronization

/// What one delivery has done so far; read by others while it runs.
public final class SinkProgress: Sendable {
    public struct Counts: Sendable, Hashable {
        /// Changes written to the sink by this process, again after a rewind.
        public var delivered: Int64 = 0
        /// Changes that no rule could map or the server refused.
        public var refused: Int64 = 0
        public var rewinds: Int64 = 0
        /// From a change's append to the log until it was delivered.
        public var latency = LatencyHistogram()
    }

    public let name: String
    /// Next offset after everything confirmed; -1 before the sink has started.
    public let confirmed = Watermark(-1)
    /// What the sink waits out.
    public let trouble = Trouble()
    private let counters = Mutex(Counts())
    private let step = Mutex<ContinuousClock.Instant?>(nil)

    init(name: String) {
        self.name = name
    }

    public var counts: Counts { counters.withLock { $0 } }
    public var delivered: Int64 { counters.withLock { $0.delivered } }
    public var refused: Int64 { counters.withLock { $0.refused } }

    /// Since when the sink has been at what it does now; `nil` while it waits for changes.
    public var busySince: ContinuousClock.Instant? { step.withLock { $0 } }

    func beginStep() { step.withLock { $0 = .now } }
    func endStep() { step.withLock { $0 = nil } }

    func delivered(_ batch: MappedBatch, failed: Int, refused: [Rejection]) {
        let latency = SinkProgress.latency(of: batch, without: refused)
        counters.withLock { counts in
            counts.delivered += Int64(batch.changes.count - refused.count)
            counts.refused += Int64(failed + refused.count)
            counts.latency.add(latency)
        }
    }

    /// Changes of one write of the log have one time.
    private static func latency(of batch: MappedBatch, without refused: [Rejection]) -> LatencyHistogram {
        let now = wallClockMilliseconds()
        let refused = Set(refused.map(\.offset))
        var latency = LatencyHistogram()
        var run: (captured: Int64, changes: Int64) = (0, 0)
        for change in batch.changes where refused.isEmpty || !refused.contains(change.offset) {
            if change.change.captured != run.captured {
                if run.changes > 0 { latency.add(milliseconds: now - run.captured, changes: run.changes) }
                run = (change.change.captured, 0)
            }
            run.changes += 1
        }
        if run.changes > 0 { latency.add(milliseconds: now - run.captured, changes: run.changes) }
        return latency
    }

    func rewound(to offset: Int64) {
        counters.withLock { $0.rewinds += 1 }
        confirmed.set(offset)
    }
}
