public import ChangeModel

/// Where changes come from. A source starts from what is known of the tree and appends to the ingest; it never
/// waits for a sink, only for the log.
public protocol ChangeSource: Sendable {
    /// How it captures, for people: `watch`, `observer` or `auto`.
    var mode: String { get }

    /// Captures until cancelled, from what `ingest.recover()` tells of the tree, and tells `ingest.progress` how it is. When cancelled it hands over
    /// what it knows with a last batch, so that the next start has nothing to read again.
    ///
    /// Throws `PipelineError.unavailable` where no server can be reached at start, and `.failed` where going on
    /// would break a promise.
    func run(into ingest: Ingest) async throws
}

/// One entry of the log as a source hands it over.
public enum CaptureEntry: Sendable {
    case change(Change)
    case snapshotBegin(SnapshotBegin)
    /// The tree has been read as a whole: what was known is complete and compared.
    case snapshotEnd
    /// What happened in between is gone; a snapshot follows that tells its outcome.
    case gap(CaptureGap)
}

/// Entries that belong together (one ZooKeeper transaction is never split over batches) and how far the capture
/// has come with them.
public struct CaptureBatch: Sendable {
    public var entries: [CaptureEntry]
    public var position: CapturePosition
    /// What is known after these entries, when the ingest has asked for it.
    public var known: KnownState?
    /// Sinks whose repeated snapshot is complete with this batch.
    public var repeatedFor: [String] = []
    /// Sinks whose repeated snapshot lacks nodes that may not be read now: it goes on when they can be.
    public var postponedFor: [String] = []
    /// With these entries the log has caught up with the ensemble as it was at the source's start. The end of a snapshot says so,
    /// too.
    public var isSynchronized = false

    public init(entries: [CaptureEntry], position: CapturePosition, known: KnownState? = nil) {
        self.entries = entries
        self.position = position
        self.known = known
    }

    /// Roughly the memory that the batch holds, in bytes.
    var weight: Int {
        entries.reduce(64) { sum, entry in
            guard case .change(let change) = entry else { return sum + 128 }
            return sum + 256 + change.path.utf8.count + (change.data?.count ?? 0)
                + (change.before?.count ?? 0)
        }
    }
}
