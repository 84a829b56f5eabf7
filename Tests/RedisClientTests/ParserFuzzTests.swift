import NIOCore
import Testing

@testable import RedisClient

/// Nothing a peer sends may trap, and how the bytes are cut may not matter.
@Suite struct ParserFuzzTests {
    private static let seed: UInt64 = 20_260_117
    private let limits = RESPLimits(
        maximumDepth: 8, maximumBulkBytes: 1_000, maximumReplyBytes: 20_000, maximumElements: 200)

    @Test func mutatedReplies() {
        var random = SeededGenerator(seed: ParserFuzzTests.seed)
        let samples = ParserTests.samples.map { Array($0.0.utf8) }
        for round in 0..<6_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes += samples.randomElement(using: &random) ?? []
            }
            mutate(&bytes, &random)
            check(bytes, &random, round)
        }
    }

    @Test func bytesOfTheAlphabet() {
        var random = SeededGenerator(seed: ParserFuzzTests.seed + 1)
        let alphabet = Array("+-:$*_#,(!=%~>|0123456789tfx\r\n\r\n\r\n".utf8)
        for round in 0..<6_000 {
            let count = Int.random(in: 1...60, using: &random)
            let bytes = (0..<count).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            check(bytes, &random, round)
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: bytes.remove(at: index)
            default: bytes.insert(UInt8(ascii: "9"), at: index)
            }
        }
    }

    private func check(_ bytes: [UInt8], _ random: inout SeededGenerator, _ round: Int) {
        let whole = outcome([bytes])
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let size = Int.random(in: 1...8, using: &random)
            pieces.append(Array(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        let inPieces = outcome(pieces)
        if "\(whole)" != "\(inPieces)" {
            Issue.record(
                "seed \(ParserFuzzTests.seed), round \(round), bytes \(bytes): \(whole) or \(inPieces)")
        }
    }

    /// The messages up to the first error, and its code.
    private func outcome(_ pieces: [[UInt8]]) -> ([RESPMessage], RedisError.Code?) {
        var decoder = RESPDecoder(limits: limits)
        var messages: [RESPMessage] = []
        do throws(RedisError) {
            for piece in pieces {
                try decoder.decode(ByteBuffer(bytes: piece)) { (message, _) throws(RedisError) in
                    messages.append(message)
                }
            }
            return (messages, nil)
        } catch {
            return (messages, error.code)
        }
    }
}
