import LZ4
public import SystemPackage

/// Makes a log of batches that have offsets, times and generations already: those of another log.
///
/// It is a log when `finish` returns; until then there is no `log.meta`, and nobody takes it for one.
public final class LogImporter {
    private let directory: FilePath
    private let meta: LogMeta
    private let gaps: LogGaps
    private let segmentBytes: Int
    private let codec: LZ4Frame
    private let lock: LogLock
    private var segments: [Segment]
    private var file: LogFile
    private var index: SegmentIndex
    private var expected: Int64
    private var output: [UInt8] = []
    private let indexInterval = LogConfiguration().indexIntervalBytes

    /// - Parameters:
    ///   - directory: empty, or not there yet.
    ///   - startOffset: the log begins there.
    /// - Throws: `.invalidArgument` where something is in the directory, or the facts contradict each other.
    public init(
        _ directory: FilePath, logID: String, generations: [Generation], gaps: [LogGap], startOffset: Int64,
        segmentBytes: Int = LogConfiguration().segmentBytes
    ) throws(LogError) {
        guard let id = LogMeta.id(logID), LogImporter.isInOrder(generations),
            (0..<BatchHeader.offsetBound).contains(startOffset)
        else {
            throw LogError(
                code: .invalidArgument, message: "no log has this id, start or list of generations")
        }
        try AtomicFile.makeDirectory(directory)
        guard try AtomicFile.names(in: directory).isEmpty else {
            throw LogError(
                code: .invalidArgument,
                message: "is not empty; a log is imported into a directory of its own",
                file: directory.string)
        }
        self.directory = directory
        self.segmentBytes = segmentBytes
        meta = LogMeta(id: id, generations: generations)
        var listed = LogGaps()
        for gap in gaps { listed.insert(gap) }
        self.gaps = listed
        do {
            codec = try LZ4Frame()
        } catch {
            throw LogError(code: .io, message: "\(error)")
        }
        lock = try LogLock(directory)
        let first = Segment(baseOffset: startOffset, directory: directory)
        segments = [first]
        file = try LogFile(first.path, .create)
        index = SegmentIndex(baseOffset: startOffset)
        expected = startOffset
    }

    private static func isInOrder(_ generations: [Generation]) -> Bool {
        generations.first.map { $0.firstOffset >= 0 } ?? false
            && zip(generations, generations.dropFirst()).allSatisfy {
                $0.number < $1.number && $0.firstOffset <= $1.firstOffset
            }
    }

    /// Appends a batch. Throws `.invalidArgument` where it does not follow what is there, or is of another generation than
    /// its offset.
    public func append(
        _ batch: RecordBatchBuilder, baseOffset: Int64, generation: UInt16, firstTimestamp: Int64,
        lastTimestamp: Int64, position: [UInt8]
    ) throws(LogError) {
        guard gaps.reach(baseOffset, from: expected), position.count <= BatchHeader.maximumPosition,
            baseOffset + Int64(batch.offsetCount) < BatchHeader.offsetBound,
            batch.byteCount <= LogReader.batchLimit
        else {
            throw LogError(
                code: .invalidArgument, message: "a batch of offset \(baseOffset) where \(expected) belongs")
        }
        // One that takes no offsets may be of a generation that the next one has taken the place of.
        guard
            batch.offsetCount == 0
                || generation == meta.generations.last(where: { $0.firstOffset <= baseOffset })?.number
        else {
            throw LogError(
                code: .invalidArgument,
                message: "a batch of generation \(generation) at offset \(baseOffset), which is of another")
        }
        var header = BatchHeader(
            generation: generation, baseOffset: baseOffset,
            lastOffset: baseOffset + Int64(batch.offsetCount) - 1, count: batch.count,
            rawLength: batch.byteCount, frameLength: 0, timestamp: firstTimestamp, position: position,
            frameChecksum: 0)
        header.lastTimestamp = lastTimestamp
        output.removeAll(keepingCapacity: true)
        do {
            try header.write(batch.bytes, codec, to: &output)
        } catch {
            throw LogError(code: .io, message: "compression failed: \(error)")
        }
        if index.size > 0, index.size + Int64(output.count) > Int64(segmentBytes),
            baseOffset > segments[segments.count - 1].baseOffset
        {
            try roll(to: baseOffset)
        }
        try file.write(output, at: index.size)
        index.add(header, interval: indexInterval)
        expected = header.lastOffset + 1
    }

    private func roll(to offset: Int64) throws(LogError) {
        try file.sync()
        try index.save(segments[segments.count - 1])
        let next = Segment(baseOffset: offset, directory: directory)
        file = try LogFile(next.path, .create)
        segments.append(next)
        index = SegmentIndex(baseOffset: offset)
    }

    /// All of it is there: makes it durable, and a log.
    public func finish() throws(LogError) {
        try file.sync()
        if !gaps.entries.isEmpty { try gaps.save(directory) }
        try CleanMarker.put(directory, end: gaps.end(from: expected))
        try AtomicFile.syncDirectory(directory)
        try meta.save(directory)
        withExtendedLifetime(lock) {}
    }

    /// Removes what was made.
    public func abandon() throws(LogError) {
        for segment in segments {
            try AtomicFile.remove(SegmentIndex.path(segment))
            try AtomicFile.remove(segment.path)
        }
        try AtomicFile.remove(directory.appending("lock"))
    }
}
