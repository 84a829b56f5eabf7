public import SystemPackage

public struct SegmentStatistics: Sendable, Hashable {
    public var file: String
    public var baseOffset: Int64
    /// `baseOffset - 1` while there is none.
    public var lastOffset: Int64
    public var fileBytes: Int64
    public var uncompressedBytes: Int64
    public var batches: Int
    public var records: Int
    /// Of the first batch and of the last, milliseconds since 1970; 0 without any.
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
    /// Listed as gone by repairs.
    public var gaps: [LogGap]
    /// The process that writes the log now.
    public var writerProcess: Int32?

    /// The time of the oldest batch, milliseconds since 1970.
    public var oldestTimestamp: Int64? { segments.first { $0.batches > 0 }?.firstTimestamp }
}

extension LogDirectory {
    /// Sizes, offsets and times. Of closed segments their indexes tell; the headers of the one being written, and of those
    /// without an index, are read.
    public static func statistics(_ directory: FilePath) throws(LogError) -> LogStatistics {
        let meta = try LogMeta.load(directory)
        let gaps = try LogGaps.load(directory)
        let all = try segments(directory)
        var statistics: [SegmentStatistics] = []
        var end: Int64 = all[0].baseOffset
        for (number, segment) in all.enumerated() {
            guard let file = try segment.open() else { continue }
            let isClosed = number < all.count - 1
            let size = try file.size
            let head = isClosed ? SegmentIndex.loadHead(segment, size: size) : nil
            let totals: SegmentTotals
            if let head { totals = head.totals } else { totals = try self.totals(segment, file) }
            statistics.append(SegmentStatistics(segment, totals, size: size, isClosed: isClosed))
            end = totals.lastOffset + 1
        }
        return LogStatistics(
            logID: meta.idText, generations: meta.generations, segments: statistics,
            startOffset: statistics.first?.baseOffset ?? end, endOffset: gaps.end(from: end),
            gaps: gaps.entries, writerProcess: writerProcess(directory))
    }

    private static func totals(_ segment: Segment, _ file: LogFile) throws(LogError) -> SegmentTotals {
        var index = SegmentIndex(baseOffset: segment.baseOffset)
        try forEachHeader(file) { header, _ in
            index.add(header, interval: .max)
            return true
        }
        return index.totals
    }
}

extension SegmentStatistics {
    fileprivate init(_ segment: Segment, _ totals: SegmentTotals, size: Int64, isClosed: Bool) {
        self.init(
            file: Segment.name(segment.baseOffset, ".lz4"), baseOffset: segment.baseOffset,
            lastOffset: totals.lastOffset, fileBytes: size, uncompressedBytes: totals.rawBytes,
            batches: Int(totals.batches), records: Int(totals.records), firstTimestamp: totals.firstTimestamp,
            lastTimestamp: totals.lastTimestamp, isClosed: isClosed)
    }
}
