import CZstd

/// Why bytes are no zstd data, or more than was allowed.
public struct ZstdError: Error, Hashable, CustomStringConvertible {
    public var description: String
}

/// Reads what zstd (RFC 8878) has compressed.
public enum Zstd {
    private static let largestChunk = 64 << 10
    /// What a header may say instead of a size: `ZSTD_CONTENTSIZE_ERROR` and `_UNKNOWN`.
    private static let firstNoSize = UInt64.max - 1

    /// Whether the bytes begin like a zstd frame.
    public static func isHeader(_ bytes: [UInt8]) -> Bool { isFrame(bytes[...]) }

    /// The content of all frames; those that zstd skips are skipped.
    ///
    /// The decoder's window is bounded by `limit`, too, rounded down to a power of two: so is its memory, whatever a header
    /// asks for.
    ///
    /// Throws `ZstdError` for bytes that are no frames, that are damaged or end early, that hold more than `limit` bytes, and
    /// that need a larger window.
    public static func decompress(_ bytes: [UInt8], atMost limit: Int) throws(ZstdError) -> [UInt8] {
        guard let context = ZSTD_createDCtx() else {
            throw ZstdError(description: "out of memory for decompression")
        }
        defer { ZSTD_freeDCtx(context) }
        let bounds = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax)
        let windowLog = min(
            max(Int32(Int.bitWidth - 1 - max(limit, 1).leadingZeroBitCount), bounds.lowerBound),
            bounds.upperBound)
        try check(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, windowLog), windowLog)
        // Most znodes are small: as much room as what is compressed usually needs.
        var chunk = [UInt8](repeating: 0, count: min(max(4 * bytes.count, 256), largestChunk))
        var content: [UInt8] = []
        var read = 0
        // What the frame still needs, about; 0: it is whole.
        var hint = 0
        repeat {
            if hint == 0 { try checkHeader(bytes[read...], atMost: limit - content.count, of: limit) }
            var consumed = 0
            var produced = 0
            hint = chunk.withUnsafeMutableBytes { chunk in
                bytes.withUnsafeBytes { bytes in
                    var output = ZSTD_outBuffer(dst: chunk.baseAddress, size: chunk.count, pos: 0)
                    var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: read)
                    let hint = ZSTD_decompressStream(context, &output, &input)
                    (consumed, produced) = (input.pos - read, output.pos)
                    return hint
                }
            }
            try check(hint, windowLog)
            read += consumed
            guard content.count + produced <= limit else { throw tooLarge(limit) }
            content.append(contentsOf: chunk[..<produced])
            if hint != 0, consumed == 0, produced == 0 {
                throw ZstdError(description: "the frame ends early")
            }
        } while hint != 0 || read < bytes.count
        return content
    }

    /// A frame that says how much it holds is refused before it is read. The library would read frames of zstd before 0.8,
    /// too, by decoders that nobody keeps.
    private static func checkHeader(
        _ frame: ArraySlice<UInt8>, atMost rest: Int, of limit: Int
    ) throws(ZstdError) {
        guard isFrame(frame) || isSkippable(frame) else {
            throw ZstdError(
                description: frame.startIndex == 0
                    ? "the data does not begin like a zstd frame" : "there are bytes behind the frame")
        }
        let size = frame.withUnsafeBytes { ZSTD_getFrameContentSize($0.baseAddress, $0.count) }
        if size < firstNoSize, size > rest { throw tooLarge(limit) }
    }

    private static func isFrame(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.starts(with: [0x28, 0xb5, 0x2f, 0xfd])
    }

    private static func isSkippable(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let first = bytes.first else { return false }
        return first & 0xf0 == 0x50 && bytes.dropFirst().starts(with: [0x2a, 0x4d, 0x18])
    }

    private static func tooLarge(_ limit: Int) -> ZstdError {
        ZstdError(description: "more than \(limit) bytes when decompressed")
    }

    private static func check(_ code: Int, _ windowLog: Int32) throws(ZstdError) {
        guard ZSTD_isError(code) != 0 else { return }
        if ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge {
            throw ZstdError(
                description: "the frame asks for a window of more than \(1 << windowLog) bytes "
                    + "(compress with level 19 or less and without --long)")
        }
        throw ZstdError(description: String(cString: ZSTD_getErrorName(code)))
    }
}
