import NIOCore
import TestRandom
import Testing

@testable import RedisClient

@Suite struct CommandBatchTests {
    private func text(_ batch: RedisCommandBatch) -> String { String(buffer: batch.buffer) }

    @Test func commands() {
        var batch = RedisCommandBatch()
        batch.append("SET", "key", "välue")
        batch.begin(argumentCount: 5)
        batch.add("XADD" as StaticString)
        batch.add("a string of more than fifteen bytes, kept on the heap")
        batch.add(Int64.min)
        batch.add([])
        batch.add("")
        #expect(batch.count == 2)
        #expect(
            text(batch) == """
                *3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$6\r\nvälue\r\n\
                *5\r\n$4\r\nXADD\r\n$53\r\na string of more than fifteen bytes, kept on the heap\r\n\
                $20\r\n-9223372036854775808\r\n$0\r\n\r\n$0\r\n\r\n
                """)
        #expect(batch.byteCount == batch.buffer.readableBytes)
        batch.removeAll()
        #expect(batch.count == 0 && batch.byteCount == 0)
        batch.append("PING")
        #expect(text(batch) == "*1\r\n$4\r\nPING\r\n")
    }

    @Test(arguments: [0, 9, 10, 99, 100, 999, 1_000, -1, -9, -10, -99, 1_000_000_007, .max] as [Int64])
    func integers(_ number: Int64) {
        var batch = RedisCommandBatch()
        batch.begin(argumentCount: 1)
        batch.add(number)
        #expect(text(batch) == "*1\r\n$\("\(number)".utf8.count)\r\n\(number)\r\n")
    }

    /// A command has the form of a reply, so that our own parser can check it.
    @Test func argumentsAreAnyBytes() throws {
        var random = SeededGenerator(seed: 7)
        for length in [0, 1, 9, 10, 99, 100, 101, 4_096, 100_000] {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            var batch = RedisCommandBatch()
            batch.begin(argumentCount: 2)
            batch.add(bytes)
            batch.add(Array(0...255))
            let messages = try decode([Array(batch.buffer.readableBytesView)])
            #expect(messages == [.reply(.array([.bulkString(bytes), .bulkString(Array(0...255))]))])
        }
    }

    @Test func aCopyThatIsBeingSentStaysAsItWas() {
        var batch = RedisCommandBatch()
        batch.append("GET", "a")
        let sent = batch
        batch.removeAll()
        batch.append("GET", "b")
        #expect(text(sent) == "*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
    }
}
