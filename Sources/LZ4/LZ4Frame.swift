import CLZ4

/// What went wrong with a frame.
public struct LZ4Error: Error, Hashable, CustomStringConvertible {
    public var description: String
}

/// Compresses and decompresses LZ4 frames (the format of the `lz4` program), each with a content checksum.
/// The contexts are reused; one instance belongs to one owner.
public final class LZ4Frame {
    /// No byte of a frame stands for more: a length is continued 255 at a time.
    private static let largestRatio = 255

    private let compression: OpaquePointer
    private let decompression: OpaquePointer

    public init() throws(LZ4Error) {
        var compression: OpaquePointer?
        var decompression: OpaquePointer?
        LZ4F_createCompressionContext(&compression, UInt32(LZ4F_VERSION))
        LZ4F_createDecompressionContext(&decompression, UInt32(LZ4F_VERSION))
        guard let compression, let decompression else {
            LZ4F_freeCompressionContext(compression)
            LZ4F_freeDecompressionContext(decompression)
            throw LZ4Error(description: "out of memory for an LZ4 context")
        }
        self.compression = compression
        self.decompression = decompression
    }

    deinit {
        LZ4F_freeCompressionContext(compression)
        LZ4F_freeDecompressionContext(decompression)
    }

    /// Appends one frame that holds `content`.
    public func compress(_ content: [UInt8], appendingTo output: inout [UInt8]) throws(LZ4Error) {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled
        preferences.frameInfo.contentSize = UInt64(content.count)
        let start = output.count
        let bound = LZ4F_compressFrameBound(content.count, &preferences)
        output.append(contentsOf: repeatElement(0, count: bound))
        let written = output.withUnsafeMutableBytes { output in
            content.withUnsafeBytes { content in
                LZ4F_compressFrame(
                    output.baseAddress.map { $0 + start }, bound, content.baseAddress, content.count,
                    &preferences)
            }
        }
        output.removeLast(output.count - start - (LZ4F_isError(written) == 0 ? written : 0))
        try LZ4Frame.check(written)
    }

    /// The content of a frame that must be exactly `bytes` and hold exactly `count` bytes.
    public func decompress(_ bytes: UnsafeRawBufferPointer, count: Int) throws(LZ4Error) -> [UInt8] {
        guard count <= bytes.count * LZ4Frame.largestRatio else {
            throw LZ4Error(description: "\(bytes.count) bytes cannot hold a content of \(count)")
        }
        LZ4F_resetDecompressionContext(decompression)
        var content = [UInt8](repeating: 0, count: count)
        var read = 0
        var filled = 0
        var hint = 1
        while hint != 0 {
            var sourceSize = bytes.count - read
            var targetSize = count - filled
            hint = content.withUnsafeMutableBytes { content in
                LZ4F_decompress(
                    decompression, content.baseAddress.map { $0 + filled }, &targetSize,
                    bytes.baseAddress.map { $0 + read }, &sourceSize, nil)
            }
            try LZ4Frame.check(hint)
            read += sourceSize
            filled += targetSize
            if hint != 0, sourceSize == 0, targetSize == 0 {
                throw LZ4Error(description: "the frame ends early or holds more than it should")
            }
        }
        guard read == bytes.count, filled == count else {
            throw LZ4Error(description: "the frame has another length than its header says")
        }
        return content
    }

    /// Whether the bytes begin like an LZ4 frame.
    public static func isHeader(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0x04, 0x22, 0x4d, 0x18]) }

    /// The content of one frame of anybody's, whose length is not known.
    ///
    /// Throws for bytes that are no whole frame, and for content of more than `limit` bytes.
    public func decompress(_ bytes: [UInt8], atMost limit: Int) throws(LZ4Error) -> [UInt8] {
        LZ4F_resetDecompressionContext(decompression)
        // Most znodes are small: as much room as what is compressed usually needs.
        let chunk = min(max(4 * bytes.count, 256), LZ4Frame.largestChunk)
        var content: [UInt8] = []
        var read = 0
        var hint = 1
        while hint != 0 {
            let filled = content.count
            content.append(contentsOf: repeatElement(0, count: chunk))
            var sourceSize = bytes.count - read
            var targetSize = chunk
            hint = content.withUnsafeMutableBytes { content in
                bytes.withUnsafeBytes { bytes in
                    LZ4F_decompress(
                        decompression, content.baseAddress.map { $0 + filled }, &targetSize,
                        bytes.baseAddress.map { $0 + read }, &sourceSize, nil)
                }
            }
            try LZ4Frame.check(hint)
            read += sourceSize
            content.removeLast(chunk - targetSize)
            if content.count > limit {
                throw LZ4Error(description: "more than \(limit) bytes when decompressed")
            }
            if hint != 0, sourceSize == 0, targetSize == 0 {
                throw LZ4Error(description: "the frame ends early")
            }
        }
        guard read == bytes.count else { throw LZ4Error(description: "there are bytes behind the frame") }
        return content
    }

    private static let largestChunk = 64 << 10

    private static func check(_ code: Int) throws(LZ4Error) {
        if LZ4F_isError(code) != 0 { throw LZ4Error(description: String(cString: LZ4F_getErrorName(code))) }
    }
}
