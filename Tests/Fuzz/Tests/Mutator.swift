import TestRandom

/// Spoils inputs, the same way for the same seed. Without libFuzzer's feedback, but in every `swift test`.
struct Mutator {
    private static let interesting: [UInt8] = [0, 1, 0x0A, 0x20, 0x2A, 0x5B, 0x7B, 0x7F, 0x80, 0xFF]
    private static let largestCount = 4096

    private var random: SeededGenerator

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
    }

    mutating func spoiled(_ input: [UInt8], with others: [[UInt8]]) -> [UInt8] {
        var bytes = input
        for _ in 0..<Int.random(in: 1...4, using: &random) { spoil(&bytes, others) }
        return Array(bytes.prefix(Mutator.largestCount))
    }

    private mutating func spoil(_ bytes: inout [UInt8], _ others: [[UInt8]]) {
        let place = Int.random(in: 0...bytes.count, using: &random)
        let end = min(bytes.count, place + Int.random(in: 1...8, using: &random))
        switch Int.random(in: 0..<6, using: &random) {
        case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes.removeSubrange(place..<end)
        case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
        case 4:
            let other = others.randomElement(using: &random) ?? []
            let start = Int.random(in: 0...other.count, using: &random)
            bytes.insert(contentsOf: other[start...].prefix(16), at: place)
        default: bytes.insert(Mutator.interesting.randomElement(using: &random) ?? 0, at: place)
        }
    }
}
