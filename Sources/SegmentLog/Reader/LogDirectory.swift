import Glibc
public import SystemPackage

func getProcessID() -> Int32 { getpid() }

public struct SegmentStatistics: Sendable, Hashable {
    public var file: String
    public var baseOffset: Int64
    public var lastOffset: Int64
    public var fileBytes: Int64
    public var uncompressedBytes: Int64
    public var batches: Int
    public var records: Int
    public var firstTimestamp: Int64
    public var lastTimestamp: Int64
    public var isClosed: Bool
}

public struct LogStatistics: Sendable, Hashable {
    public var logID: String
    public var generations: [Generation]
    public var segments: [SegmentStatistics]
    public var startOffset: Int64
    public var endOffset: Int64
    /// The process that writes the log now.
    public var writerProcess: Int32?
}

/// Looks at a log without taking part in it.
public enum LogDirectory {
    public static func logID(_ directory: FilePath) throws(LogError) -> String {
        try LogMeta.load(directory).idText
    }

    public static func generations(_ directory: FilePath) throws(LogError) -> [Generation] {
        try LogMeta.load(directory).generations
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
        return end
    }

    /// The first offset that was appended at this time or later; the end where there is none.
    public static func offset(
        _ directory: FilePath, atOrAfter timestampMilliseconds: Int64
    ) throws(LogError) -> Int64 {
        let all = try segments(directory)
        var end = all[0].baseOffset
        var found: Int64?
        for segment in all {
            guard let file = try segment.open() else { continue }
            let index = SegmentIndex.load(segment, size: try file.size)
            let start = index?.position(atOrAfter: timestampMilliseconds) ?? 0
            try forEachHeader(file, from: start) { header, _ in
                end = header.lastOffset + 1
                if header.lastTimestamp >= timestampMilliseconds, header.lastOffset >= header.baseOffset {
                    found = header.baseOffset
                    return false
                }
                return true
            }
            if let found { return found }
        }
        return end
    }

    /// The process that holds the log's lock.
    public static func writerProcess(_ directory: FilePath) -> Int32? {
        let path = directory.appending("lock")
        guard let file = try? LogFile(path, .read), (try? file.lock()) == false,
            let bytes = try? AtomicFile.read(path, limit: 64)
        else { return nil }
        return Int32(String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self))
    }

    public static func statistics(_ directory: FilePath) throws(LogError) -> LogStatistics {
        let meta = try LogMeta.load(directory)
        let all = try segments(directory)
        var statistics: [SegmentStatistics] = []
        var end: Int64 = all[0].baseOffset
        for (number, segment) in all.enumerated() {
            guard let file = try segment.open() else { continue }
            var one = SegmentStatistics(
                file: Segment.name(segment.baseOffset, ".lz4"), baseOffset: segment.baseOffset,
                lastOffset: segment.baseOffset - 1, fileBytes: try file.size,
                uncompressedBytes: 0, batches: 0, records: 0, firstTimestamp: 0, lastTimestamp: 0,
                isClosed: number < all.count - 1)
            try forEachHeader(file) { header, _ in
                one.uncompressedBytes += Int64(header.rawLength)
                one.records += Int(header.count)
                if one.batches == 0 { one.firstTimestamp = header.firstTimestamp }
                one.batches += 1
                one.lastTimestamp = header.lastTimestamp
                one.lastOffset = header.lastOffset
                return true
            }
            end = one.lastOffset + 1
            statistics.append(one)
        }
        return LogStatistics(
            logID: meta.idText, generations: meta.generations, segments: statistics,
            startOffset: all[0].baseOffset,
            endOffset: end, writerProcess: writerProcess(directory))
    }

    private static func segments(_ directory: FilePath) throws(LogError) -> [Segment] {
        let segments = try Segment.list(directory)
        guard !segments.isEmpty else {
            throw LogError(code: .notFound, message: "there is no log here", file: directory.string)
        }
        return segments
    }

    /// Visits the headers of a segment up to its end or what is torn there.
    private static func forEachHeader(
        _ file: LogFile, from start: Int64 = 0, _ body: (BatchHeader, Int64) -> Bool
    ) throws(LogError) {
        let size = try file.size
        var position = start
        while case .batch(let header) = try Segment.header(file, at: position, size: size) {
            guard body(header, position) else { return }
            position += header.totalLength
        }
    }
}
