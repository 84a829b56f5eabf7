import Mapping

/// Which fields hashes were given last, as far as that is remembered: 1 MiB, whatever their number.
///
/// To replace a hash takes `DEL` and `HSET` as one, which in a cluster are four commands for each key. Where it has these
/// fields already, `HSET` alone does it; `HLEN` behind it proves that there is no other. So a wrong memory loses
/// nothing: the hash is replaced then, and was seen with a field too many until that.
struct HashShapes {
    private static let bits = 18
    /// By the lowest bits of a key's print: that of the key and its fields' names. 0 where nothing is known.
    private var prints = [UInt32](repeating: 0, count: 1 << bits)

    init() {}

    private init(_ prints: [UInt32]) { self.prints = prints }

    /// Holds the place of others; remembers nothing.
    static let none = HashShapes([])

    /// Notes the fields that a hash is given; returns whether it had them before.
    mutating func remember(_ key: Bytes, _ fields: FieldList) -> Bool {
        let own = HashShapes.print(of: key)
        var whole = own
        fields.forEachBytes { name, _ in whole.add(name) }
        let place = Int(own.value & (1 << HashShapes.bits - 1))
        // The place has told the lowest bits.
        let print = UInt32(truncatingIfNeeded: whole.value >> 32)
        defer { prints[place] = print }
        return prints[place] == print
    }

    /// Nothing is known of the hash.
    mutating func forget(_ key: Bytes) {
        prints[Int(HashShapes.print(of: key).value & (1 << HashShapes.bits - 1))] = 0
    }

    private static func print(of key: Bytes) -> Print {
        var print = Print()
        key.withUnsafeBytes { print.add($0) }
        return print
    }

    /// FNV-1a, which short texts take the least time with. Source: RFC 9923.
    private struct Print {
        private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

        mutating func add(_ bytes: UnsafeRawBufferPointer) {
            for byte in bytes { add(byte) }
            // So that no name runs into the next: the length, lowest byte last.
            add(UInt8(truncatingIfNeeded: bytes.count >> 8))
            add(UInt8(truncatingIfNeeded: bytes.count))
        }

        private mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
}
