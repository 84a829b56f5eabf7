import LZ4
public import SystemPackage

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

/// What an open found.
public struct RecoveryReport: Sendable, Hashable {
    public var wasClean = true
    public var truncatedBytes: Int64 = 0
    public var rebuiltIndexes = 0
    public var warnings: [String] = []
}

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

    private let directory: FilePath
    private let configuration: LogConfiguration
    private let codec: LZ4Frame
    private var lockFile: LogFile?
    private var meta: LogMeta
    private var segments: [Segment]
    private var file: LogFile
    private var size: Int64
    private var index: [IndexEntry]
    private var latestTimestamp: Int64
    private var output: [UInt8] = []
    private var lastSync = ContinuousClock.now
    private var failure: LogError?

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
        let lockFile = try LogFile(directory.appending("lock"), .create)
        guard try lockFile.lock() else {
            let owner = LogDirectory.writerProcess(directory).map { "process \($0)" } ?? "another process"
            throw LogError(
                code: .locked, message: "\(owner) is writing this log; one log has one writer",
                file: directory.string)
        }
        try lockFile.truncate(to: 0)
        try lockFile.write(Array("\(getProcessID())\n".utf8), at: 0)

        self.lockFile = lockFile

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

        let tail = try LogWriter.recover(file, last, configuration, codec)
        size = tail.size
        index = tail.index
        latestTimestamp = tail.latestTimestamp
        nextOffset = tail.nextOffset
        durableOffset = tail.nextOffset
        lastPosition = tail.position
        lastTimestamp = tail.lastTimestamp
        recovery = RecoveryReport()
        if tail.torn > 0 {
            recovery.truncatedBytes = tail.torn
            recovery.warnings.append(
                "\(last.path): the last \(tail.torn) bytes were no whole batch and have been cut off")
            try file.truncate(to: size)
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
        let header = try encode(batch, position: position, timestamp: timestampMilliseconds)
        if size > 0, size + Int64(output.count) > Int64(configuration.segmentBytes),
            nextOffset > segments[segments.count - 1].baseOffset
        {
            try roll()
        }
        do {
            try file.write(output, at: size)
        } catch {
            try restore(after: error)
            throw error
        }
        noteIndex()
        size += Int64(output.count)
        latestTimestamp = max(latestTimestamp, timestampMilliseconds)
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
        output.append(contentsOf: repeatElement(0, count: BatchHeader.byteCount))
        do {
            try codec.compress(batch.bytes, appendingTo: &output)
        } catch {
            throw LogError(code: .io, message: "compression failed: \(error)")
        }
        let checksum = output.withUnsafeBytes {
            CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[BatchHeader.byteCount...]))
        }
        let header = BatchHeader(
            generation: currentGeneration, baseOffset: nextOffset,
            lastOffset: nextOffset + Int64(batch.offsetCount) - 1, count: batch.count,
            rawLength: batch.byteCount,
            frameLength: output.count - BatchHeader.byteCount, timestamp: timestamp, position: position,
            frameChecksum: checksum)
        header.write(to: &output, at: 0)
        return header
    }

    /// A write has failed half-way: the file ends with the last whole batch again, or the writer is done for.
    private func restore(after error: LogError) throws(LogError) {
        do {
            try file.truncate(to: size)
        } catch {
            failure = LogError(
                code: .closed,
                message: "a failed write could not be taken back (\(error)); restart to recover",
                file: file.path.string)
        }
    }

    private func noteIndex() {
        let due = index.last.map { size - $0.position >= Int64(configuration.indexIntervalBytes) } ?? true
        if due {
            index.append(IndexEntry(offset: nextOffset, position: size, latestTimestamp: latestTimestamp))
        }
    }

    private func roll() throws(LogError) {
        try sync()
        try SegmentIndex.save(index, size: size, segments[segments.count - 1])
        let next = Segment(baseOffset: nextOffset, directory: directory)
        file = try LogFile(next.path, .create)
        try AtomicFile.syncDirectory(directory)
        segments.append(next)
        size = 0
        index = []
    }

    /// Makes everything appended durable. A failure is final: what the disk holds is unknown then.
    public func sync() throws(LogError) {
        if let failure { throw failure }
        do {
            if configuration.fsync != .never { try file.sync() }
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
        var removed: [RemovedSegment] = []
        var sizes: [Int64] = []
        for segment in segments { sizes.append(try LogFile(segment.path, .read).size) }
        var total = sizes.reduce(0, +)
        while segments.count > 1 {
            let segment = segments[0]
            let end = segments[1].baseOffset
            if let minimumOffset, end > minimumOffset { break }
            var isDue = configuration.retention.bytes.map { total > $0 } ?? false
            if let age = configuration.retention.ageMilliseconds, !isDue {
                let newest = try LogDirectory.latestTimestamp(of: segment)
                isDue = nowMilliseconds - newest > age
            }
            guard isDue else { break }
            try AtomicFile.remove(SegmentIndex.path(segment))
            try AtomicFile.remove(segment.path)
            segments.removeFirst()
            total -= sizes.removeFirst()
            removed.append(
                RemovedSegment(
                    file: Segment.name(segment.baseOffset, ".lz4"), baseOffset: segment.baseOffset,
                    bytes: total))
        }
        if !removed.isEmpty { try AtomicFile.syncDirectory(directory) }
        return removed
    }

    /// Ends in an orderly way: all durable, marked as clean, the lock released.
    public func close() throws(LogError) {
        try sync()
        failure = LogError(code: .closed, message: "the log is closed", file: directory.string)
        try CleanMarker.put(directory, end: nextOffset)
        lockFile = nil
    }

    // MARK: Recovery

    private struct Tail {
        var size: Int64 = 0
        var torn: Int64 = 0
        var nextOffset: Int64
        var index: [IndexEntry] = []
        var latestTimestamp: Int64 = .min
        var lastTimestamp: Int64 = 0
        var position: [UInt8] = []
    }

    private static func recover(
        _ file: LogFile, _ segment: Segment, _ configuration: LogConfiguration, _ codec: LZ4Frame
    ) throws(LogError) -> Tail {
        var tail = Tail(nextOffset: segment.baseOffset)
        let size = try file.size
        while true {
            switch try Segment.header(file, at: tail.size, size: size) {
            case .end:
                return tail
            case .batch(let header):
                guard header.baseOffset == tail.nextOffset else {
                    throw LogError(
                        code: .corrupt,
                        message: "a batch of offset \(header.baseOffset) where \(tail.nextOffset) belongs",
                        file: file.path.string, position: tail.size)
                }
                let isLast = tail.size + header.totalLength == size
                do {
                    _ = try Segment.batch(
                        file, header, at: tail.size, from: 0, codec: codec, limit: LogReader.batchLimit)
                } catch {
                    guard isLast else { throw error }
                    tail.torn = size - tail.size
                    return tail
                }
                let due =
                    tail.index.last.map { tail.size - $0.position >= Int64(configuration.indexIntervalBytes) }
                    ?? true
                if due {
                    tail.index.append(
                        IndexEntry(
                            offset: header.baseOffset, position: tail.size,
                            latestTimestamp: tail.latestTimestamp))
                }
                tail.latestTimestamp = max(tail.latestTimestamp, header.lastTimestamp)
                tail.lastTimestamp = header.lastTimestamp
                tail.position = header.position
                tail.nextOffset = header.lastOffset + 1
                tail.size += header.totalLength
            case .broken(let message):
                guard try !Segment.hasBatch(file, behind: tail.size, size: size) else {
                    throw LogError(
                        code: .corrupt,
                        message:
                            "\(message), with whole batches behind it; millrace log repair quarantines it",
                        file: file.path.string, position: tail.size)
                }
                tail.torn = size - tail.size
                return tail
            }
        }
    }
}

/// The file `clean`: written by an orderly close, taken away by the next open.
enum CleanMarker {
    private static func path(_ directory: FilePath) -> FilePath { directory.appending("clean") }

    static func put(_ directory: FilePath, end: Int64) throws(LogError) {
        try AtomicFile.replace(path(directory), with: Array("\(end)\n".utf8))
    }

    /// The end that the last close wrote down, if there is one; the marker is gone afterwards.
    static func take(_ directory: FilePath) throws(LogError) -> Int64? {
        let path = path(directory)
        guard let bytes = try? AtomicFile.read(path, limit: 64) else { return nil }
        try AtomicFile.remove(path)
        try AtomicFile.syncDirectory(directory)
        return Int64(String(decoding: bytes.dropLast(), as: UTF8.self))
    }
}
