import Glibc
public import SystemPackage

func getProcessID() -> Int32 { getpid() }

/// Looks at a log without taking part in it.
public enum LogDirectory {
    public static func logID(_ directory: FilePath) throws(LogError) -> String {
        try LogMeta.load(directory).idText
    }

    public static func generations(_ directory: FilePath) throws(LogError) -> [Generation] {
        try LogMeta.load(directory).generations
    }

    /// The offsets that repairs have found gone, ascending.
    public static func gaps(_ directory: FilePath) throws(LogError) -> [LogGap] {
        try LogGaps.load(directory).entries
    }

    public static func startOffset(_ directory: FilePath) throws(LogError) -> Int64 {
        try segments(directory)[0].baseOffset
    }

    /// The next offset to be written.
    public static func endOffset(_ directory: FilePath) throws(LogError) -> Int64 {
        let last = try segments(directory)
        var end = last[last.count - 1].baseOffset
        try forEachHeader(try LogFile(last[last.count - 1].path, .read)) { header, _ in
            end = header.lastOffset + 1
            return true
        }
        return try LogGaps.load(directory).end(from: end)
    }

    /// The first offset that was appended at this time or later; the end where there is none.
    public static func offset(
        _ directory: FilePath, atOrAfter timestampMilliseconds: Int64
    ) throws(LogError) -> Int64 {
        for segment in try segments(directory) {
            guard let file = try segment.open() else { continue }
            let size = try file.size
            // The clock may have stepped back, so each segment is asked; its head is one small read.
            if let head = SegmentIndex.loadHead(segment, size: size),
                head.latestTimestamp < timestampMilliseconds
            {
                continue
            }
            let index = SegmentIndex.load(segment, size: size)
            let start = index?.position(atOrAfter: timestampMilliseconds) ?? 0
            var found: Int64?
            try forEachHeader(file, from: start) { header, _ in
                guard header.lastTimestamp >= timestampMilliseconds, header.lastOffset >= header.baseOffset
                else {
                    return true
                }
                found = header.baseOffset
                return false
            }
            if let found { return found }
        }
        return try endOffset(directory)
    }

    /// The first offset of the first batch whose capture position is at `rank` or above it, or has none; the end where
    /// there is none.
    ///
    /// Ranks rise along a generation. So of a segment in which none begins only the head of the next one is read, as long
    /// as that is below.
    public static func offset(
        _ directory: FilePath, atOrAbove rank: Int64, of rankOf: (_ position: [UInt8]) -> Int64?
    ) throws(LogError) -> Int64 {
        let segments = try segments(directory)
        let starts = try generations(directory).map(\.firstOffset)
        for (number, segment) in segments.enumerated() {
            guard let file = try segment.open() else { continue }
            if number + 1 < segments.count {
                let next = segments[number + 1]
                let isOneGeneration = !starts.contains {
                    segment.baseOffset < $0 && $0 <= next.baseOffset
                }
                if isOneGeneration, let head = try firstRank(next, rankOf), head < rank { continue }
            }
            var found: Int64?
            try forEachHeader(file) { header, _ in
                if let own = rankOf(header.position), own < rank { return true }
                found = header.baseOffset
                return false
            }
            if let found { return found }
        }
        return try endOffset(directory)
    }

    private static func firstRank(
        _ segment: Segment, _ rankOf: (_ position: [UInt8]) -> Int64?
    ) throws(LogError) -> Int64? {
        guard let file = try segment.open() else { return nil }
        var first: Int64?
        try forEachHeader(file) { header, _ in
            first = rankOf(header.position)
            return false
        }
        return first
    }

    /// The process that holds the log's lock.
    public static func writerProcess(_ directory: FilePath) -> Int32? {
        let path = directory.appending("lock")
        guard let file = try? LogFile(path, .read), (try? file.lock()) == false,
            let bytes = try? AtomicFile.read(path, limit: 64)
        else { return nil }
        return Int32(String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self))
    }

    static func segments(_ directory: FilePath) throws(LogError) -> [Segment] {
        let segments = try Segment.list(directory)
        guard !segments.isEmpty else {
            throw LogError(code: .notFound, message: "there is no log here", file: directory.string)
        }
        return segments
    }

    /// Visits the headers of a segment up to its end or what is torn there.
    static func forEachHeader(
        _ file: LogFile, from start: Int64 = 0, _ body: (BatchHeader, Int64) -> Bool
    ) throws(LogError) {
        let size = try file.size
        var headers = HeaderReader(file, at: start)
        while case .batch(let header) = try headers.look(size: size) {
            guard body(header, headers.position) else { return }
            headers.position += header.totalLength
        }
    }
}
