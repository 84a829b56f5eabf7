import Synchronization

/// What one delivery has done so far; read by others while it runs.
public final class SinkProgress: Sendable {
    private struct Counts {
        var delivered: Int64 = 0
        var refused: Int64 = 0
        var rewinds: Int64 = 0
    }

    public let name: String
    /// Next offset after everything confirmed; -1 before the sink has started.
    public let confirmed = Watermark(-1)
    private let counts = Mutex(Counts())

    init(name: String) {
        self.name = name
    }

    /// Changes written to the sink by this process.
    public var delivered: Int64 { counts.withLock { $0.delivered } }
    /// Changes that no rule could map or the server refused.
    public var refused: Int64 { counts.withLock { $0.refused } }
    public var rewinds: Int64 { counts.withLock { $0.rewinds } }

    func delivered(_ batch: MappedBatch, failed: Int, refused: Int) {
        counts.withLock { counts in
            counts.delivered += Int64(batch.changes.count - refused)
            counts.refused += Int64(failed + refused)
        }
    }

    func rewound(to offset: Int64) {
        counts.withLock { $0.rewinds += 1 }
        confirmed.set(offset)
    }
}
