/// Values on their way between the program and its worker: what `JQDecoder` reads.
///
/// A value is a tag and what belongs to it; numbers are little-endian: a double for a number, 32 bits for the length of a
/// text or the count of items or members, which follow. A member is its name (length, bytes) and its value. Both ends are
/// the same program, so there is no version.
public struct JQEncoder: Sendable {
    enum Tag: UInt8 {
        case null, `false`, `true`, number, text, array, object
    }

    /// A frame: what is known of it last stands in front.
    var bytes: [UInt8]

    public init() {
        self.init(header: JQFrame.runHeader)
    }

    init(header: Int) {
        bytes = []
        bytes.reserveCapacity(512)
        bytes.append(contentsOf: repeatElement(0, count: header))
    }

    public mutating func appendNull() { append(.null) }

    public mutating func append(_ flag: Bool) { append(flag ? Tag.true : .false) }

    public mutating func append(_ number: Double) {
        append(.number)
        appendInteger(number.bitPattern)
    }

    public mutating func append(_ text: String) {
        append(.text)
        append(name: text)
    }

    /// As many values have to follow.
    public mutating func appendArray(count: Int) {
        append(.array)
        appendInteger(UInt32(clamping: count))
    }

    /// As many names, each with its value behind it, have to follow.
    public mutating func appendObject(count: Int) {
        append(.object)
        appendInteger(UInt32(clamping: count))
    }

    public mutating func append(name: String) {
        var name = name
        name.withUTF8 { append(bytes: UnsafeRawBufferPointer($0)) }
    }

    mutating func append(bytes: UnsafeRawBufferPointer) {
        appendInteger(UInt32(clamping: bytes.count))
        self.bytes.append(contentsOf: bytes)
    }

    mutating func append(_ tag: Tag) { bytes.append(tag.rawValue) }

    private mutating func appendInteger(_ integer: some FixedWidthInteger) {
        withUnsafeBytes(of: integer.littleEndian) { bytes.append(contentsOf: $0) }
    }
}
