/// One of the 16,384 parts into which a cluster divides its keys. Source:
/// redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec (key distribution model, hash tags).
public struct HashSlot: Sendable, Hashable, Comparable, CustomStringConvertible {
    public static let count = 16_384

    public static var all: some Sequence<HashSlot> & Sendable {
        (0..<count).lazy.map { HashSlot(unchecked: $0) }
    }

    public let number: Int

    /// `nil` beyond 0…16383.
    public init?(_ number: Int) {
        guard (0..<HashSlot.count).contains(number) else { return nil }
        self.number = number
    }

    /// The slot of a key: the CRC16 of its hash tag, which is what stands between the first `{` and the next
    /// `}` where that is not empty, or else of the whole key.
    public init(of key: [UInt8]) {
        self.init(unchecked: key.withUnsafeBytes { HashSlot.number($0) })
    }

    /// The same, of the key's UTF-8.
    public init(of key: String) {
        var key = key
        self.init(unchecked: key.withUTF8 { HashSlot.number(UnsafeRawBufferPointer($0)) })
    }

    private init(unchecked number: Int) {
        self.number = number
    }

    /// The smallest number whose decimal digits, as a hash tag, lead to the slot: a key of the name
    /// `any{tag}thing` lies in it.
    public static func tag(for slot: HashSlot) -> Int {
        Int(tags[slot.number])
    }

    public static func < (left: HashSlot, right: HashSlot) -> Bool { left.number < right.number }

    public var description: String { "\(number)" }

    // MARK: Computed

    private static func number(_ key: UnsafeRawBufferPointer) -> Int {
        guard let open = key.firstIndex(of: UInt8(ascii: "{")) else { return checksum(key) % count }
        let behind = key[(open + 1)...]
        guard let close = behind.firstIndex(of: UInt8(ascii: "}")), close > open + 1 else {
            return checksum(key) % count
        }
        return checksum(UnsafeRawBufferPointer(rebasing: behind[..<close])) % count
    }

    /// CRC16/XMODEM: polynomial 0x1021, starting with 0.
    private static func checksum(_ bytes: UnsafeRawBufferPointer) -> Int {
        table.withUnsafeBufferPointer { table in
            var sum: UInt16 = 0
            for byte in bytes { sum = sum << 8 ^ table[Int(sum >> 8 ^ UInt16(byte))] }
            return Int(sum)
        }
    }

    private static let table: [UInt16] = (0..<256).map { byte in
        (0..<8).reduce(UInt16(byte) << 8) { sum, _ in sum & 0x8000 == 0 ? sum << 1 : sum << 1 ^ 0x1021 }
    }

    /// By slot. Every slot is reached by a number of at most 109,757.
    private static let tags: [Int32] = {
        var tags = [Int32](repeating: -1, count: count)
        var missing = count
        var candidate: Int32 = 0
        while missing > 0 {
            let slot = HashSlot(of: "\(candidate)").number
            if tags[slot] < 0 {
                tags[slot] = candidate
                missing -= 1
            }
            candidate += 1
        }
        return tags
    }()
}
