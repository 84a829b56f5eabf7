public import ChangeModel
import Glibc
public import SegmentLog
import Synchronization
public import SystemPackage

/// A pipeline's log while it runs: the one writer, on a thread of its own, and what belongs beside it.
public actor PipelineLog {
    private let executor = BlockingExecutor(label: "millrace.log")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    public nonisolated let directory: FilePath
    public nonisolated let logID: String
    /// Every offset below it is durable and may be delivered.
    public nonisolated let tail: Watermark
    /// Segments begun by this process.
    nonisolated let rolled = Watermark(0)
    /// Changes appended by this process.
    public nonisolated let captured = Watermark(0)

    private let writer: LogWriter
    private let states: KnownStateStore
    private var builder = RecordBatchBuilder()
    private var changesSinceState = 0
    private var lastState = ContinuousClock.now
    private var stateDuration = Duration.zero
    private nonisolated let bounds: Mutex<Bounds>
    nonisolated let owed: OwedSnapshots
    private nonisolated let stateWanted = Mutex(false)

    private struct Bounds {
        var start: Int64
        var generations: [Generation]
    }

    /// What was known at the moment of opening, until the source takes it.
    private var recovered: RecoveredCapture?
    private var nodesPerState: Int
    public nonisolated let recovery: RecoveryReport

    /// Opens or creates the log in `directory` and reads back what was known of the tree.
    ///
    /// - Parameters:
    ///   - initialGeneration: the generation of a log that has to be created.
    ///   - keepsData: the known state holds each node's data, for `before`.
    /// - Throws: `PipelineError.unavailable` where the files cannot be used or another process holds the log,
    ///   `.failed` where the log is damaged.
    public init(
        directory: FilePath, configuration: LogConfiguration, initialGeneration: UInt16,
        keepsData: Bool = false
    ) throws(PipelineError) {
        self.directory = directory
        do {
            writer = try LogWriter.open(
                directory, configuration: configuration, initialGeneration: initialGeneration)
            logID = writer.logID
            var recovery = writer.recovery
            states = KnownStateStore(directory: directory, logID: writer.logID, keepsData: keepsData)
            let recovered = try states.recover(upTo: writer.durableOffset, position: writer.lastPosition)
            if !recovered.isWhole {
                recovery.warnings.append(
                    "\(directory): both files of the known state are missing or damaged, and the log does not begin at "
                        + "offset 0: every node is told again, and one that was deleted meanwhile is not noticed"
                )
            }
            self.recovery = recovery
            changesSinceState = recovered.replayed
            nodesPerState = recovered.known.nodes.count
            self.recovered = recovered
            bounds = Mutex(Bounds(start: writer.startOffset, generations: writer.generations))
            owed = try OwedSnapshots(log: directory)
        } catch {
            throw PipelineError(log: error)
        }
        tail = Watermark(writer.durableOffset)
    }

    /// What was known of the tree when the log was opened. Handed out once: a second owner would cost a copy of
    /// the whole map at its first change.
    func takeRecovered() -> RecoveredCapture {
        defer { recovered = nil }
        return recovered ?? RecoveredCapture(known: KnownState(), position: .start, replayed: 0)
    }

    public nonisolated var generations: [Generation] { bounds.withLock { $0.generations } }
    public nonisolated var startOffset: Int64 { bounds.withLock { $0.start } }
    public var nextOffset: Int64 { writer.nextOffset }

    /// Whether the source should attach what it knows to its next batch.
    nonisolated var wantsKnownState: Bool { stateWanted.withLock { $0 } }

    /// The source is asked for its known state, to be written with its next batch.
    func requestKnownState() {
        if changesSinceState > 0 { stateWanted.withLock { $0 = true } }
    }

    /// Appends all batches, in as few writes as their size allows, and returns the log's end. Durable when it
    /// returns, as far as the policy asks for it.
    func append(_ batches: [CaptureBatch]) throws(PipelineError) -> Int64 {
        do {
            for (index, batch) in batches.enumerated() {
                encode(batch)
                let isLast = index == batches.count - 1
                if isLast || batch.known != nil || builder.byteCount >= PipelineLog.writeBytes {
                    try write(position: batch.position)
                    if let known = batch.known { try save(known) }
                }
                if !batch.repeatedFor.isEmpty {
                    try write(position: batch.position)
                    try writer.sync(evenNever: true)
                    tail.set(writer.durableOffset)
                    try owed.settle(batch.repeatedFor)
                }
                owed.postpone(batch.postponedFor)
            }
        } catch {
            builder.removeAll()
            throw PipelineError(log: error)
        }
        if changesSinceState >= max(PipelineLog.changesPerState, nodesPerState) {
            stateWanted.withLock { $0 = true }
        }
        return writer.nextOffset
    }

    /// One write gathers about this many bytes of records.
    private static let writeBytes = 2 << 20
    /// Changes after which the known state is written again, so that a start reads no more than these.
    private static let changesPerState = 100_000

    private func encode(_ batch: CaptureBatch) {
        let now = wallClockMilliseconds()
        for entry in batch.entries {
            switch entry {
            case .change(var change):
                change.captured = now
                builder.append(type: RecordType.change) { ChangeCodec.encode(change, into: &$0) }
            case .snapshotBegin(let begin):
                builder.append(type: RecordType.snapshotBegin) { begin.encode(into: &$0) }
            case .snapshotEnd:
                builder.append(type: RecordType.snapshotEnd) { _ in }
            case .gap(let gap):
                builder.append(type: RecordType.gap) { gap.encode(into: &$0) }
            }
        }
    }

    private func write(position: CapturePosition) throws(LogError) {
        if builder.isEmpty, writer.lastPosition == position.bytes { return }
        let changes = builder.offsetCount
        let segments = writer.segmentCount
        _ = try writer.append(
            builder, position: position.bytes, timestampMilliseconds: wallClockMilliseconds())
        builder.removeAll()
        changesSinceState += changes
        captured.set(captured.value + Int64(changes))
        tail.set(writer.durableOffset)
        if writer.segmentCount > segments { rolled.set(rolled.value + 1) }
    }

    private func save(_ known: KnownState) throws(LogError) {
        // A state may only speak of what is durable.
        try writer.sync()
        tail.set(writer.durableOffset)
        let start = ContinuousClock.now
        try states.save(known, at: writer.nextOffset)
        lastState = .now
        stateDuration = lastState - start
        changesSinceState = 0
        nodesPerState = known.nodes.count
        stateWanted.withLock { $0 = false }
    }

    /// Makes everything written durable; for the `interval` policy.
    func sync() throws(PipelineError) {
        do {
            try writer.sync()
        } catch {
            throw PipelineError(log: error)
        }
        tail.set(writer.durableOffset)
    }

    /// Starts a generation above all that the log or a sink has seen, and returns it.
    public func startGeneration(above seen: UInt16) throws(PipelineError) -> UInt16 {
        let highest = max(seen, writer.currentGeneration)
        guard highest < .max else {
            throw .failed("the log has used up its 65,535 generations; start a pipeline of a new name")
        }
        do {
            try writer.startGeneration(highest + 1)
        } catch {
            throw PipelineError(log: error)
        }
        noteBounds()
        return highest + 1
    }

    /// Removes whole segments that retention no longer asks for, none that holds `offset` or a later one.
    func enforceRetention(keeping offset: Int64?) throws(PipelineError) -> [RemovedSegment] {
        // The known state is rebuilt from its newest file and the records after it: they are kept too.
        let stateOffset = states.neededOffset
        let floor = min(offset ?? .max, stateOffset)
        defer {
            noteBounds()
            // Large states are written seldom: at most a twentieth of the time goes into them.
            let isRested = ContinuousClock.now - lastState >= stateDuration * 20
            if writer.isRetentionHeldBack, stateOffset <= floor, isRested { requestKnownState() }
        }
        do {
            return try writer.enforceRetention(nowMilliseconds: wallClockMilliseconds(), keeping: floor)
        } catch {
            throw PipelineError(log: error)
        }
    }

    private func noteBounds() {
        bounds.withLock { $0 = Bounds(start: writer.startOffset, generations: writer.generations) }
    }

    /// The log does not hold what this sink has not taken: the capture appends every live node for it once more.
    /// Durable when it returns.
    func oweSnapshot(to sink: String) throws(PipelineError) {
        do {
            try owed.add(sink)
        } catch {
            throw PipelineError(log: error)
        }
    }

    /// Orderly end: everything durable, marked clean, the lock released.
    public func close() throws(PipelineError) {
        do {
            try writer.close()
        } catch {
            throw PipelineError(log: error)
        }
        tail.finish()
    }
}

/// What a start finds in the log: the live nodes, and how far the capture had come.
public struct RecoveredCapture: Sendable {
    public var known: KnownState
    public var position: CapturePosition
    /// Records read after the newest state file.
    var replayed: Int
    /// False where nodes may exist in the sinks that nothing is known of.
    var isWhole: Bool
    /// False where records are gone that `known` would have been made of: a capture by position begins with a comparison.
    public var isComplete = true

    public init(known: KnownState, position: CapturePosition, replayed: Int = 0, isWhole: Bool = true) {
        self.known = known
        self.position = position
        self.replayed = replayed
        self.isWhole = isWhole
    }
}

extension PipelineError {
    /// A missing or forbidden file is somebody's to provide; damage is a failure.
    public init(log error: LogError) {
        switch error.code {
        case .corrupt, .unsupportedVersion, .invalidArgument, .closed:
            self = .failed("\(error)")
        default:
            self = .unavailable("\(error)")
        }
    }
}

/// Milliseconds since 1970.
public func wallClockMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
