import NIOCore
import Testing

@testable import RedisClient

/// Whose reply it is, and how a connection is set up, without a socket.
@Suite struct StateMachineTests {
    private func makeQueue(batches: Int = 3, bytes: Int = 100, replyBytes: Int = 1_000) -> ReplyQueue<String>
    {
        ReplyQueue(maximumBatches: batches, maximumBytes: bytes, maximumReplyBytes: replyBytes)
    }

    private let soon = NIODeadline.now() + .seconds(1)

    @Test func repliesGoToTheBatchesInOrder() throws {
        var queue = makeQueue()
        try queue.enqueue(id: 1, commands: 2, bytes: 10, deadline: soon, waiter: "a")
        try queue.enqueue(id: 2, commands: 1, bytes: 10, deadline: soon + .seconds(1), waiter: "b")
        #expect(queue.deadline == soon)
        #expect(try queue.receive(.integer(1), memory: 1) == nil)
        let first = try #require(try queue.receive(.integer(2), memory: 1))
        #expect(first.waiter == "a" && first.replies == [.integer(1), .integer(2)])
        #expect(queue.deadline == soon + .seconds(1))
        let second = try #require(try queue.receive(.integer(3), memory: 1))
        #expect(second.waiter == "b" && second.replies == [.integer(3)])
        #expect(queue.deadline == nil)
    }

    @Test func abandonedRepliesAreDropped() throws {
        var queue = makeQueue()
        try queue.enqueue(id: 1, commands: 2, bytes: 10, deadline: soon, waiter: "a")
        try queue.enqueue(id: 2, commands: 1, bytes: 10, deadline: soon, waiter: "b")
        _ = try queue.receive(.integer(1), memory: 1)
        #expect(queue.abandon(id: 1) == "a")
        #expect(queue.abandon(id: 1) == nil)
        #expect(queue.abandon(id: 9) == nil)
        #expect(try queue.receive(.integer(2), memory: 1)?.waiter == nil)
        #expect(try queue.receive(.integer(3), memory: 1)?.waiter == "b")
    }

    @Test func whatIsOutstandingIsBounded() async throws {
        var queue = makeQueue()
        try queue.enqueue(id: 1, commands: 1, bytes: 1_000, deadline: soon, waiter: "large")
        let second = await code {
            try queue.enqueue(id: 2, commands: 1, bytes: 1, deadline: soon, waiter: "b")
        }
        #expect(second == .limitExceeded)
        _ = try queue.receive(.null, memory: 1)
        for id in 0..<3 as Range<UInt64> {
            try queue.enqueue(id: id, commands: 1, bytes: 10, deadline: soon, waiter: "c")
        }
        let fourth = await code {
            try queue.enqueue(id: 4, commands: 1, bytes: 1, deadline: soon, waiter: "d")
        }
        #expect(fourth == .limitExceeded)
        #expect(queue.removeAll() == ["c", "c", "c"])
        #expect(queue.deadline == nil)
    }

    @Test func repliesToABatchAreBounded() async throws {
        var queue = makeQueue()
        try queue.enqueue(id: 1, commands: 3, bytes: 1, deadline: soon, waiter: "a")
        _ = try queue.receive(.null, memory: 600)
        #expect(await code { _ = try queue.receive(.null, memory: 600) } == .limitExceeded)
    }

    @Test func aReplyThatNobodyAskedFor() async {
        var queue = makeQueue()
        #expect(await code { _ = try queue.receive(.null, memory: 1) } == .protocolViolation)
        let full = RedisServerError(message: "ERR max number of clients reached")
        #expect(await code { _ = try queue.receive(.error(full), memory: 1) } == .server(full))
    }

    // MARK: Handshake

    private func handshake(
        _ url: String, name: String? = nil, version: RedisConfiguration.ProtocolVersion = .resp2
    )
        throws -> Handshake
    {
        Handshake(
            RedisConfiguration(
                endpoint: try RedisEndpoint(parsing: url), clientName: name, protocolVersion: version))
    }

    private func error(_ text: String) -> RESPValue { .error(RedisServerError(message: text)) }

    @Test func everythingInOneRoundTrip() throws {
        var handshake = try handshake("redis://u:p@h/3", name: "n")
        #expect(
            handshake.start().buffer
                == batch(["HELLO", "2", "AUTH", "u", "p", "SETNAME", "n"], ["SELECT", "3"], ["PING"]).buffer)
        #expect(try handshake.receive([.array([]), .simpleString("OK"), .simpleString("PONG")]) == nil)
        var plain = try self.handshake("redis://:p@h", version: .resp3)
        #expect(plain.start().buffer == batch(["HELLO", "3", "AUTH", "default", "p"], ["PING"]).buffer)
    }

    @Test(arguments: [
        "ERR unknown command `HELLO`, with args beginning with: `2`, `AUTH`, `default`, `p`, ",
        "NOPERM this user has no permissions to run the 'hello' command",
    ])
    func serverWithoutHello(_ text: String) throws {
        var handshake = try handshake("redis://:p@h/3", name: "n")
        _ = handshake.start()
        let noauth = error("NOAUTH Authentication required.")
        let next = try handshake.receive([error(text), noauth, noauth])
        #expect(
            next?.buffer
                == batch(["AUTH", "p"], ["CLIENT", "SETNAME", "n"], ["SELECT", "3"], ["PING"]).buffer)
        let noperm = error("NOPERM this user has no permissions to run the 'client|setname' command")
        #expect(try handshake.receive([.simpleString("OK"), noperm, .simpleString("OK"), noperm]) == nil)
    }

    @Test func failures() async throws {
        let unknown = "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `hunter2`"
        for (text, expected) in [
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                RedisError.Code.authenticationFailed
            ),
            ("NOAUTH HELLO must be called with the client already authenticated", .authenticationFailed),
            ("LOADING x", .server(RedisServerError(message: "LOADING x"))),
            (unknown, .notSupported),
            ("ERR odd: hunter2", .server(RedisServerError(message: "ERR odd: [password]"))),
        ] {
            var handshake = try handshake("redis://u:hunter2@h:1", version: .resp3)
            _ = handshake.start()
            do throws(RedisError) {
                _ = try handshake.receive([error(text), .simpleString("PONG")])
                Issue.record("accepted")
            } catch {
                #expect(error.code == expected)
                #expect(error.description.hasPrefix("h:1: "))
                #expect(!"\(error)".contains("hunter2"))
            }
        }
        var short = try handshake("redis://h")
        _ = short.start()
        #expect(await code { _ = try short.receive([.null]) } == .protocolViolation)
    }
}
