import LZ4
public import SystemPackage

/// Reads a log from an offset on, in this or another process, while it is written or not.
public struct LogReader {
    /// Larger batches are not believed.
    static let batchLimit = 256 << 20
    /// A reader at the log's end knows by name what must follow; it looks for anything else once in so long.
    private static let listInterval = Duration.seconds(1)

    private let directory: FilePath
    private let codec: LZ4Frame
    private let start: Int64
    private var segment: Segment
    private var headers: HeaderReader
    /// What the next batch begins with; `nil` before the first of a segment that is not read from its start.
    private var expected: Int64?
    private var gaps: LogGaps?
    private var lastListed: ContinuousClock.Instant?
    /// The offset of the next record to be read. At the end of the log it lies behind what repairs have found gone.
    public private(set) var nextOffset: Int64

    /// Throws `.notFound` where there is no log, `.trimmed` where the offset lies before its start.
    public init(_ directory: FilePath, from offset: Int64) throws(LogError) {
        let segments = try Segment.list(directory)
        guard let first = segments.first else {
            throw LogError(code: .notFound, message: "there is no log here", file: directory.string)
        }
        guard offset >= first.baseOffset else {
            throw LogReader.trimmed(directory, first.baseOffset, offset)
        }
        self.directory = directory
        segment = segments.last { $0.baseOffset <= offset } ?? first
        guard let file = try segment.open() else { throw LogReader.trimmed(directory, offset + 1, offset) }
        do {
            codec = try LZ4Frame()
        } catch {
            throw LogError(code: .io, message: "\(error)")
        }
        start = offset
        nextOffset = offset
        let position = SegmentIndex.load(segment, size: try file.size)?.position(of: offset) ?? 0
        headers = HeaderReader(file, at: position)
        expected = position == 0 ? segment.baseOffset : nil
    }

    private static func trimmed(_ directory: FilePath, _ start: Int64, _ offset: Int64) -> LogError {
        LogError(
            code: .trimmed, message: "the log begins at offset \(start), not at \(offset)",
            file: directory.string)
    }

    /// The next batch; `nil` where no whole one is there yet, or where it reaches `limit`. Offsets that a repair has found
    /// gone are stepped over.
    ///
    /// Throws `.corrupt` for damage that is not the end of the log being written, `.trimmed` where retention has
    /// removed what comes next.
    public mutating func next(below limit: Int64? = nil) throws(LogError) -> RecordBatch? {
        while true {
            let size = try headers.file.size
            switch try headers.look(size: size) {
            case .batch(let header):
                if let limit, header.lastOffset >= limit { return nil }
                try check(header)
                let position = headers.position
                // The last batch of a snapshot or an idle position lies exactly at the limit: nothing of it waits.
                let isWanted =
                    header.lastOffset >= start
                    || header.lastOffset < header.baseOffset && header.baseOffset >= start
                let batch =
                    isWanted
                    ? try segment.batch(headers.file, header, at: position, from: start, codec: codec) : nil
                headers.position = position + header.totalLength
                expected = header.lastOffset + 1
                guard let batch else { continue }
                nextOffset = max(nextOffset, header.lastOffset + 1)
                return batch
            case .end:
                guard try advance() else { return nil }
            case .broken(let message):
                guard try isTail(size) else {
                    throw LogError(
                        code: .corrupt, message: "\(message); \(segment.damageAdvice)",
                        file: headers.file.path.string, position: headers.position)
                }
                nextOffset = max(nextOffset, try end(from: nextOffset))
                return nil
            }
        }
    }

    /// Throws `.corrupt` where offsets before a batch are missing, or there twice.
    private mutating func check(_ header: BatchHeader) throws(LogError) {
        guard let expected, header.baseOffset != expected else { return }
        guard try reaches(header.baseOffset, from: expected) else {
            throw LogError(
                code: .corrupt,
                message: "a batch of offset \(header.baseOffset) where \(expected) belongs; "
                    + segment.damageAdvice,
                file: headers.file.path.string, position: headers.position)
        }
    }

    /// Whether all offsets between are known to be gone; the manifest is read when it is needed, and again where it does
    /// not tell.
    private mutating func reaches(_ offset: Int64, from expected: Int64) throws(LogError) -> Bool {
        if let gaps, gaps.reach(offset, from: expected) { return true }
        guard offset > expected else { return offset == expected }
        let read = try LogGaps.load(directory)
        gaps = read
        return read.reach(offset, from: expected)
    }

    /// The first offset from here on that is not known to be gone.
    private mutating func end(from offset: Int64) throws(LogError) -> Int64 {
        if let gaps { return gaps.end(from: offset) }
        let read = try LogGaps.load(directory)
        gaps = read
        return read.end(from: offset)
    }

    /// Whether what is broken may be a batch that is being written: in the last segment, nothing behind it.
    private mutating func isTail(_ size: Int64) throws(LogError) -> Bool {
        guard try Segment.list(directory).last?.baseOffset == segment.baseOffset else {
            // It may have been completed, and the segment closed, since it was read.
            if case .broken = try headers.look(size: try headers.file.size) { return false }
            return true
        }
        return try !Segment.hasBatch(headers.file, behind: headers.position, size: size)
    }

    /// Goes to the following segment, if there is one.
    private mutating func advance() throws(LogError) -> Bool {
        let here = expected ?? max(nextOffset, segment.baseOffset)
        let next = try end(from: here)
        guard let (following, file) = try following(next) else {
            nextOffset = max(nextOffset, try end(from: nextOffset))
            return false
        }
        // Between the look at the end and the list the segment may have grown.
        guard headers.position >= (try headers.file.size) else { return true }
        if following.baseOffset > start, try !reaches(following.baseOffset, from: here) {
            // Retention may have been at work while the names were read: only the second list speaks of damage.
            let again = try Segment.list(directory)
            if let first = again.first, first.baseOffset > nextOffset {
                throw LogReader.trimmed(directory, first.baseOffset, nextOffset)
            }
            if again.first(where: { $0.baseOffset > segment.baseOffset })?.baseOffset != following.baseOffset
            {
                return true
            }
            throw LogError(
                code: .corrupt,
                message: "offsets \(here) to \(following.baseOffset - 1) are missing between two segments; "
                    + segment.damageAdvice,
                file: following.path.string)
        }
        segment = following
        headers = HeaderReader(file)
        expected = following.baseOffset
        lastListed = nil
        return true
    }

    /// The segment behind this one, open: the one that begins at `next`, else the first of those that are there.
    private mutating func following(_ next: Int64) throws(LogError) -> (Segment, LogFile)? {
        let named = Segment(baseOffset: next, directory: directory)
        if next > segment.baseOffset, let file = try named.open() { return (named, file) }
        if let lastListed, .now - lastListed < LogReader.listInterval { return nil }
        guard let other = try Segment.list(directory).first(where: { $0.baseOffset > segment.baseOffset })
        else {
            lastListed = .now
            return nil
        }
        guard let file = try other.open() else {
            throw LogReader.trimmed(directory, other.baseOffset + 1, nextOffset)
        }
        return (other, file)
    }
}
