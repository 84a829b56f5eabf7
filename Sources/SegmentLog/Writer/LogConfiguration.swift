/// When appended batches are made durable.
public enum FsyncPolicy: Sendable, Hashable {
    /// `fdatasync` with every append.
    case batch
    /// When `sync` is called, and by the first append after so long a time.
    case interval(Duration)
    /// Left to the operating system: a power loss may cost the tail, the end of the process does not.
    case never
}

/// What may be removed: whole closed segments, oldest first.
public struct Retention: Sendable, Hashable {
    public var bytes: Int64?
    public var ageMilliseconds: Int64?

    public init(bytes: Int64? = nil, ageMilliseconds: Int64? = nil) {
        self.bytes = bytes
        self.ageMilliseconds = ageMilliseconds
    }
}

public struct LogConfiguration: Sendable {
    /// A segment is closed when the next batch would make it larger, in bytes on disk.
    public var segmentBytes: Int
    public var fsync: FsyncPolicy
    public var indexIntervalBytes: Int
    /// Bound of one batch before compression.
    public var maxBatchBytes: Int
    public var retention: Retention

    public init(
        segmentBytes: Int = 64 << 20, fsync: FsyncPolicy = .batch, indexIntervalBytes: Int = 64 << 10,
        maxBatchBytes: Int = 96 << 20, retention: Retention = Retention()
    ) {
        self.segmentBytes = segmentBytes
        self.fsync = fsync
        self.indexIntervalBytes = indexIntervalBytes
        self.maxBatchBytes = maxBatchBytes
        self.retention = retention
    }
}
