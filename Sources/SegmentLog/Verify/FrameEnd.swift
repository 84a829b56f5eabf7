extension Segment {
    private static let frameMagic: UInt32 = 0x184D_2204
    private static let largestBlock: UInt32 = 4 << 20

    /// Where the LZ4 frame at a position ends, by the lengths of its blocks; `nil` where none begins there, or it does not
    /// end before `size`. What is in the blocks is not looked at.
    static func frameEnd(_ file: LogFile, at start: Int64, size: Int64) throws(LogError) -> Int64? {
        func word(_ position: Int64) throws(LogError) -> UInt32? {
            let bytes = try file.read(at: position, count: 4)
            guard bytes.count == 4 else { return nil }
            return bytes.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)) }
        }
        guard try word(start) == frameMagic, let descriptor = try word(start + 4) else { return nil }
        let flags = UInt8(truncatingIfNeeded: descriptor)
        guard flags >> 6 == 1 else { return nil }
        let hasBlockChecksums = flags & 0x10 != 0
        // Magic, flags, block size, content size, dictionary, checksum of the descriptor.
        var position = start + 7 + (flags & 0x08 != 0 ? 8 : 0) + (flags & 0x01 != 0 ? 4 : 0)
        while position < size, let block = try word(position) {
            position += 4
            if block == 0 {
                position += flags & 0x04 != 0 ? 4 : 0
                return position <= size ? position : nil
            }
            let length = block & 0x7FFF_FFFF
            guard length <= largestBlock else { return nil }
            position += Int64(length) + (hasBlockChecksums ? 4 : 0)
        }
        return nil
    }
}
