/// One place where a log is not what was written.
public struct LogDamage: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable {
        /// No whole batch begins where one belongs.
        case header
        /// A batch whose records are damaged.
        case batch
        /// A record that is sound by its checksum and cannot be read all the same.
        case record
        /// Offsets that are neither there nor listed as gone.
        case missing
        /// A batch with offsets that another one has.
        case overlap
        /// The log was closed in an orderly way, and ends earlier now.
        case tail
        case index, meta, gaps, generation
        /// Written by a later version of the program.
        case version
    }

    public var kind: Kind
    /// Name of the file, in the log's directory.
    public var file: String
    /// What is damaged; `nil` where it is the file as a whole, or a file that is not there.
    public var bytes: Range<Int64>?
    /// Number of the batch in its segment, from 1.
    public var batch: Int?
    /// The offsets that the batch's header names.
    public var batchOffsets: Range<Int64>?
    /// The offsets that cannot be read any more; empty where only control records, or none, are concerned.
    public var gone: Range<Int64>
    public var message: String
    /// What a person can do.
    public var advice: String

    init(
        _ kind: Kind, file: String, bytes: Range<Int64>? = nil, batch: Int? = nil,
        batchOffsets: Range<Int64>? = nil, gone: Range<Int64> = 0..<0, message: String, advice: String
    ) {
        self.kind = kind
        self.file = file
        self.bytes = bytes
        self.batch = batch
        self.batchOffsets = batchOffsets
        self.gone = gone
        self.message = message
        self.advice = advice
    }
}

/// What `LogVerification` found of one segment.
public struct SegmentReport: Sendable, Hashable {
    public var file: String
    public var baseOffset: Int64
    public var fileBytes: Int64 = 0
    public var batches = 0
    public var records = 0
    /// Records of types that this program does not know; readers skip them.
    public var unknownRecords = 0
    /// Behind the last whole batch of the last segment: a batch being written, or a write that a crash has torn. The
    /// next open of a writer cuts it off.
    public var tornBytes: Int64 = 0
    /// Whether an index file is there. Without one a reader begins at the segment's start.
    public var isIndexed = false
    public var damage: [LogDamage] = []

    /// The first offset of the first batch that takes one, and the one behind the last.
    var firstOffset: Int64?
    var nextOffset: Int64
    /// Where batches of another generation begin: number and first offset.
    var generations: [Generation] = []

    init(_ segment: Segment) {
        file = Segment.name(segment.baseOffset, ".lz4")
        baseOffset = segment.baseOffset
        nextOffset = segment.baseOffset
    }
}

/// What `LogVerification` found.
public struct VerificationReport: Sendable, Hashable {
    public var directory: String
    public var startOffset: Int64
    public var endOffset: Int64
    public var segments: [SegmentReport]
    /// Of the log as a whole: its start and end, `log.meta`, the order of its segments.
    public var damage: [LogDamage]
    /// Listed as gone by an earlier repair.
    public var gaps: [LogGap]
    /// What is no damage and worth knowing.
    public var notes: [String]

    /// All of it, in the order of the log.
    public var allDamage: [LogDamage] { segments.flatMap(\.damage) + damage }
    public var batches: Int { segments.reduce(0) { $0 + $1.batches } }
    public var records: Int { segments.reduce(0) { $0 + $1.records } }
    public var fileBytes: Int64 { segments.reduce(0) { $0 + $1.fileBytes } }
}

/// What is wrong with a record whose checksum is right.
public enum RecordFlaw: Sendable, Hashable {
    /// A type that this program does not know: no damage.
    case unknownType
    /// Its payload is of a later version.
    case version(String)
    case damaged(String)
}
