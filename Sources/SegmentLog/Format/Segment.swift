import LZ4
import SystemPackage

/// One segment file and the ways through it.
struct Segment {
    let baseOffset: Int64
    let directory: FilePath

    static func name(_ offset: Int64, _ suffix: String) -> String {
        let digits = String(offset)
        return String(repeating: "0", count: max(0, 20 - digits.count)) + digits + suffix
    }

    /// What a person can do about damage.
    var damageAdvice: String {
        "restore the segment from a backup, or run `millrace log repair \(directory)`, which sets the damaged bytes aside "
            + "and says which offsets are gone"
    }

    var path: FilePath { directory.appending(Segment.name(baseOffset, ".lz4")) }

    /// `nil` where retention has removed it since it was listed.
    func open() throws(LogError) -> LogFile? {
        do {
            return try LogFile(path, .read)
        } catch  where error.code == .notFound {
            return nil
        }
    }

    /// The base offsets of the segments in a directory, ascending.
    static func list(_ directory: FilePath) throws(LogError) -> [Segment] {
        try AtomicFile.names(in: directory).compactMap { name in
            guard name.count == 24, name.hasSuffix(".lz4"), let offset = Int64(name.dropLast(4)),
                (0...BatchHeader.offsetBound).contains(offset)
            else {
                return nil
            }
            return Segment(baseOffset: offset, directory: directory)
        }.sorted { $0.baseOffset < $1.baseOffset }
    }

    enum Look {
        case batch(BatchHeader)
        /// The file ends here.
        case end
        /// What follows is no whole batch.
        case broken(String)
    }

    /// What begins at a position; `size` is where the file ends.
    static func header(_ file: LogFile, at position: Int64, size: Int64) throws(LogError) -> Look {
        guard position < size else { return .end }
        let bytes = try file.read(at: position, count: BatchHeader.byteCount)
        return try look(bytes, from: 0, file, at: position, size: size)
    }

    /// The same of bytes that have been read; `start` is the index of those at the position.
    static func look(
        _ bytes: [UInt8], from start: Int, _ file: LogFile, at position: Int64, size: Int64
    ) throws(LogError) -> Look {
        guard bytes.count - start >= BatchHeader.byteCount else {
            return .broken("a batch header that ends early")
        }
        do {
            let header = try BatchHeader(bytes, at: start)
            guard position + header.totalLength <= size else { return .broken("a batch that ends early") }
            return .batch(header)
        } catch {
            switch error {
            case .damaged(let message): return .broken(message)
            case .version(let version):
                throw LogError(
                    code: .unsupportedVersion,
                    message: "a batch of version \(version); this program knows version 1",
                    file: file.path.string, position: position)
            }
        }
    }

    /// The records of the batch at a position.
    func batch(
        _ file: LogFile, _ header: BatchHeader, at position: Int64, from start: Int64, codec: LZ4Frame
    ) throws(LogError) -> RecordBatch {
        switch try Segment.content(file, header, at: position, from: start, codec: codec) {
        case .success(let batch):
            return batch
        case .failure(let flaw):
            throw LogError(
                code: .corrupt,
                message: "\(flaw.message) (batch of offsets \(header.baseOffset) to \(header.lastOffset)); "
                    + damageAdvice,
                file: file.path.string, position: position)
        }
    }

    /// Why the records of a batch cannot be had.
    struct BatchFlaw: Error {
        var message: String
    }

    /// The records of the batch at a position, or what is wrong with them. Throws where the file cannot be read.
    static func content(
        _ file: LogFile, _ header: BatchHeader, at position: Int64, from start: Int64, codec: LZ4Frame
    ) throws(LogError) -> Result<RecordBatch, BatchFlaw> {
        guard Int(header.rawLength) <= LogReader.batchLimit else {
            return .failure(BatchFlaw(message: "the batch is larger than \(LogReader.batchLimit) bytes"))
        }
        let frame = try file.read(at: position + Int64(BatchHeader.byteCount), count: Int(header.frameLength))
        guard frame.count == Int(header.frameLength),
            frame.withUnsafeBytes({ CRC32C.checksum($0) }) == header.frameChecksum
        else { return .failure(BatchFlaw(message: "the checksum of the batch is wrong")) }
        do {
            let content = try frame.withUnsafeBytes { bytes throws(LZ4Error) in
                try codec.decompress(bytes, count: Int(header.rawLength))
            }
            return .success(try RecordBatch(header, bytes: content, from: start))
        } catch let error as LZ4Error {
            return .failure(BatchFlaw(message: "the batch cannot be decompressed: \(error)"))
        } catch let error as LogError {
            return .failure(BatchFlaw(message: error.message))
        } catch {
            return .failure(BatchFlaw(message: "\(error)"))
        }
    }

    /// Whether a whole batch lies anywhere behind a position: then what lies there is damage, not a torn tail.
    static func hasBatch(_ file: LogFile, behind position: Int64, size: Int64) throws(LogError) -> Bool {
        try firstBatch(file, behind: position, size: size) { _ in true } != nil
    }

    /// The first whole batch behind a position that `isPlausible`.
    static func firstBatch(
        _ file: LogFile, behind position: Int64, size: Int64, where isPlausible: (BatchHeader) -> Bool
    ) throws(LogError) -> (position: Int64, header: BatchHeader)? {
        let chunk = 1 << 20
        var start = position + 1
        while start < size {
            let bytes = try file.read(at: start, count: chunk + 16)
            var index = 0
            while index + 12 <= bytes.count, index < chunk {
                if bytes[index] == 0x5D,
                    bytes.withUnsafeBytes({
                        BatchHeader.looksLikeStart(UnsafeRawBufferPointer(rebasing: $0[index...]))
                    }),
                    case .batch(let header) = try header(file, at: start + Int64(index), size: size),
                    isPlausible(header)
                {
                    return (start + Int64(index), header)
                }
                index += 1
            }
            start += Int64(chunk)
        }
        return nil
    }
}
