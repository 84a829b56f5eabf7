import LZ4
public import SystemPackage

public struct RemovedSegment: Sendable, Hashable, CustomStringConvertible {
    public var file: String
    public var baseOffset: Int64
    public var bytes: Int64

    public var description: String { file }
}

/// The one writer of a log. Blocking; it belongs to one task or thread.
public final class LogWriter {
    public let logID: String
    public let wasCreated: Bool
    public private(set) var nextOffset: Int64
    /// Every offset below may be delivered: durable, or with `fsync: never` written.
    public private(set) var durableOffset: Int64
    public private(set) var recovery: RecoveryReport
    /// The position appended with the newest batch.
    public private(set) var lastPosition: [UInt8]
    public private(set) var lastTimestamp: Int64

    /// Whether the last call of `enforceRetention` kept a segment for the sake of its `minimumOffset` alone.
    public private(set) var isRetentionHeldBack = false

    private let directory: FilePath
    private let configuration: LogConfiguration
    private let codec: LZ4Frame
    private var lock: LogLock?
    private var meta: LogMeta
    private var segments: [Segment]
    private var file: LogFile
    /// Of the segment being written.
    private var index: SegmentIndex
    private var closedFacts: [Int64: SegmentIndex] = [:]
    private var output: [UInt8] = []
    private var lastSync = ContinuousClock.now
    private var failure: LogError?

    public var segmentCount: Int { segments.count }
    public var startOffset: Int64 { segments.first?.baseOffset ?? 0 }
    public var generations: [Generation] { meta.generations }
    public var currentGeneration: UInt16 { meta.generations.last?.number ?? 0 }

    /// Opens the log in a directory, or makes it; takes the lock and cuts a torn tail.
    public static func open(
        _ directory: FilePath, configuration: LogConfiguration, initialGeneration: UInt16
    ) throws(LogError) -> LogWriter {
        try LogWriter(directory, configuration, initialGeneration)
    }

    private init(
        _ directory: FilePath, _ configuration: LogConfiguration, _ initialGeneration: UInt16
    ) throws(LogError) {
        self.directory = directory
        self.configuration = configuration
        do {
            codec = try LZ4Frame()
        } catch {
            throw LogError(code: .io, message: "\(error)")
        }
        try AtomicFile.makeDirectory(directory)
        lock = try LogLock(directory)

        var found = try Segment.list(directory)
        let isNew = found.isEmpty
        do throws(LogError) {
            meta = try LogMeta.load(directory)
        } catch  where error.code == .notFound && isNew {
            meta = LogMeta.create(generation: initialGeneration)
            try meta.save(directory)
        }
        wasCreated = isNew
        if isNew { found = [Segment(baseOffset: 0, directory: directory)] }
        segments = found
        logID = meta.idText
        let last = found[found.count - 1]
        file = try LogFile(last.path, .create)
        if isNew { try AtomicFile.syncDirectory(directory) }

        let tail = try TailRecovery(
            file, last, gaps: try LogGaps.load(directory), indexInterval: configuration.indexIntervalBytes,
            codec: codec)
        index = tail.index
        nextOffset = tail.nextOffset
        durableOffset = tail.nextOffset
        // A segment just begun holds none: the last batch is then in the one before.
        var newest = tail.last
        recovery = RecoveryReport()
        for segment in found.dropLast().reversed() {
            let isIndexed = SegmentIndex.load(segment, size: try LogFile(segment.path, .read).size) != nil
            if isIndexed, newest != nil { continue }
            let (index, header) = try segment.scan(indexInterval: configuration.indexIntervalBytes)
            newest = newest ?? header
            if isIndexed { continue }
            try index.save(segment)
            recovery.rebuiltIndexes += 1
        }
        lastPosition = newest?.position ?? []
        lastTimestamp = newest?.lastTimestamp ?? 0
        if tail.tornBytes > 0 {
            recovery.truncatedBytes = tail.tornBytes
            recovery.warnings.append(
                "\(last.path): the last \(tail.tornBytes) bytes were no whole batch and have been cut off")
            try file.truncate(to: index.size)
            try file.sync()
        }
        let marked = try CleanMarker.take(directory)
        recovery.wasClean = isNew || marked == nextOffset
        if !recovery.wasClean {
            try startGeneration(currentGeneration == .max ? .max : currentGeneration + 1)
        }
    }

    public func append(
        _ batch: RecordBatchBuilder, position: [UInt8], timestampMilliseconds: Int64
    ) throws(LogError) -> Range<Int64> {
        if let failure { throw failure }
        guard batch.byteCount <= configuration.maxBatchBytes, position.count <= BatchHeader.maximumPosition
        else {
            throw LogError(
                code: .invalidArgument,
                message: "a batch of \(batch.byteCount) bytes; \(configuration.maxBatchBytes) are the bound")
        }
        guard batch.offsetCount <= BatchHeader.offsetBound - nextOffset else {
            throw LogError(code: .invalidArgument, message: "the log has no offsets left")
        }
        let header = try encode(batch, position: position, timestamp: timestampMilliseconds)
        if index.size > 0, index.size + Int64(output.count) > Int64(configuration.segmentBytes),
            nextOffset > segments[segments.count - 1].baseOffset
        {
            try roll()
        }
        do {
            try file.write(output, at: index.size)
        } catch {
            try restore(after: error)
            throw error
        }
        index.add(header, interval: configuration.indexIntervalBytes)
        let start = nextOffset
        nextOffset = header.lastOffset + 1
        lastPosition = position
        lastTimestamp = timestampMilliseconds
        switch configuration.fsync {
        case .batch: try sync()
        case .interval(let interval): if ContinuousClock.now - lastSync >= interval { try sync() }
        case .never: durableOffset = nextOffset
        }
        return start..<nextOffset
    }

