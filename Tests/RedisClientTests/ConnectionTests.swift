import Logging
import TestServers
import Testing

@testable import RedisClient

/// Against a real server that behaves.
@Suite struct ConnectionTests {
    @Test func commandsAndReplies() async throws {
        let server = try await RedisServer.start()
        let connection = try await server.connect()
        let bytes = Array(0...255 as ClosedRange<UInt8>)
        var commands = RedisCommandBatch()
        commands.begin(argumentCount: 3)
        commands.add("SET" as StaticString)
        commands.add(bytes)
        commands.add(bytes)
        commands.begin(argumentCount: 2)
        commands.add("GET" as StaticString)
        commands.add(bytes)
        commands.append("GET", "missing")
        commands.append("INCRBY", "n", "41")
        commands.append("LPUSH", "n", "x")
        commands.append("ECHO", "")
        commands.append("NOSUCHCOMMAND")
        let replies = try await connection.send(commands)
        #expect(replies.count == 7)
        #expect(replies[0..<4] == [.simpleString("OK"), .bulkString(bytes), .null, .integer(41)])
        guard case .error(let wrongType) = replies[4], case .error(let unknown) = replies[6] else {
            throw TestServerError("\(replies)")
        }
        #expect(wrongType.prefix == .wrongtype)
        #expect(replies[5] == .bulkString([]))
        #expect(unknown.prefix == .err)
        #expect(try await connection.send(RedisCommandBatch()).isEmpty)
        await connection.close()
        #expect(connection.isClosed)
        #expect(await code { _ = try await connection.send(batch(["PING"])) } == .connectionClosed)
    }

    @Test func pipelineOfAHundredThousand() async throws {
        let server = try await RedisServer.start()
        let connection = try await server.connect()
        var commands = RedisCommandBatch()
        for index in 0..<100_000 as Range<Int64> {
            commands.begin(argumentCount: 2)
            commands.add("ECHO" as StaticString)
            commands.add(index)
        }
        let replies = try await connection.send(commands)
        #expect(replies.count == 100_000)
        let isInOrder = replies.enumerated().allSatisfy { $1 == bulk("\($0)") }
        #expect(isInOrder)
        await connection.close()
    }

    @Test func concurrentCallersGetTheirOwnReplies() async throws {
        let server = try await RedisServer.start()
        let connection = try await server.connect()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for task in 0..<50 {
                group.addTask {
                    for round in 0..<20 {
                        let texts = (0...round).map { "\(task)-\(round)-\($0)" }
                        var commands = RedisCommandBatch()
                        for text in texts { commands.append("ECHO", text) }
                        if try await connection.send(commands) != texts.map(bulk) { return false }
                    }
                    return true
                }
            }
            for try await isRight in group { #expect(isRight) }
        }
        await connection.close()
    }

    @Test func transactions() async throws {
        let server = try await RedisServer.start()
        let connection = try await server.connect()
        let replies = try await connection.send(
            batch(
                ["MULTI"], ["SET", "s", "x"], ["INCR", "s"], ["XADD", "t", "5-1", "f", "v"],
                ["XADD", "t", "5-1", "f", "v"], ["EXEC"]))
        #expect(replies[0] == .simpleString("OK"))
        #expect(replies[1..<5].allSatisfy { $0 == .simpleString("QUEUED") })
        let results = try #require(replies[5].array)
        #expect(results[0] == .simpleString("OK") && results[2] == bulk("5-1"))
        guard case .error(let notANumber) = results[1], case .error(let duplicate) = results[3] else {
            throw TestServerError("\(results)")
        }
        #expect(notANumber.prefix == .err)
        #expect(duplicate.message.contains("equal or smaller"))

        let aborted = try await connection.send(batch(["MULTI"], ["NOSUCHCOMMAND"], ["EXEC"]))
        guard case .error(let abort) = aborted[2] else { throw TestServerError("\(aborted)") }
        #expect(abort.prefix == .execabort)

        _ = try await connection.send(batch(["WATCH", "s"]))
        try server.cli("SET", "s", "y")
        let watched = try await connection.send(batch(["MULTI"], ["SET", "s", "z"], ["EXEC"]))
        #expect(watched == [.simpleString("OK"), .simpleString("QUEUED"), .null])
        await connection.close()
    }

