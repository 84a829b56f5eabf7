/// Reads little-endian fields from bytes that may be damaged: every read is checked against the end.
public struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    public init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    public var isAtEnd: Bool { position == bytes.endIndex }
    public var remaining: Int { bytes.endIndex - position }

    public mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type
    ) throws(ChangeCodecError) -> T {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw ChangeCodecError("a record that ends inside a field") }
        let offset = position - bytes.startIndex
        let value = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
        position += size
        return T(littleEndian: value)
    }

    /// A field of bytes behind its 32-bit length.
    public mutating func countedBytes() throws(ChangeCodecError) -> ArraySlice<UInt8> {
        let count = Int(try integer(UInt32.self))
        guard count <= remaining else { throw ChangeCodecError("a record that ends inside a field") }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// A field of UTF-8 behind its 32-bit length.
    public mutating func countedString() throws(ChangeCodecError) -> String {
        let field = try countedBytes()
        do {
            return String(copying: try UTF8Span(validating: field.span))
        } catch {
            throw ChangeCodecError("a record whose text is not UTF-8")
        }
    }
}

extension [UInt8] {
    /// Appends an integer, little-endian.
    public mutating func appendInteger<T: FixedWidthInteger>(_ value: T) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    /// Appends a 32-bit length and the bytes.
    public mutating func appendCounted(_ bytes: some Collection<UInt8>) {
        appendInteger(UInt32(truncatingIfNeeded: bytes.count))
        append(contentsOf: bytes)
    }
}
