import Logging
import TestServers
import Testing

@testable import RedisClient

@Suite struct ClientTests {
    @Test func callersShareOneConnection() async throws {
        let server = try await RedisServer.start()
        var configuration = try server.configuration()
        configuration.clientName = "shared"
        let client = RedisClient(configuration: configuration, logger: silent)
        let connections = try await withThrowingTaskGroup(of: RedisConnection.self) { group in
            for _ in 0..<20 { group.addTask { try await client.connection(deadline: .now + .seconds(5)) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(connections.map(ObjectIdentifier.init)).count == 1)
        let clients = try server.cli("CLIENT", "LIST").split(separator: "\n")
        #expect(clients.filter { $0.contains("name=shared") }.count == 1)
        await client.close()
        let closed = await code { _ = try await client.connection(deadline: .now + .seconds(5)) }
        #expect(closed == .connectionClosed)
    }

    @Test func comesBackWhenTheServerDoes() async throws {
        let server = try await RedisServer.start()
        await server.stop()
        let client = RedisClient(configuration: try server.configuration(), logger: silent)
        async let connection = client.connection(deadline: .now + .seconds(10))
        try await Task.sleep(for: .milliseconds(200))
        try await server.restart()
        #expect(try await connection.send(batch(["PING"])) == [.simpleString("PONG")])
        await client.close()
    }

    @Test func waitsForALoadingServer() async throws {
        // Slow to load, and answers now and then while it does.
        let server = try await RedisServer.start([
            "enable-debug-command yes", "key-load-delay 4000", "loading-process-events-interval-bytes 1024",
        ])
        try server.cli("DEBUG", "POPULATE", "5000", "key", "10")
        let loading = try ServerProcess(
            executable: "redis-cli", arguments: ["-p", "\(server.port)", "DEBUG", "RELOAD"],
            logFile: "\(server.directoryPath)/reload.log")
        var sawLoading = false
        let patience = ContinuousClock.now + .seconds(15)
        while !sawLoading, .now < patience {
            do throws(RedisError) {
                let connection = try await server.connect()
                await connection.close()
            } catch {
                if case .server(let reply) = error.code, reply.prefix == .loading { sawLoading = true }
            }
        }
        #expect(sawLoading)
        let client = RedisClient(configuration: try server.configuration(), logger: silent)
        async let later = client.connection(deadline: .now + .seconds(20))
        try await Task.sleep(for: .milliseconds(50))
        try server.cli("CONFIG", "SET", "key-load-delay", "0")
        #expect(try await later.send(batch(["DBSIZE"])) == [.integer(5_000)])
        #expect(try await loading.waitForExit(timeout: .seconds(10)) == 0)
        await client.close()
    }

    @Test func wrongCredentialsAreToldAtOnce() async throws {
        let server = try await RedisServer.start(["requirepass secret"])
        let client = RedisClient(configuration: try server.configuration(), logger: silent)
        let clock = ContinuousClock()
        let time = await clock.measure {
            let error = await code { _ = try await client.connection(deadline: .now + .seconds(30)) }
            #expect(error == .authenticationFailed)
        }
        #expect(time < .seconds(15))
        await client.close()
    }

    @Test func endsWhenTheTaskIsCancelled() async throws {
        let server = try await RedisServer.start()
        server.process.suspend()
        let client = RedisClient(configuration: try server.configuration(), logger: silent)
        let task = Task {
            await code { _ = try await client.connection(deadline: .now + .seconds(30)) }
        }
        try await Task.sleep(for: .milliseconds(50))
        let clock = ContinuousClock()
        let time = await clock.measure {
            task.cancel()
            #expect(await task.value == .cancelled)
        }
        #expect(time < .seconds(15))
        // Another caller is not told of it.
        server.process.resume()
        let connection = try await client.connection(deadline: .now + .seconds(5))
        #expect(!connection.isClosed)
        await client.close()
    }

    @Test func deadlineThatHasPassed() async throws {
        let endpoint = RedisEndpoint(address: .host("127.0.0.1", port: try freePort()))
        let client = RedisClient(configuration: RedisConfiguration(endpoint: endpoint), logger: silent)
        #expect(await code { _ = try await client.connection(deadline: .now - .seconds(1)) } == .timeout)
    }
}
