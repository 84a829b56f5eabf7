import LZ4
public import SystemPackage

/// Takes content out of a log that nobody writes, without moving an offset.
///
/// Segment by segment a new file takes the old one's place, so a crash leaves each either old or new. Batches
/// keep their offsets, times, generations and positions.
public enum LogRewrite {
    /// What stands in a record's place; of a type that takes an offset where the record's own does.
    public struct Replacement: Sendable {
        public var type: UInt8
        public var payload: [UInt8]

        public init(type: UInt8, payload: [UInt8] = []) {
            self.type = type
            self.payload = payload
        }
    }

    /// Replaces every record for which `replacement` gives something else; segments without one stay as they are.
    ///
    /// Throws `.locked` where a process writes the log, `.corrupt` for damage: nothing of that segment is changed.
    public static func replace(
        in directory: FilePath, _ replacement: (LogRecord) -> Replacement?
    ) throws(LogError) {
        let lock = try LogLock(directory)
        let codec: LZ4Frame
        do {
            codec = try LZ4Frame()
        } catch {
            throw LogError(code: .io, message: "\(error)")
        }
        for segment in try Segment.list(directory) {
            guard let bytes = try rewritten(segment, codec, replacement) else { continue }
            // Its positions would be wrong; a reader does without, and the next writer makes it anew.
            try AtomicFile.remove(SegmentIndex.path(segment))
            try AtomicFile.replace(segment.path, with: bytes)
        }
        withExtendedLifetime(lock) {}
    }

    /// The segment's new content; `nil` where nothing in it is replaced.
    private static func rewritten(
        _ segment: Segment, _ codec: LZ4Frame, _ replacement: (LogRecord) -> Replacement?
    ) throws(LogError) -> [UInt8]? {
        let file = try LogFile(segment.path, .read)
        let size = try file.size
        var output: [UInt8] = []
        var position: Int64 = 0
        var isChanged = false
        while position < size {
            guard case .batch(let header) = try Segment.header(file, at: position, size: size) else {
                throw LogError(
                    code: .corrupt, message: "no whole batch is here", file: segment.path.string,
                    position: position)
            }
            let batch = try segment.batch(file, header, at: position, from: 0, codec: codec)
            if let records = try replaced(batch, replacement) {
                try append(records, header, codec, to: &output)
                isChanged = true
            } else {
                output += try file.read(at: position, count: Int(header.totalLength))
            }
            position += header.totalLength
        }
        return isChanged ? output : nil
    }

    private static func replaced(
        _ batch: RecordBatch, _ replacement: (LogRecord) -> Replacement?
    ) throws(LogError) -> RecordBatchBuilder? {
        var builder = RecordBatchBuilder()
        var isChanged = false
        batch.forEach { record in
            if let new = replacement(record) {
                builder.append(type: new.type) { $0 += new.payload }
                isChanged = true
            } else {
                builder.append(type: record.type) { $0 += record.payload }
            }
        }
        guard builder.offsetCount == Int(batch.lastOffset - batch.baseOffset + 1) else {
            throw LogError(code: .invalidArgument, message: "a replacement would move the offsets behind it")
        }
        return isChanged ? builder : nil
    }

    private static func append(
        _ records: RecordBatchBuilder, _ old: BatchHeader, _ codec: LZ4Frame, to output: inout [UInt8]
    ) throws(LogError) {
        var header = old
        header.count = UInt32(records.count)
        header.rawLength = UInt32(records.byteCount)
        do {
            try header.write(records.bytes, codec, to: &output)
        } catch {
            throw LogError(code: .io, message: "compression failed: \(error)")
        }
    }
}
