import CZlib

/// Why bytes are no gzip or zlib data, or more than was allowed.
public struct GzipError: Error, Hashable, CustomStringConvertible {
    public var description: String
}

/// Reads what gzip and zlib have compressed.
public enum Gzip {
    /// 15: the largest window; 32: gzip or zlib, whichever the header says.
    private static let anyHeader: Int32 = 15 + 32
    private static let largestChunk = 64 << 10

    /// Whether the bytes begin like a gzip file (RFC 1952), or like a zlib stream (RFC 1950) of the fastest, the usual or
    /// the best compression. One of the level between would be the text `x^`.
    public static func isHeader(_ bytes: [UInt8]) -> Bool {
        [[0x1f, 0x8b], [0x78, 0x01], [0x78, 0x9c], [0x78, 0xda]].contains(Array(bytes.prefix(2)))
    }

    /// The content of all members of a gzip file, or of one zlib stream.
    ///
    /// Throws `GzipError` for bytes that are neither, that end early, or that hold more than `limit` bytes.
    public static func decompress(_ bytes: [UInt8], atMost limit: Int) throws(GzipError) -> [UInt8] {
        var stream = z_stream()
        guard
            inflateInit2_(&stream, anyHeader, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
        else { throw GzipError(description: "out of memory for decompression") }
        defer { inflateEnd(&stream) }
        // Most znodes are small: as much room as what is compressed usually needs.
        let chunk = min(max(4 * bytes.count, 256), largestChunk)
        var output: [UInt8] = []
        let status = bytes.withUnsafeBufferPointer { input in
            // zlib reads it only; its type says otherwise for programs of old.
            stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            stream.avail_in = UInt32(clamping: input.count)
            return inflateAll(&stream, into: &output, chunk: chunk, atMost: limit)
        }
        guard status == Z_STREAM_END, stream.avail_in == 0 else {
            throw GzipError(
                description: output.count > limit
                    ? "more than \(limit) bytes when decompressed" : "not valid gzip or zlib data")
        }
        return output
    }

    private static func inflateAll(
        _ stream: inout z_stream, into output: inout [UInt8], chunk: Int, atMost limit: Int
    ) -> Int32 {
        while true {
            let start = output.count
            output.append(contentsOf: repeatElement(0, count: chunk))
            let status = output.withUnsafeMutableBufferPointer { output in
                stream.next_out = output.baseAddress.map { $0 + start }
                stream.avail_out = UInt32(chunk)
                return inflate(&stream, Z_NO_FLUSH)
            }
            output.removeLast(Int(stream.avail_out))
            if output.count > limit { return Z_MEM_ERROR }
            switch status {
            case Z_STREAM_END where stream.avail_in > 0:
                // A further member.
                guard inflateReset(&stream) == Z_OK else { return Z_STREAM_ERROR }
            case Z_OK where output.count > start || stream.avail_in > 0:
                continue
            case Z_OK:
                return Z_BUF_ERROR
            default:
                return status
            }
        }
    }
}
