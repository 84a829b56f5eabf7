import SystemPackage

/// Offsets that are gone from a log, because a repair has found their bytes damaged or missing.
public struct LogGap: Sendable, Hashable {
    public var offsets: Range<Int64>
    /// Base offset of the segment that they lay in, or that begins behind them.
    public var segment: Int64
    /// Where in that segment's file their bytes lay before the repair.
    public var position: Int64
    /// 0 where there were no bytes: a segment or a part of one is missing.
    public var byteCount: Int64
    /// When the repair found them gone, milliseconds since 1970.
    public var repaired: Int64

    public init(offsets: Range<Int64>, segment: Int64, position: Int64, byteCount: Int64, repaired: Int64) {
        self.offsets = offsets
        self.segment = segment
        self.position = position
        self.byteCount = byteCount
        self.repaired = repaired
    }
}

/// The file `gaps`: the manifest of all offsets that repairs have found gone. Where it does not list them, offsets that
/// are missing are damage.
///
/// Little-endian: `MRGP`, version 1 (4), count (4), then per gap its first offset, its last offset, segment, position,
/// bytes and time of the repair (8 each), ascending and apart; at the end a CRC-32C of all before it.
struct LogGaps: Equatable {
    private static let magic: UInt32 = 0x5047_524D  // "MRGP"
    private static let version: UInt32 = 1
    private static let headBytes = 12
    private static let entryBytes = 48
    private static let limit = 256 << 20

    /// Ascending, none touching what another covers.
    private(set) var entries: [LogGap] = []

    static func path(_ directory: FilePath) -> FilePath { directory.appending("gaps") }

    /// The first offset from `offset` on that is not gone.
    func end(from offset: Int64) -> Int64 {
        var offset = offset
        for entry in entries[firstIndex(endingBehind: offset)...] {
            guard entry.offsets.contains(offset) else { break }
            offset = entry.offsets.upperBound
        }
        return offset
    }

    /// Whether every one of the offsets is listed as gone.
    func covers(_ offsets: Range<Int64>) -> Bool { end(from: offsets.lowerBound) >= offsets.upperBound }

    /// Whether a batch of offset `base` may follow where `expected` belongs: nothing lies between that is not gone.
    func reach(_ base: Int64, from expected: Int64) -> Bool {
        base == expected || base > expected && covers(expected..<base)
    }

    /// Adds those offsets of a gap that are not listed yet.
    mutating func insert(_ gap: LogGap) {
        var rest = gap.offsets
        while !rest.isEmpty {
            rest = end(from: rest.lowerBound)..<max(rest.upperBound, end(from: rest.lowerBound))
            guard !rest.isEmpty else { return }
            let index = firstIndex(endingBehind: rest.lowerBound)
            let next = index < entries.count ? entries[index].offsets.lowerBound : Int64.max
            var piece = gap
            piece.offsets = rest.lowerBound..<min(rest.upperBound, next)
            entries.insert(piece, at: index)
            rest = piece.offsets.upperBound..<rest.upperBound
        }
    }

    /// Index of the first entry that ends behind an offset.
    private func firstIndex(endingBehind offset: Int64) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].offsets.upperBound <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: File

    func save(_ directory: FilePath) throws(LogError) {
        var file = SealedFile(magic: LogGaps.magic, version: LogGaps.version)
        file.put(UInt32(entries.count))
        for entry in entries {
            file.put(entry.offsets.lowerBound)
            file.put(entry.offsets.upperBound - 1)
            file.put(entry.segment)
            file.put(entry.position)
            file.put(entry.byteCount)
            file.put(entry.repaired)
        }
        try file.save(LogGaps.path(directory))
    }

    /// The manifest of a log; empty where there is none. Throws `.corrupt` where it is damaged.
    static func load(_ directory: FilePath) throws(LogError) -> LogGaps {
        let path = path(directory)
        let advice =
            "it lists the offsets that are gone; `millrace log repair \(directory)` makes it anew"
        let file: SealedFile
        do {
            file = try SealedFile(
                path, limit: limit, magic: magic, version: version, what: "a manifest", advice: advice)
        } catch {
            if error.code == .notFound { return LogGaps() }
            throw error
        }
        let damaged = SealedFile.damage(path, advice)
        guard file.bytes.count >= headBytes else { throw damaged }
        let count = Int(file.get(UInt32.self, 8))
        guard file.bytes.count == headBytes + count * entryBytes else { throw damaged }
        var gaps = LogGaps()
        for index in 0..<count {
            let start = headBytes + index * entryBytes
            let (first, last) = (file.get(Int64.self, start), file.get(Int64.self, start + 8))
            guard first >= 0, last >= first, last < BatchHeader.offsetBound,
                first >= gaps.entries.last?.offsets.upperBound ?? 0
            else { throw damaged }
            gaps.entries.append(
                LogGap(
                    offsets: first..<last + 1, segment: file.get(Int64.self, start + 16),
                    position: file.get(Int64.self, start + 24), byteCount: file.get(Int64.self, start + 32),
                    repaired: file.get(Int64.self, start + 40)))
        }
        return gaps
    }
}
