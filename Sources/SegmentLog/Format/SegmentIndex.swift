import SystemPackage

/// A place in a segment that a search can begin at.
struct IndexEntry: Equatable {
    var offset: Int64
    var position: Int64
    /// The latest time of all batches before it; ascending over the entries, whatever the clock did.
    var latestTimestamp: Int64
}

/// The sparse index of one segment, by offset and by time.
///
/// Derived: kept in memory for the segment being written, in `<base>.index` for a closed one. The writer's open
/// makes a file anew where it is missing or wrong; a reader that finds none reads from the segment's start.
///
/// File, little-endian: size of the segment (8), latest time in it (8), then per entry offset, position, latest
/// time before it (8 each); at the end a CRC-32C of all before it.
struct SegmentIndex: Equatable {
    private(set) var entries: [IndexEntry] = []
    /// Bytes of the segment that the index speaks of.
    private(set) var size: Int64 = 0
    /// The latest time of all its batches; `Int64.min` without any.
    private(set) var latestTimestamp = Int64.min

    private static let largestFile = 64 << 20
    private static let headBytes = 16
    private static let entryBytes = 24

    /// Takes the batch that begins at `size`.
    mutating func add(_ header: BatchHeader, interval: Int) {
        if entries.last.map({ size - $0.position >= Int64(interval) }) ?? true {
            entries.append(
                IndexEntry(offset: header.baseOffset, position: size, latestTimestamp: latestTimestamp))
        }
        size += header.totalLength
        latestTimestamp = max(latestTimestamp, header.lastTimestamp)
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
        let numbers =
            [size, latestTimestamp] + entries.flatMap { [$0.offset, $0.position, $0.latestTimestamp] }
        for value in numbers { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
        let checksum = bytes.withUnsafeBytes { CRC32C.checksum($0) }
        withUnsafeBytes(of: checksum.littleEndian) { bytes.append(contentsOf: $0) }
        try AtomicFile.replace(SegmentIndex.path(segment), with: bytes)
    }

    /// The index file of a segment of `size` bytes; `nil` where there is none or it is not to be believed.
    static func load(_ segment: Segment, size: Int64) -> SegmentIndex? {
        guard let bytes = try? AtomicFile.read(path(segment), limit: largestFile),
            bytes.count >= headBytes + 4, (bytes.count - headBytes - 4) % entryBytes == 0
        else { return nil }
        return bytes.withUnsafeBytes { bytes in
            func get(_ offset: Int) -> Int64 {
                Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int64.self))
            }
            let end = bytes.count - 4
            let checksum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: end, as: UInt32.self))
            guard checksum == CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<end])), get(0) == size
            else { return nil }
            var index = SegmentIndex()
            index.size = size
            index.latestTimestamp = get(8)
            index.entries = stride(from: headBytes, to: end, by: entryBytes).map {
                IndexEntry(offset: get($0), position: get($0 + 8), latestTimestamp: get($0 + 16))
            }
            return index
        }
    }
}
