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
    static let damageAdvice =
        "restore the segment from a backup, or move the log away: the next run reads and delivers every node anew"

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
        guard bytes.count == BatchHeader.byteCount else { return .broken("a batch header that ends early") }
        do {
            let header = try BatchHeader(bytes)
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
    static func batch(
        _ file: LogFile, _ header: BatchHeader, at position: Int64, from start: Int64, codec: LZ4Frame,
        limit: Int
    ) throws(LogError) -> RecordBatch {
        func damaged(_ message: String) -> LogError {
            LogError(
                code: .corrupt,
                message: "\(message) (batch of offsets \(header.baseOffset) to \(header.lastOffset)); "
                    + "\(Segment.damageAdvice)",
                file: file.path.string, position: position)
        }
        guard Int(header.rawLength) <= limit else { throw damaged("the batch is larger than \(limit) bytes") }
        let frame = try file.read(at: position + Int64(BatchHeader.byteCount), count: Int(header.frameLength))
        guard frame.count == Int(header.frameLength),
            frame.withUnsafeBytes({ CRC32C.checksum($0) }) == header.frameChecksum
        else { throw damaged("the checksum of the batch is wrong") }
        do {
            let content = try frame.withUnsafeBytes { bytes throws(LZ4Error) in
                try codec.decompress(bytes, count: Int(header.rawLength))
            }
            return try RecordBatch(header, bytes: content, from: start)
        } catch let error as LZ4Error {
            throw damaged("the batch cannot be decompressed: \(error)")
        } catch let error as LogError {
            throw damaged(error.message)
        } catch {
            throw damaged("\(error)")
        }
    }

    /// Whether a whole batch lies anywhere behind a position: then what lies there is damage, not a torn tail.
    static func hasBatch(_ file: LogFile, behind position: Int64, size: Int64) throws(LogError) -> Bool {
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
                    case .batch = try header(file, at: start + Int64(index), size: size)
                {
                    return true
                }
                index += 1
            }
            start += Int64(chunk)
        }
        return false
    }
}
