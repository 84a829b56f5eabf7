import Logging
import TestRandom
import TestServers
import Testing

@testable import RedisClient

/// Against a real server that dies, hangs, or is not there.
@Suite struct FailureTests {
    @Test func killedInTheMiddleOfAPipeline() async throws {
        let server = try await RedisServer.start()
        let client = RedisClient(configuration: try server.configuration(), logger: silent)
        let connection = try await client.connection(deadline: .now + .seconds(5))
        var commands = RedisCommandBatch()
        let value = String(repeating: "v", count: 100)
        for index in 0..<200_000 { commands.append("SET", "k\(index)", value) }
        // Never answered: however fast the server is, it dies before the end.
        commands.append("BLPOP", "none", "0")
        let pipeline = commands
        async let first = code { _ = try await connection.send(pipeline) }
        while try server.cli("DBSIZE") == "0" {}
        async let second = code { _ = try await connection.send(batch(["PING"])) }
        try await Task.sleep(for: .milliseconds(10))
        server.kill()
        #expect(await first == .connectionClosed)
        #expect(await second == .connectionClosed)
        #expect(connection.isClosed)
        try await server.restart()
        let next = try await client.connection(deadline: .now + .seconds(5))
        #expect(next !== connection)
        #expect(try await next.send(batch(["DBSIZE"])) == [.integer(0)])
        let same = try await client.connection(deadline: .now + .seconds(5))
        #expect(same === next)
        await client.close()
        #expect(next.isClosed)
    }

    @Test func noReply() async throws {
        let server = try await RedisServer.start()
        var configuration = try server.configuration()
        configuration.replyTimeout = .milliseconds(200)
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        server.process.suspend()
        let clock = ContinuousClock()
        let time = await clock.measure {
            #expect(await code { _ = try await connection.send(batch(["PING"])) } == .timeout)
        }
        #expect(time > .milliseconds(190) && time < .seconds(15))
        #expect(connection.isClosed)
        // The kernel accepts connections for a server that sleeps.
        configuration.connectTimeout = .milliseconds(200)
        #expect(
            await code { _ = try await RedisConnection.connect(configuration, logger: silent) } == .timeout)
        server.process.resume()
        let next = try await server.connect()
        await next.close()
    }

    /// The first batch's time counts, however many follow it.
    @Test func timeoutWhileOthersAreAnswered() async throws {
        let server = try await RedisServer.start()
        var configuration = try server.configuration()
        configuration.replyTimeout = .milliseconds(1500)
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        for _ in 0..<20 {
            _ = try await connection.send(batch(["PING"]))
            try await Task.sleep(for: .milliseconds(25))
        }
        #expect(!connection.isClosed)
        #expect(await code { _ = try await connection.send(batch(["BLPOP", "none", "0"])) } == .timeout)
    }

    @Test func connectionRefused() async throws {
        let port = try freePort()
        let endpoint = RedisEndpoint(address: .host("127.0.0.1", port: port))
        let client = RedisClient(
            configuration: RedisConfiguration(
                endpoint: endpoint, backoff: .milliseconds(1)...(.milliseconds(50))),
            logger: silent)
        let clock = ContinuousClock()
        let start = clock.now
        do throws(RedisError) {
            _ = try await client.connection(deadline: start + .milliseconds(400))
            Issue.record("connected")
        } catch {
            #expect(error.code == .connectionFailed)
            #expect(error.description.contains("127.0.0.1:\(port)"))
        }
        #expect(clock.now - start >= .milliseconds(400))
        #expect(clock.now - start < .seconds(10))
        let missing = RedisEndpoint(address: .unixSocket(path: "/nonexistent/redis.sock"))
        #expect(
            await code {
                _ = try await RedisConnection.connect(RedisConfiguration(endpoint: missing), logger: silent)
            } == .connectionFailed)
    }

    @Test func notRedis() async throws {
        let server = try await RedisServer.start()
        let connection = try await server.connect()
        // MONITOR makes the server say what nobody asked for, which is what a foreign protocol does, too.
        _ = try await connection.send(batch(["MONITOR"]))
        try server.cli("PING")
        let error = await code {
            while true { _ = try await connection.send(batch(["PING"])) }
        }
        #expect(error == .connectionClosed || error == .protocolViolation)
        #expect(connection.isClosed)
    }

    @Test func tooManyClients() async throws {
        let server = try await RedisServer.start(["maxclients 1"])
        // The one place is free once the server has noticed that redis-cli is gone.
        var place: RedisConnection?
        while place == nil { place = try? await server.connect() }
        let only = try #require(place)
        #expect(await code { _ = try await server.connect() } != nil)
        let client = RedisClient(configuration: try server.configuration(), logger: silent)
        async let later = client.connection(deadline: .now + .seconds(20))
        try await Task.sleep(for: .milliseconds(50))
        await only.close()
        #expect(try await later.send(batch(["PING"])) == [.simpleString("PONG")])
        await client.close()
    }

    @Test func replyBeyondALimit() async throws {
        let server = try await RedisServer.start()
        var configuration = try server.configuration()
        configuration.limits.maximumBulkBytes = 1_000
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        let long = String(repeating: "x", count: 1_001)
        #expect(await code { _ = try await connection.send(batch(["ECHO", long])) } == .limitExceeded)
        #expect(connection.isClosed)
    }

    @Test func tooMuchOutstanding() async throws {
        let server = try await RedisServer.start()
        var configuration = try server.configuration()
        configuration.maximumOutstandingBatches = 2
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        server.process.suspend()
        let codes = await withTaskGroup(of: RedisError.Code?.self) { group in
            for _ in 0..<5 {
                group.addTask { await code { _ = try await connection.send(batch(["PING"])) } }
            }
            var codes: [RedisError.Code?] = []
            for await code in group {
                codes.append(code)
                // Those that are refused are told at once.
                if codes.count == 3 { server.process.resume() }
            }
            return codes
        }
        #expect(codes == [.limitExceeded, .limitExceeded, .limitExceeded, nil, nil])
        #expect(!connection.isClosed)
        await connection.close()
    }

    @Test func cancelledCallersDoNotDisturbTheOthers() async throws {
        let server = try await RedisServer.start()
        let connection = try await server.connect()
        server.process.suspend()
        let doomed = Task {
            await code { _ = try await connection.send(batch(["ECHO", "doomed"], ["PING"])) }
        }
        try await Task.sleep(for: .milliseconds(50))
        async let other = connection.send(batch(["ECHO", "other"]))
        doomed.cancel()
        #expect(await doomed.value == .cancelled)
        server.process.resume()
        #expect(try await other == [bulk("other")])
        let random = SeededGenerator(seed: 11)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for task in 0..<200 {
                var random = random
                random = SeededGenerator(seed: random.next() &+ UInt64(task))
                let isCancelled = Bool.random(using: &random)
                group.addTask {
                    let texts = ["\(task)a", "\(task)b"]
                    let sender = Task {
                        try await connection.send(batch(["ECHO", texts[0]], ["ECHO", texts[1]]))
                    }
                    if isCancelled { sender.cancel() }
                    do {
                        return try await sender.value == texts.map(bulk)
                    } catch let error as RedisError {
                        return isCancelled && error.code == .cancelled
                    }
                }
            }
            for try await isRight in group { #expect(isRight) }
        }
        #expect(try await connection.send(batch(["ECHO", "end"])) == [bulk("end")])
        await connection.close()
    }
}
