import NIOCore
import Testing

@testable import RedisClient

/// A peer cannot make us take memory or time that the limits do not allow.
@Suite struct ParserLimitTests {
    private let limits = RESPLimits(
        maximumDepth: 3, maximumBulkBytes: 100, maximumReplyBytes: 4_096, maximumElements: 20)

    private func expectLimit(_ text: String, _ limits: RESPLimits? = nil, line: Int = #line) async {
        let code = await code { _ = try decode(text, limits: limits ?? self.limits) }
        #expect(code == .limitExceeded, "line \(line)")
    }

    @Test func depth() async throws {
        _ = try decode("*1\r\n*1\r\n*1\r\n:1\r\n", limits: limits)
        await expectLimit("*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n")
        await expectLimit("|1\r\n*1\r\n*1\r\n*1\r\n:1\r\n")
        // However high it is set, taking the values apart must not overflow the stack.
        let deep = String(repeating: "*1\r\n", count: 100_000) + ":1\r\n"
        await expectLimit(deep, RESPLimits(maximumDepth: .max))
        _ = try decode(
            String(repeating: "*1\r\n", count: 1_000) + ":1\r\n", limits: RESPLimits(maximumDepth: .max))
    }

    @Test func lengthsAreCheckedBeforeTheBytesCome() async throws {
        _ = try decode("$100\r\n", limits: limits)
        await expectLimit("$101\r\n")
        await expectLimit("$9223372036854775807\r\n")
        await expectLimit("!101\r\n")
        await expectLimit("=101\r\n")
        let unlimited = RESPLimits(
            maximumBulkBytes: .max, maximumReplyBytes: .max, maximumElements: .max)
        _ = try decode("$9223372036854775807\r\na", limits: unlimited)
        // Sums that overflow are too large, too.
        await expectLimit("*2\r\n$3\r\nabc\r\n$9223372036854775807\r\na", unlimited)
        await expectLimit("$5000\r\n", RESPLimits(maximumBulkBytes: 10_000, maximumReplyBytes: 4_096))
    }

    @Test func countsAreCheckedBeforeTheValuesCome() async throws {
        await expectLimit("*21\r\n")
        await expectLimit("%11\r\n")
        await expectLimit("*9223372036854775807\r\n")
        await expectLimit("%9223372036854775807\r\n")
        // A count that is allowed takes no memory by itself.
        _ = try decode("*9223372036854775807\r\n", limits: RESPLimits(maximumElements: .max))
        _ = try decode("%4611686018427387903\r\n", limits: RESPLimits(maximumElements: .max))
    }

    @Test func elementsOfAllLevels() async {
        await expectLimit("*4\r\n" + String(repeating: "*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n", count: 4))
    }

    @Test func memoryOfAReply() async throws {
        let string = "$100\r\n" + String(repeating: "x", count: 100) + "\r\n"
        let small = RESPLimits(maximumReplyBytes: 1_000, maximumElements: 1_000)
        await expectLimit("*20\r\n" + String(repeating: string, count: 10), small)
        await expectLimit("*1000\r\n" + String(repeating: ":1\r\n", count: 900), small)
        await expectLimit("+" + String(repeating: "x", count: 1_100) + "\r\n", small)
        // Many replies, each within the limits.
        let count = try decode(String(repeating: string, count: 1_000), limits: small).count
        #expect(count == 1_000)
    }

    @Test func attributesWithoutEnd() async {
        await expectLimit(String(repeating: "|0\r\n", count: 1_000))
    }

    @Test func linesWithoutEnd() async {
        await expectLimit("+" + String(repeating: "x", count: 70_000))
        await expectLimit(":" + String(repeating: "1", count: 70_000))
    }

    /// A reply that comes in small pieces costs what it costs in one: reading it again from its start each
    /// time would take minutes here.
    @Test(.timeLimit(.minutes(1))) func workIsLinear() throws {
        let count = 100_000
        var bytes = Array("*\(count)\r\n".utf8)
        for index in 0..<count { bytes += Array("$6\r\n\(100_000 + index)\r\n".utf8) }
        var pieces: [[UInt8]] = []
        for start in stride(from: 0, to: bytes.count, by: 100) {
            pieces.append(Array(bytes[start..<min(start + 100, bytes.count)]))
        }
        let clock = ContinuousClock()
        var messages: [RESPMessage] = []
        let time = try clock.measure { messages = try decode(pieces) }
        guard case .reply(.array(let values))? = messages.first else { throw CancellationError() }
        #expect(values.count == count)
        #expect(time < .seconds(10))
        // The same for one long string.
        let long = Array("$4000000\r\n".utf8) + [UInt8](repeating: 1, count: 4_000_000) + Array("\r\n".utf8)
        let parts = stride(from: 0, to: long.count, by: 1_000).map {
            Array(long[$0..<min($0 + 1_000, long.count)])
        }
        let longTime = try clock.measure { messages = try decode(parts) }
        #expect(messages.count == 1)
        #expect(longTime < .seconds(10))
    }
}
