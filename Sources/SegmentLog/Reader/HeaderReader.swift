/// Looks at the batch headers of a segment one after the other. Where batches are small many of them come with one
/// read. The file may be written meanwhile: what is no whole header is read again before it is told of.
struct HeaderReader {
    let file: LogFile
    /// Where the next header belongs.
    var position: Int64

    private var buffer: [UInt8] = []
    private var bufferStart: Int64 = 0
    private var lastLength = Int64.max

    private static let chunk = 64 << 10
    /// Batches up to this size are read together with what follows them.
    private static let smallBatch: Int64 = 8 << 10

    init(_ file: LogFile, at position: Int64 = 0) {
        self.file = file
        self.position = position
    }

    /// What begins at the position, which stays; `size` is where the file ends.
    mutating func look(size: Int64) throws(LogError) -> Segment.Look {
        guard position < size else { return .end }
        let start = position - bufferStart
        if start >= 0, start <= Int64(buffer.count - BatchHeader.byteCount),
            case .batch(let header) = try look(at: Int(start), size: size)
        {
            return .batch(header)
        }
        let isSmall = lastLength <= HeaderReader.smallBatch
        buffer = try file.read(at: position, count: isSmall ? HeaderReader.chunk : BatchHeader.byteCount)
        bufferStart = position
        return try look(at: 0, size: size)
    }

    private mutating func look(at start: Int, size: Int64) throws(LogError) -> Segment.Look {
        let look = try Segment.look(buffer, from: start, file, at: position, size: size)
        if case .batch(let header) = look { lastLength = header.totalLength }
        return look
    }
}
