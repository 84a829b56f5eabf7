public import ChangeModel
public import Mapping
public import SegmentLog

/// Where mapped changes go. One delivery loop drives a sink, one batch at a time, in the order of the log.
///
/// A sink waits out what passes by itself (a server away, out of memory) with back-off, for ever, and tells
/// `SinkContext.trouble`; it throws only
/// what no waiting mends: `PipelineError`, and `CancellationError` when it is told to stop.
public protocol ChangeSink: Sendable {
    /// Connects, takes the sink over from any earlier process and finds the offset to go on from.
    func start(_ context: SinkContext) async throws -> Int64

    /// After a start: how many servers share a batch, which may be so many times as large.
    func width() async -> Int

    /// Writes one batch together with its checkpoint (`p`).
    func deliver(_ batch: MappedBatch) async throws -> DeliveryOutcome

    /// All before `offset` is delivered, or lies in the durable dead letters. Written (`c`) with the next batch
    /// or by `idle`.
    func confirm(_ offset: Int64) async

    /// Called when nothing waits for delivery, at least every second: writes what is confirmed and looks
    /// whether the checkpoint is still ours. Returns the offset to go back to where it is not.
    func idle() async throws -> Int64?

    /// After a start: all before `offset` counts as delivered from now on, and nothing else. Durable when it returns.
    ///
    /// Backwards, what was sent before is sent again; what is there already is not refused.
    func reset(to offset: Int64) async throws

    /// After a start: removes the checkpoint, and what is remembered beside it. The sink is not used any more.
    func discard() async throws

    /// After a start: the dead letters that the last replay is known to have written. It may have ended before it
    /// could note them.
    func replayedLetters() async throws -> [ReplayedLetter]

    /// Closes the connection; the checkpoint stays.
    func close() async
}

extension ChangeSink {
    public func width() -> Int { 1 }
}

/// What happened to a batch.
public enum DeliveryOutcome: Sendable {
    /// All of it was written but the changes named here, which the server refused for good.
    case delivered([Rejection])
    /// The server has lost what it had acknowledged: delivery starts again at this offset.
    case rewound(to: Int64)
}

/// A change that cannot be delivered, and why.
public struct Rejection: Sendable {
    public var change: Change
    public var offset: Int64
    public var reason: String

    public init(_ mapped: MappedChange, reason: String) {
        change = mapped.change
        offset = mapped.offset
        self.reason = reason
    }
}

/// Reads single changes of the log.
public protocol ChangeLookup: Sendable {
    /// The first change at this offset or behind it; `nil` where there is none.
    func change(atOrBehind offset: Int64) async throws -> Change?

    /// Whether the log has, at this offset or behind it, a change of this zxid, in the order of an observer, that is wanted.
    ///
    /// - Parameter isWanted: gets the change, the generation of its batch, and what the sink writes of it today.
    func hasChange(
        of zxid: Zxid, atOrBehind offset: Int64,
        where isWanted:
            @Sendable (_ change: Change, _ generation: UInt16, _ writes: () -> [SinkWrite]) -> Bool
    ) async throws -> Bool
}

/// What a sink needs to know of the pipeline when it starts.
public struct SinkContext: Sendable {
    public var logID: String
    private let currentGenerations: @Sendable () -> [Generation]
    private let start: @Sendable () -> Int64
    private let end: @Sendable () -> Int64
    /// Take the sink over although its checkpoint belongs to another log.
    public var takeOver: Bool
    /// The first offset appended at this time (milliseconds since 1970) or later.
    public var offset: @Sendable (_ atOrAfter: Int64) async throws -> Int64
    public var lookup: any ChangeLookup
    /// A replay into another place: what stands there is not of this delivery.
    public var isReplay = false
    /// Starts a generation of the log above the given one and returns it.
    public var startGeneration: @Sendable (_ above: UInt16) async throws -> UInt16
    /// Has every live node appended once more, for this sink alone: the log does not hold all that it needs.
    public var repeatSnapshot: @Sendable () async throws -> Void
    /// Where the sink tells what it waits out, and that it has passed.
    public var trouble = Trouble()

    public init(
        logID: String, generations: @autoclosure @escaping @Sendable () -> [Generation],
        startOffset: @autoclosure @escaping @Sendable () -> Int64,
        endOffset: @autoclosure @escaping @Sendable () -> Int64, takeOver: Bool,
        lookup: any ChangeLookup,
        offset: @escaping @Sendable (_ atOrAfter: Int64) async throws -> Int64,
        startGeneration: @escaping @Sendable (_ above: UInt16) async throws -> UInt16,
        repeatSnapshot: @escaping @Sendable () async throws -> Void
    ) {
        self.logID = logID
        currentGenerations = generations
        start = startOffset
        end = endOffset
        self.takeOver = takeOver
        self.offset = offset
        self.lookup = lookup
        self.startGeneration = startGeneration
        self.repeatSnapshot = repeatSnapshot
    }

    /// Of the log's one writer.
    init(
        _ log: PipelineLog, sink: String, takeOver: Bool, _ feed: DeliveryFeed, trouble: Trouble = Trouble()
    ) {
        self.init(
            logID: log.logID, generations: log.generations, startOffset: log.startOffset,
            endOffset: log.tail.value, takeOver: takeOver, lookup: feed,
            offset: { try await feed.offset(atOrAfter: $0) },
            startGeneration: { try await log.startGeneration(above: $0) },
            repeatSnapshot: { try await log.oweSnapshot(to: sink) })
        self.trouble = trouble
    }

