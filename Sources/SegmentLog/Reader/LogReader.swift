import LZ4
public import SystemPackage

/// Reads a log from an offset on, in this or another process, while it is written or not.
public struct LogReader {
    /// Larger batches are not believed.
    static let batchLimit = 256 << 20

    private let directory: FilePath
    private let codec: LZ4Frame
    private let start: Int64
    private var segment: Segment
    private var file: LogFile
    private var position: Int64 = 0
    /// The offset of the next record to be read.
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
        self.file = file
        do {
            codec = try LZ4Frame()
        } catch {
            throw LogError(code: .io, message: "\(error)")
        }
        start = offset
        nextOffset = offset
        position = SegmentIndex.load(segment, size: try file.size)?.position(of: offset) ?? 0
    }

    private static func trimmed(_ directory: FilePath, _ start: Int64, _ offset: Int64) -> LogError {
        LogError(
            code: .trimmed, message: "the log begins at offset \(start), not at \(offset)",
            file: directory.string)
    }

    /// The next batch; `nil` where no whole one is there yet, or where it reaches `limit`.
    ///
    /// Throws `.corrupt` for damage that is not the end of the log being written, `.trimmed` where retention has
    /// removed what comes next.
    public mutating func next(below limit: Int64? = nil) throws(LogError) -> RecordBatch? {
        while true {
            let size = try file.size
            switch try Segment.header(file, at: position, size: size) {
            case .batch(let header):
                if let limit, header.lastOffset >= limit { return nil }
                // The last batch of a snapshot or an idle position lies exactly at the limit: nothing of it waits.
                let at = position
                if header.lastOffset < start,
                    !(header.lastOffset < header.baseOffset && header.baseOffset >= start)
                {
                    position = at + header.totalLength
                    continue
                }
                let batch = try Segment.batch(
                    file, header, at: at, from: start, codec: codec, limit: LogReader.batchLimit)
                position = at + header.totalLength
                nextOffset = max(nextOffset, header.lastOffset + 1)
                return batch
            case .end:
                guard try advance() else { return nil }
            case .broken(let message):
                guard try isTail(size) else {
                    throw LogError(
                        code: .corrupt, message: "\(message); \(Segment.damageAdvice)",
                        file: file.path.string, position: position)
                }
                return nil
            }
        }
    }

    /// Whether what is broken may be a batch that is being written: in the last segment, nothing behind it.
    private func isTail(_ size: Int64) throws(LogError) -> Bool {
        guard try Segment.list(directory).last?.baseOffset == segment.baseOffset else {
            // It may have been completed, and the segment closed, since it was read.
            if case .broken = try Segment.header(file, at: position, size: try file.size) { return false }
            return true
        }
        return try !Segment.hasBatch(file, behind: position, size: size)
    }

    /// Goes to the following segment, if there is one.
    private mutating func advance() throws(LogError) -> Bool {
        let segments = try Segment.list(directory)
        guard let following = segments.first(where: { $0.baseOffset > segment.baseOffset }) else {
            return false
        }
        // Between the look at the end and the list the segment may have grown.
        guard position >= (try file.size) else { return true }
        guard following.baseOffset == max(nextOffset, segment.baseOffset) || following.baseOffset <= start
        else {
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
                message:
                    "offsets \(nextOffset) to \(following.baseOffset - 1) are missing between two segments",
                file: following.path.string)
        }
        guard let next = try following.open() else {
            throw LogReader.trimmed(directory, following.baseOffset + 1, nextOffset)
        }
        file = next
        segment = following
        position = 0
        return true
    }
}
