import SystemPackage

@testable import SegmentLog

/// The small files beside a segment: its index, which is thrown away where it is wrong, and `log.meta`.
///
/// The first byte: 1 the checksum is made right; 2 the file is `log.meta`, else an index; 4 (of an index) its
/// magic, version and size are made right; 8 the file is `gaps`. Then, of an index, an offset and a time to look for.
func fuzzIndex(_ input: inout FuzzInput, _ directory: FilePath) throws(FuzzFailure) {
    let mode = input.byte()
    let sought = input.number()
    var bytes = input.takeAll()
    let segment = Segment(baseOffset: 0, directory: directory)
    let size = Int64(golden.count)
    if mode & 4 != 0, bytes.count >= 16 {
        bytes.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: UInt32(0x5849_524D).littleEndian, as: UInt32.self)
            bytes.storeBytes(of: UInt32(2).littleEndian, toByteOffset: 4, as: UInt32.self)
            bytes.storeBytes(of: size.littleEndian, toByteOffset: 8, as: Int64.self)
        }
    }
    if mode & 3 == 1, bytes.count >= 76 { setChecksum(of: 0..<72, at: 72, &bytes) }
    if mode & 1 != 0, bytes.count >= 4 { setChecksum(of: 0..<bytes.count - 4, at: bytes.count - 4, &bytes) }
    if mode & 2 != 0 { return try loadMeta(bytes, directory) }

    if mode & 8 != 0 { return try loadGaps(bytes, sought, directory) }
    let path = SegmentIndex.path(segment)
    try write(bytes, to: path)
    try write(golden, to: segment.path)
    defer {
        try? AtomicFile.remove(path)
        try? AtomicFile.remove(segment.path)
    }
    if let index = SegmentIndex.load(segment, size: size) {
        for entry in index.entries.prefix(8) { _ = index.position(of: entry.offset) }
        _ = index.position(of: sought)
        _ = index.position(atOrAfter: sought)
        try index.save(segment, as: bytes)
    }
    // Whatever an index says, a reader does not trap.
    for offset in [0, sought & .max] {
        guard var reader = try? LogReader(directory, from: offset) else { continue }
        while let batch = try? reader.next() { batch.forEach { _ = $0.offset } }
    }
    _ = try? LogDirectory.offset(directory, atOrAfter: sought)
}

private func loadGaps(_ bytes: [UInt8], _ sought: Int64, _ directory: FilePath) throws(FuzzFailure) {
    let path = LogGaps.path(directory)
    try write(bytes, to: path)
    defer { try? AtomicFile.remove(path) }
    guard var gaps = try? LogGaps.load(directory) else { return }
    try? gaps.save(directory)
    let saved = try? AtomicFile.read(path, limit: .max)
    try FuzzFailure.unless(saved == bytes, "a manifest is saved as it was read")
    let first = sought & 0xFFFF
    let gap = LogGap(offsets: first..<first + 9, segment: 0, position: 0, byteCount: 0, repaired: 0)
    gaps.insert(gap)
    try FuzzFailure.unless(gaps.covers(gap.offsets), "what is added is covered")
    let isAscending = zip(gaps.entries, gaps.entries.dropFirst()).allSatisfy {
        $0.offsets.upperBound <= $1.offsets.lowerBound
    }
    try FuzzFailure.unless(isAscending, "gaps are apart")
}

private func loadMeta(_ bytes: [UInt8], _ directory: FilePath) throws(FuzzFailure) {
    let path = LogMeta.path(directory)
    try write(bytes, to: path)
    defer { try? AtomicFile.remove(path) }
    guard let meta = try? LogMeta.load(directory) else { return }
    try? meta.save(directory)
    let saved = try? AtomicFile.read(path, limit: .max)
    try FuzzFailure.unless(saved == bytes, "log.meta \(meta.idText) is saved as it was read")
}

extension SegmentIndex {
    fileprivate func save(_ segment: Segment, as bytes: [UInt8]) throws(FuzzFailure) {
        try? save(segment)
        let saved = try? AtomicFile.read(SegmentIndex.path(segment), limit: .max)
        try FuzzFailure.unless(saved == bytes, "an index is saved as it was read")
    }
}

/// A segment of three batches for the index to speak of.
private let golden: [UInt8] = {
    guard let scratch = try? ScratchDirectory() else { return [] }
    let directory = scratch.path
    let configuration = LogConfiguration(fsync: .never, indexIntervalBytes: 64)
    guard let writer = try? LogWriter.open(directory, configuration: configuration, initialGeneration: 1)
    else {
        return []
    }
    for number in 0..<3 {
        var batch = RecordBatchBuilder()
        for _ in 0...number { batch.append(type: 1) { $0.append(contentsOf: Array("record".utf8)) } }
        _ = try? writer.append(batch, position: [], timestampMilliseconds: Int64(number))
    }
    return (try? AtomicFile.read(Segment(baseOffset: 0, directory: directory).path, limit: .max)) ?? []
}()