    @Test func outOfMemory() async throws {
        let server = try await RedisServer.start(["maxmemory 4mb", "maxmemory-policy noeviction"])
        let connection = try await server.connect()
        let value = String(repeating: "x", count: 1 << 20)
        var commands = RedisCommandBatch()
        for index in 0..<6 { commands.append("SET", "k\(index)", value) }
        commands.append("MULTI")
        commands.append("SET", "k", value)
        commands.append("EXEC")
        let replies = try await connection.send(commands)
        let errors = replies.compactMap { reply -> RedisServerError.Prefix? in
            if case .error(let error) = reply { error.prefix } else { nil }
        }
        #expect(errors.contains(.oom))
        #expect(errors.last == .execabort)
        await connection.close()
    }

    @Test func unixSocketDatabaseAndName() async throws {
        let server = try await RedisServer.start()
        let endpoint = try RedisEndpoint(parsing: "redis+unix://\(server.socketPath)?db=7")
        let connection = try await RedisConnection.connect(
            RedisConfiguration(endpoint: endpoint, clientName: "the-name"), logger: silent)
        _ = try await connection.send(batch(["SET", "k", "v"]))
        #expect(try server.cli("-n", "7", "GET", "k") == "v")
        #expect(try server.cli("GET", "k").isEmpty)
        let clients = try server.cli("CLIENT", "LIST").split(separator: "\n").map(String.init)
        let own = try #require(clients.first { $0.contains("name=the-name") })
        #expect(own.contains("db=7") && own.contains(server.socketPath))
        await connection.close()
    }

    @Test func resp3() async throws {
        let server = try await RedisServer.start()
        var configuration = try server.configuration()
        configuration.protocolVersion = .resp3
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        let replies = try await connection.send(
            batch(
                ["CLIENT", "TRACKING", "ON"], ["HSET", "h", "f", "v"], ["HGETALL", "h"], ["SADD", "s", "m"],
                ["SMEMBERS", "s"], ["ZADD", "z", "1.5", "m"], ["ZSCORE", "z", "m"], ["GET", "missing"],
                ["DEBUG", "PROTOCOL", "VERBATIM"], ["SET", "h2", "v"], ["GET", "h2"]))
        #expect(replies[2] == .map([RESPMapEntry(key: bulk("f"), value: bulk("v"))]))
        #expect(replies[4] == .set([bulk("m")]))
        #expect(replies[6] == .double(1.5))
        #expect(replies[7] == .null)
        // Another client's write makes the server push an invalidation in between.
        try server.cli("SET", "h2", "w")
        #expect(
            try await connection.send(batch(["PING"], ["GET", "h2"])) == [.simpleString("PONG"), bulk("w")])
        await connection.close()
    }

    /// What the server can send of each type, where it lets itself be asked for it.
    @Test(arguments: [RedisConfiguration.ProtocolVersion.resp2, .resp3])
    func debugProtocol(_ version: RedisConfiguration.ProtocolVersion) async throws {
        let server = try await RedisServer.start(["enable-debug-command yes"])
        var configuration = try server.configuration()
        configuration.protocolVersion = version
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        let types = [
            "string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim",
            "bignum",
            "true", "false",
        ]
        var commands = RedisCommandBatch()
        for type in types where type != "push" && (type != "attrib" || version == .resp3) {
            commands.append("DEBUG", "PROTOCOL", type)
            commands.append("ECHO", type)
        }
        let replies = try await connection.send(commands)
        let expected = types.filter { $0 != "push" && ($0 != "attrib" || version == .resp3) }
        for (index, type) in expected.enumerated() {
            #expect(replies[2 * index + 1] == bulk(type))
            if case .error(let error) = replies[2 * index] { Issue.record("\(type): \(error)") }
        }
        await connection.close()
    }
}
