import SystemPackage

/// A place in a segment that a search can begin at.
struct IndexEntry: Equatable {
    var offset: Int64
    var position: Int64
    /// The latest time of all batches before it; ascending over the entries, whatever the clock did.
    var latestTimestamp: Int64
}

/// What the headers of a segment's batches add up to.
struct SegmentTotals: Equatable {
    /// `base - 1` while no batch has taken an offset.
    var lastOffset: Int64
    var batches: Int64 = 0
    var records: Int64 = 0
    var rawBytes: Int64 = 0
    /// Of the first batch and of the last; 0 without any.
    var firstTimestamp: Int64 = 0
    var lastTimestamp: Int64 = 0
}

/// The sparse index of one segment, by offset and by time, and the totals of its batches.
///
/// Derived: kept in memory for the segment being written, in `<base>.index` for a closed one. The writer's open
/// makes a file anew where it is missing or wrong; a reader that finds none reads from the segment's start.
///
/// File, little-endian. Head: `MRIX`, version 2 (4), size of the segment, latest time in it, last offset, batches,
/// records, their bytes before compression, time of the first batch, of the last (8 each), a CRC-32C of the head so
/// far (4), zero (4). Then per entry offset, position, latest time before it (8 each); at the end a CRC-32C of all
/// before it.
struct SegmentIndex: Equatable {
    private(set) var entries: [IndexEntry] = []
    /// Bytes of the segment that the index speaks of.
    private(set) var size: Int64 = 0
    /// The latest time of all its batches; `Int64.min` without any.
    private(set) var latestTimestamp = Int64.min
    private(set) var totals: SegmentTotals

    private static let magic: UInt32 = 0x5849_524D  // "MRIX"
    private static let version: UInt32 = 2
    private static let largestFile = 64 << 20
    private static let headBytes = 80
    private static let headChecksum = 72
    private static let entryBytes = 24

    init(baseOffset: Int64) {
        totals = SegmentTotals(lastOffset: baseOffset - 1)
    }

    /// Takes the batch that begins at `size`.
    mutating func add(_ header: BatchHeader, interval: Int) {
        if entries.last.map({ size - $0.position >= Int64(interval) }) ?? true {
            entries.append(
                IndexEntry(offset: header.baseOffset, position: size, latestTimestamp: latestTimestamp))
        }
        size += header.totalLength
        latestTimestamp = max(latestTimestamp, header.lastTimestamp)
        if totals.batches == 0 { totals.firstTimestamp = header.firstTimestamp }
        totals.lastTimestamp = header.lastTimestamp
        totals.lastOffset = header.lastOffset
        totals.batches += 1
        totals.records += Int64(header.count)
        totals.rawBytes += Int64(header.rawLength)
    }

    mutating func dropEntries() { entries = [] }

    /// A position from which a reader meets the batch that holds `offset`.
    func position(of offset: Int64) -> Int64 {
        last { $0.offset <= offset }?.position ?? 0
    }

    /// A position before which every batch is older than `timestamp`.
    func position(atOrAfter timestamp: Int64) -> Int64 {
        last { $0.latestTimestamp < timestamp }?.position ?? 0
    }

    /// The last entry for which an ascending condition holds.
    private func last(where holds: (IndexEntry) -> Bool) -> IndexEntry? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if holds(entries[middle]) { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : entries[low - 1]
    }

    // MARK: File

    static func path(_ segment: Segment) -> FilePath {
        segment.directory.appending(Segment.name(segment.baseOffset, ".index"))
    }

    func save(_ segment: Segment) throws(LogError) {
        var bytes: [UInt8] = []
        func put<T: FixedWidthInteger>(_ value: T, _ bytes: inout [UInt8]) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        put(SegmentIndex.magic, &bytes)
        put(SegmentIndex.version, &bytes)
        let head = [
            size, latestTimestamp, totals.lastOffset, totals.batches, totals.records, totals.rawBytes,
            totals.firstTimestamp, totals.lastTimestamp,
        ]
        for value in head { put(value, &bytes) }
        put(bytes.withUnsafeBytes { CRC32C.checksum($0) }, &bytes)
        put(UInt32(0), &bytes)
        for entry in entries {
            put(entry.offset, &bytes)
            put(entry.position, &bytes)
            put(entry.latestTimestamp, &bytes)
        }
        put(bytes.withUnsafeBytes { CRC32C.checksum($0) }, &bytes)
        try AtomicFile.replace(SegmentIndex.path(segment), with: bytes)
    }

    /// The index file of a segment of `size` bytes; `nil` where there is none or it is not to be believed.
    static func load(_ segment: Segment, size: Int64) -> SegmentIndex? {
        guard let bytes = try? AtomicFile.read(path(segment), limit: largestFile),
            bytes.count >= headBytes + 4, (bytes.count - headBytes - 4) % entryBytes == 0
        else { return nil }
        return bytes.withUnsafeBytes { bytes in
            let end = bytes.count - 4
            let checksum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: end, as: UInt32.self))
            guard checksum == CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<end])),
                var index = SegmentIndex(head: bytes, size: size)
            else { return nil }
            index.entries = stride(from: headBytes, to: end, by: entryBytes).map {
                IndexEntry(
                    offset: number(bytes, $0), position: number(bytes, $0 + 8),
                    latestTimestamp: number(bytes, $0 + 16))
            }
            return index
        }
    }

    /// The same without its entries, and without reading them.
    static func loadHead(_ segment: Segment, size: Int64) -> SegmentIndex? {
        guard let file = try? LogFile(path(segment), .read),
            let bytes = try? file.read(at: 0, count: headBytes)
        else { return nil }
        return bytes.withUnsafeBytes { SegmentIndex(head: $0, size: size) }
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int64 {
        Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int64.self))
    }

    private init?(head bytes: UnsafeRawBufferPointer, size: Int64) {
        func word(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        let end = SegmentIndex.headChecksum
        guard bytes.count >= SegmentIndex.headBytes, word(0) == SegmentIndex.magic,
            word(4) == SegmentIndex.version,
            word(end) == CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<end])), word(end + 4) == 0,
            SegmentIndex.number(bytes, 8) == size
        else { return nil }
        self.size = size
        latestTimestamp = SegmentIndex.number(bytes, 16)
        totals = SegmentTotals(
            lastOffset: SegmentIndex.number(bytes, 24), batches: SegmentIndex.number(bytes, 32),
            records: SegmentIndex.number(bytes, 40), rawBytes: SegmentIndex.number(bytes, 48),
            firstTimestamp: SegmentIndex.number(bytes, 56), lastTimestamp: SegmentIndex.number(bytes, 64))
        // A checksum proves no origin: sums over segments must not overflow.
        guard totals.lastOffset >= -1, totals.lastOffset < BatchHeader.offsetBound, totals.batches >= 0,
            totals.batches <= size, totals.records >= 0, totals.records <= BatchHeader.offsetBound,
            totals.rawBytes >= 0, totals.rawBytes <= BatchHeader.offsetBound
        else { return nil }
    }
}