    // The log of this moment: a sink that comes late, or goes back while it runs, needs the newest.

    public var generations: [Generation] { currentGenerations() }
    public var startOffset: Int64 { start() }
    /// The end of what may be delivered.
    public var endOffset: Int64 { end() }

    /// The place of the last change that may be delivered; `nil` where it has none.
    public func newestOrder() async throws -> CommitOrder? {
        try await lookup.change(atOrBehind: endOffset - 1)?.order
    }

    /// The last generation of the log.
    public var generation: UInt16 { generations.last?.number ?? 0 }

    /// The generation that an offset belongs to, or will.
    public func generation(of offset: Int64) -> UInt16 {
        generations.last { $0.firstOffset <= offset }?.number ?? 0
    }

    /// A checkpoint of an earlier generation counts at most up to where the next one began: what lay behind it
    /// may have been lost and its offsets given out again.
    public func limit(forCheckpointOf generation: UInt16) -> Int64 {
        generations.first { $0.number > generation }?.firstOffset ?? .max
    }
}

/// The changes of a stretch of the log as one sink shall write them.
public struct MappedBatch: Sendable {
    /// The stretch, changes that became nothing included.
    public var offsets: Range<Int64>
    public var changes: [MappedChange]
    /// Every change up to this zxid lies before the end of the stretch.
    public var settled: Zxid
    /// Generation of the last change of the stretch.
    public var generation: UInt16
    /// A replay is no part of the stretch: positions stay, and stream entries take the next free ID.
    public var isReplay = false
    /// In a replay of dead letters their numbers, one for each change; empty otherwise.
    public var letters: [Int64] = []

    public init(offsets: Range<Int64>, changes: [MappedChange], settled: Zxid, generation: UInt16) {
        self.offsets = offsets
        self.changes = changes
        self.settled = settled
        self.generation = generation
    }
}

/// One change and its writes.
public struct MappedChange: Sendable {
    public var change: Change
    public var offset: Int64
    public var generation: UInt16
    public var writes: [SinkWrite]

    public init(_ change: Change, offset: Int64, generation: UInt16, writes: [SinkWrite]) {
        self.change = change
        self.offset = offset
        self.generation = generation
        self.writes = writes
    }
}

/// How far a sink has come, as it is stored with the data. Positions name the next offset.
public struct Checkpoint: Sendable, Hashable {
    /// Grows by one with every process that takes the sink.
    public var epoch: Int64
    /// Sent: everything before it has been written in a transaction, refusals not yet looked at.
    public var sent: Int64
    /// Confirmed: everything before it is delivered or a durable dead letter.
    public var confirmed: Int64
    /// Generation of the change before `sent`.
    public var generation: UInt16
    public var logID: String
    public var settled: Zxid
    /// Stream IDs are at least of this generation.
    public var floor: UInt16
    /// Host and process that wrote it last.
    public var owner: String
    /// When it was written, in milliseconds since 1970.
    public var written: Int64

    public init(
        epoch: Int64, sent: Int64, confirmed: Int64, generation: UInt16, logID: String, settled: Zxid,
        floor: UInt16, owner: String, written: Int64
    ) {
        self.epoch = epoch
        self.sent = sent
        self.confirmed = confirmed
        self.generation = generation
        self.logID = logID
        self.settled = settled
        self.floor = floor
        self.owner = owner
        self.written = written
    }
}

extension Checkpoint {
    /// All before `offset` counts as delivered. What was sent stays known as sent: it may be there already.
    public mutating func reset(to offset: Int64, _ context: SinkContext) {
        confirmed = offset
        if offset > sent {
            sent = offset
            generation = max(generation, context.generation(of: max(offset - 1, 0)))
        }
        written = wallClockMilliseconds()
    }
}

/// Where a sink's checkpoint is kept, for those who only look: `offsets show`, retention, a start with an empty
/// log.
public protocol CheckpointStore: Sendable {
    /// For people: `redis://host:port/0 millrace:pipeline:sink`.
    var place: String { get }
    /// Throws `PipelineError.unavailable` where the place cannot be reached within `timeout`.
    func read(timeout: Duration) async throws -> Checkpoint?
    /// The same, and how far each node has come where there are several.
    func readNodes(timeout: Duration) async throws -> (checkpoint: Checkpoint?, nodes: [NodeCheckpoint])
}

extension CheckpointStore {
    public func readNodes(timeout: Duration) async throws -> (
        checkpoint: Checkpoint?, nodes: [NodeCheckpoint]
    ) {
        (try await read(timeout: timeout), [])
    }
}

/// How far one node of a cluster has come.
public struct NodeCheckpoint: Sendable, Hashable {
    /// host:port
    public var node: String
    /// The slots that it serves: `0-5460,9000`.
    public var slots: String
    /// `nil` where nobody speaks for a part of them.
    public var checkpoint: Checkpoint?

    public init(node: String, slots: String, checkpoint: Checkpoint?) {
        self.node = node
        self.slots = slots
        self.checkpoint = checkpoint
    }
}

/// Where a sink without a checkpoint of its log begins.
public enum MissingCheckpoint: Sendable, Hashable {
    case earliest
    case latest
    case stop
}
