/// Reads values that came from the other end, which is not trusted: every byte and every count is checked.
public struct JQDecoder: Sendable {
    public enum Part: Sendable, Hashable {
        case null
        case boolean(Bool)
        case number(Double)
        case text(String)
        /// As many values follow.
        case array(count: Int)
        /// As many names follow, each with its value behind it.
        case object(count: Int)
    }

    private let bytes: [UInt8]
    private var position: Int
    /// How many values there may still be, without those that an array or object has announced.
    private var budget: Int
    private let maximumDepth: Int
    /// How many values each open array or object still lacks.
    private var missing: [Int] = []

    init(_ bytes: [UInt8], from position: Int, values budget: Int, depth: Int) {
        self.bytes = bytes
        self.position = position
        self.budget = budget
        maximumDepth = depth
    }

    /// Between two values: whether there is no further one.
    public var isAtEnd: Bool { position >= bytes.count }

    /// The next value; of an array or object its beginning. Throws `JQError` for what makes no sense.
    public mutating func next() throws(JQError) -> Part {
        switch try tag() {
        case .null: .null
        case .false: .boolean(false)
        case .true: .boolean(true)
        case .number: .number(try number())
        case .text: .text(try name())
        case .array: .array(count: try count())
        case .object: .object(count: try count())
        }
    }

    /// The name of a member.
    public mutating func name() throws(JQError) -> String {
        String(decoding: bytes[try textRange()], as: UTF8.self)
    }

    mutating func tag() throws(JQError) -> JQEncoder.Tag {
        while missing.last == 0 { missing.removeLast() }
        guard position < bytes.count, let tag = JQEncoder.Tag(rawValue: bytes[position]) else {
            throw JQDecoder.nonsense
        }
        if missing.isEmpty { try pay(1) } else { missing[missing.count - 1] -= 1 }
        position += 1
        return tag
    }

    private mutating func pay(_ values: Int) throws(JQError) {
        guard values <= budget, missing.count < maximumDepth else { throw JQDecoder.nonsense }
        budget -= values
    }

    mutating func number() throws(JQError) -> Double {
        Double(bitPattern: try integer(UInt64.self))
    }

    /// Of items or members. Paid at once, so that room for them can be made.
    mutating func count() throws(JQError) -> Int {
        let count = try length()
        try pay(count)
        missing.append(count)
        return count
    }

    /// Of what has a byte for each at least.
    private mutating func length() throws(JQError) -> Int {
        let length = Int(try integer(UInt32.self))
        guard length <= bytes.count - position else { throw JQDecoder.nonsense }
        return length
    }

    mutating func text<Result>(_ body: (UnsafeBufferPointer<CChar>) -> Result) throws(JQError) -> Result {
        let range = try textRange()
        return bytes.withUnsafeBytes { bytes in
            bytes[range].withMemoryRebound(to: CChar.self, body)
        }
    }

    private mutating func textRange() throws(JQError) -> Range<Int> {
        let count = try length()
        defer { position += count }
        return position..<position + count
    }

    private mutating func integer<Integer: FixedWidthInteger>(_: Integer.Type) throws(JQError) -> Integer {
        let size = MemoryLayout<Integer>.size
        guard size <= bytes.count - position else { throw JQDecoder.nonsense }
        defer { position += size }
        return Integer(
            littleEndian: bytes.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: position, as: Integer.self)
            })
    }

    static let nonsense = JQError(.failed, "jq's worker and this program do not understand each other")
}
