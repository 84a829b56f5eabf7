import Mapping

/// Which fields hashes were given last, as far as that is remembered: 2 MiB, whatever their number.
///
/// To replace a hash takes `DEL` and `HSET` as one, which in a cluster are four commands for each key. Where it has these
/// fields already, `HSET` alone does it; `HLEN` behind it proves that there is no other. So a wrong memory loses
/// nothing: the hash is replaced then, and was seen with a field too many until that.
struct HashShapes {
    private static let bits = 18
    /// By the lowest bits of a key's hash value: that of the key and its fields' names. 0 where nothing is known.
    private var prints = [Int](repeating: 0, count: 1 << bits)

    /// Notes the fields that a hash is given; returns whether it had them before.
    mutating func remember(_ key: Bytes, _ fields: [Field]) -> Bool {
        let hasher = hasher(key)
        var whole = hasher
        for field in fields { add(field.name, to: &whole) }
        let place = place(hasher)
        let print = whole.finalize()
        defer { prints[place] = print }
        return prints[place] == print
    }

    /// Nothing is known of the hash.
    mutating func forget(_ key: Bytes) { prints[place(hasher(key))] = 0 }

    private func place(_ hasher: Hasher) -> Int { hasher.finalize() & (1 << HashShapes.bits - 1) }

    private func hasher(_ key: Bytes) -> Hasher {
        var hasher = Hasher()
        add(key, to: &hasher)
        return hasher
    }

    private func add(_ bytes: Bytes, to hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        // So that no name runs into the next.
        hasher.combine(bytes.count)
    }
}
