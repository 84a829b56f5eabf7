import LZ4
import SystemPackage

@testable import SegmentLog

/// A segment file: recovery of its tail, reading, searching, writing on.
///
/// The first byte: 1 the checksums are made right, since nothing else is read behind them; 2 the rest is the content
/// of a batch, which gets a frame and a header; 4 the rest is an LZ4 frame alone; 8 a writer opens the log; 16 the
/// segment's first offset comes first, else it is 0.
func fuzzSegment(_ input: inout FuzzInput, _ directory: FilePath) throws(FuzzFailure) {
    let mode = input.byte()
    guard let codec = try? LZ4Frame() else { throw FuzzFailure(description: "there is memory for a codec") }
    if mode & 4 != 0 { return try decompress(&input, codec) }
    let base = mode & 16 == 0 ? 0 : input.number() & BatchHeader.offsetBound
    var bytes = mode & 2 == 0 ? input.takeAll() : built(&input, base, codec)
    if mode & 1 != 0 { repairChecksums(&bytes) }

    let segment = Segment(baseOffset: base, directory: directory)
    try write(bytes, to: segment.path)
    defer { try? AtomicFile.remove(segment.path) }
    let end = try recover(segment, size: Int64(bytes.count), codec)
    let read = readAll(directory, from: base)
    _ = readAll(directory, from: base + 2)
    _ = try? LogDirectory.endOffset(directory)
    _ = try? LogDirectory.offset(directory, atOrAfter: 1_700_000_000_100)
    _ = try? segment.scan(indexInterval: 64)
    try verify(directory, isWhole: end != nil)
    if let end {
        try FuzzFailure.unless(read == end, "a reader gets to where recovery does: \(read as Any), \(end)")
    }
    if mode & 8 != 0 { try writeOn(directory, end: end) }
}

/// What recovery takes for whole is sound, and a repair leaves nothing damaged.
private func verify(_ directory: FilePath, isWhole: Bool) throws(FuzzFailure) {
    guard let found = try? LogVerification.run(directory, inspect: { _ in nil }) else {
        throw FuzzFailure(description: "a log can be verified, whatever is in it")
    }
    let damage = found.segments.flatMap(\.damage)
    if isWhole { try FuzzFailure.unless(damage.isEmpty, "what is whole is sound: \(damage)") }
    _ = LogRepair.preview(found, now: 0)
}

/// The end of the log, where the file is whole.
private func recover(_ segment: Segment, size: Int64, _ codec: LZ4Frame) throws(FuzzFailure) -> Int64? {
    guard let file = try? LogFile(segment.path, .read),
        let tail = try? TailRecovery(
            file, segment, gaps: LogGaps(), indexInterval: 64, codec: codec)
    else { return nil }
    try FuzzFailure.unless(
        tail.index.size + tail.tornBytes == size && tail.tornBytes >= 0, "what is not torn is whole")
    return tail.tornBytes == 0 ? tail.nextOffset : nil
}

/// The offset that reading ends at; `nil` where it fails.
private func readAll(_ directory: FilePath, from start: Int64) -> Int64? {
    guard var reader = try? LogReader(directory, from: start) else { return nil }
    do throws(LogError) {
        while let batch = try reader.next() { batch.forEach { _ = ($0.offset, $0.payload.count) } }
        return reader.nextOffset
    } catch {
        return nil
    }
}

/// What an open has taken for whole stays so when more is appended.
private func writeOn(_ directory: FilePath, end: Int64?) throws(FuzzFailure) {
    defer {
        for name in (try? AtomicFile.names(in: directory)) ?? [] {
            try? AtomicFile.remove(directory.appending(name))
        }
    }
    let meta = LogMeta(
        id: [UInt8](repeating: 7, count: 16), generations: [Generation(number: 1, firstOffset: 0)])
    try? meta.save(directory)
    let configuration = LogConfiguration(
        segmentBytes: 64, fsync: .never, indexIntervalBytes: 64, retention: Retention(ageMilliseconds: 1000))
    guard let writer = try? LogWriter.open(directory, configuration: configuration, initialGeneration: 1)
    else {
        return
    }
    if let end { try FuzzFailure.unless(writer.nextOffset == end, "a writer begins where recovery ends") }
    let start = writer.startOffset
    var batch = RecordBatchBuilder()
    batch.append(type: 1) { $0.append(1) }
    guard let offsets = try? writer.append(batch, position: [1], timestampMilliseconds: 5) else { return }
    let read = readAll(directory, from: start)
    _ = try? writer.enforceRetention(nowMilliseconds: 1_700_000_000_000, keeping: nil)
    try? writer.close()
    try FuzzFailure.unless(
        read == offsets.upperBound, "what was appended is read: \(read as Any), \(offsets)")
}

/// The first two bytes: the size that the content should have.
private func decompress(_ input: inout FuzzInput, _ codec: LZ4Frame) throws(FuzzFailure) {
    let count = Int(input.byte()) | Int(input.byte()) << 8
    let bytes = input.takeAll()
    guard let content = bytes.withUnsafeBytes({ try? codec.decompress($0, count: count) }) else { return }
    var again: [UInt8] = []
    try? codec.compress(content, appendingTo: &again)
    let same = again.withUnsafeBytes { try? codec.decompress($0, count: count) }
    try FuzzFailure.unless(same == content, "content survives compression")
}

/// A batch whose header says what the input does and whose frame is sound. Four bytes first: what the header adds to
/// the count, to the last offset and to the length of the content; the generation.
private func built(_ input: inout FuzzInput, _ base: Int64, _ codec: LZ4Frame) -> [UInt8] {
    let count = input.byte()
    let last = input.byte()
    let surplus = Int(Int8(bitPattern: input.byte()))
    let generation = input.byte()
    let content = input.takeAll()
    var bytes = [UInt8](repeating: 0, count: BatchHeader.byteCount)
    try? codec.compress(content, appendingTo: &bytes)
    let header = BatchHeader(
        generation: UInt16(generation), baseOffset: base,
        lastOffset: base + Int64(last) - 1, count: Int(count),
        rawLength: max(0, content.count + surplus), frameLength: bytes.count - BatchHeader.byteCount,
        timestamp: 1,
        position: [1, 2], frameChecksum: 0)
    header.write(to: &bytes, at: 0)
    repairChecksums(&bytes)
    return bytes
}

/// Gives every batch the checksums that its header and its frame have.
private func repairChecksums(_ bytes: inout [UInt8]) {
    var start = 0
    while start + BatchHeader.byteCount <= bytes.count {
        let (isBatch, length) = bytes.withUnsafeBytes { bytes in
            (
                BatchHeader.looksLikeStart(UnsafeRawBufferPointer(rebasing: bytes[start...])),
                Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start + 40, as: UInt32.self)))
            )
        }
        guard isBatch else {
            start += 1
            continue
        }
        let frame = start + BatchHeader.byteCount..<min(bytes.count, start + BatchHeader.byteCount + length)
        setChecksum(of: frame, at: start + 128, &bytes)
        setChecksum(of: start..<start + 132, at: start + 132, &bytes)
        start = max(frame.upperBound, start + BatchHeader.byteCount)
    }
}

/// Writes the CRC-32C of a range, little-endian.
func setChecksum(of range: Range<Int>, at place: Int, _ bytes: inout [UInt8]) {
    bytes.withUnsafeMutableBytes { bytes in
        let checksum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[range]))
        bytes.storeBytes(of: checksum.littleEndian, toByteOffset: place, as: UInt32.self)
    }
}