    /// Fills `output` with header and frame.
    private func encode(
        _ batch: RecordBatchBuilder, position: [UInt8], timestamp: Int64
    ) throws(LogError) -> BatchHeader {
        output.removeAll(keepingCapacity: true)
        var header = BatchHeader(
            generation: currentGeneration, baseOffset: nextOffset,
            lastOffset: nextOffset + Int64(batch.offsetCount) - 1, count: batch.count,
            rawLength: batch.byteCount, frameLength: 0, timestamp: timestamp, position: position,
            frameChecksum: 0)
        do {
            try header.write(batch.bytes, codec, to: &output)
        } catch {
            throw LogError(code: .io, message: "compression failed: \(error)")
        }
        return header
    }

    /// A write has failed half-way: the file ends with the last whole batch again, or the writer is done for.
    private func restore(after error: LogError) throws(LogError) {
        do {
            try file.truncate(to: index.size)
        } catch {
            failure = LogError(
                code: .closed,
                message: "a failed write could not be taken back (\(error)); restart to recover",
                file: file.path.string)
        }
    }

    private func roll() throws(LogError) {
        // A tail may be lost under `never`; a hole before newer segments would be damage.
        try sync(evenNever: true)
        try index.save(segments[segments.count - 1])
        let next = Segment(baseOffset: nextOffset, directory: directory)
        file = try LogFile(next.path, .create)
        try AtomicFile.syncDirectory(directory)
        segments.append(next)
        index = SegmentIndex(baseOffset: nextOffset)
    }

    /// Makes everything appended durable. A failure is final: what the disk holds is unknown then.
    ///
    /// - Parameter evenNever: also under the policy `never`.
    public func sync(evenNever: Bool = false) throws(LogError) {
        if let failure { throw failure }
        do {
            if evenNever || configuration.fsync != .never { try file.sync() }
        } catch {
            failure = LogError(
                code: .closed,
                message: "fdatasync failed (\(error)): what is on disk is unknown; restart to recover",
                file: file.path.string)
            throw error
        }
        lastSync = .now
        durableOffset = nextOffset
    }

    /// Batches from here on carry this number.
    public func startGeneration(_ number: UInt16) throws(LogError) {
        guard number > currentGeneration || nextOffset == 0 else {
            throw LogError(
                code: .invalidArgument, message: "generation \(number) is not above \(currentGeneration)")
        }
        var changed = meta
        changed.generations.removeAll { $0.firstOffset >= nextOffset }
        changed.generations.append(Generation(number: number, firstOffset: nextOffset))
        try changed.save(directory)
        meta = changed
    }

    /// Removes closed segments that are past the retention and hold no offset from `minimumOffset` on.
    public func enforceRetention(
        nowMilliseconds: Int64, keeping minimumOffset: Int64?
    ) throws(LogError) -> [RemovedSegment] {
        let retention = configuration.retention
        isRetentionHeldBack = false
        guard segments.count > 1, retention.bytes != nil || retention.ageMilliseconds != nil else {
            return []
        }
        var closed: [SegmentIndex] = []
        for segment in segments.dropLast() { closed.append(try facts(of: segment)) }
        var total = closed.reduce(index.size) { $0 + $1.size }
        var removed: [RemovedSegment] = []
        for facts in closed {
            let segment = segments[0]
            let isTooMuch = retention.bytes.map { total > $0 } ?? false
            let isTooOld =
                retention.ageMilliseconds.map { facts.latestTimestamp < nowMilliseconds - $0 } ?? false
            guard isTooMuch || isTooOld else { break }
            if let minimumOffset, segments[1].baseOffset > minimumOffset {
                isRetentionHeldBack = true
                break
            }
            try AtomicFile.remove(SegmentIndex.path(segment))
            try AtomicFile.remove(segment.path)
            segments.removeFirst()
            closedFacts[segment.baseOffset] = nil
            total -= facts.size
            removed.append(
                RemovedSegment(
                    file: Segment.name(segment.baseOffset, ".lz4"), baseOffset: segment.baseOffset,
                    bytes: facts.size))
        }
        if !removed.isEmpty { try AtomicFile.syncDirectory(directory) }
        return removed
    }

    /// Size and latest time of a closed segment; the entries are left out.
    private func facts(of segment: Segment) throws(LogError) -> SegmentIndex {
        if let known = closedFacts[segment.baseOffset] { return known }
        let size = try LogFile(segment.path, .read).size
        var facts: SegmentIndex
        if let loaded = SegmentIndex.loadHead(segment, size: size) {
            facts = loaded
        } else {
            facts = try segment.scan(indexInterval: configuration.indexIntervalBytes).index
        }
        facts.dropEntries()
        closedFacts[segment.baseOffset] = facts
        return facts
    }

    /// Ends in an orderly way: all durable, marked as clean, the lock released.
    public func close() throws(LogError) {
        try sync()
        failure = LogError(code: .closed, message: "the log is closed", file: directory.string)
        try CleanMarker.put(directory, end: nextOffset)
        lock = nil
    }
}
