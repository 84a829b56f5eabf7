import Logging
import TestServers
import Testing

@testable import RedisClient

@Suite struct AuthenticationTests {
    private func connect(_ url: String) async throws(RedisError) -> RedisConnection {
        try await RedisConnection.connect(
            RedisConfiguration(endpoint: try RedisEndpoint(parsing: url), clientName: "tests"), logger: silent
        )
    }

    @Test func password() async throws {
        let server = try await RedisServer.start(["requirepass hunter2"])
        let right = try await connect("redis://:hunter2@127.0.0.1:\(server.port)/1")
        #expect(try await right.send(batch(["PING"])) == [.simpleString("PONG")])
        await right.close()
        for credentials in ["", ":wrong@", "nobody:hunter2@"] {
            do throws(RedisError) {
                _ = try await connect("redis://\(credentials)127.0.0.1:\(server.port)")
                Issue.record("accepted '\(credentials)'")
            } catch {
                #expect(error.code == .authenticationFailed)
                #expect(error.description.contains("127.0.0.1:\(server.port)"))
                #expect(!error.description.contains("hunter2") && !error.description.contains("wrong@"))
            }
        }
    }

    @Test func users() async throws {
        let server = try await RedisServer.start([
            "user writer on >p%2F ~k:* -@all +hello +auth +ping +select +set",
            "user mute on >p ~* -@all +get",
        ])
        let writer = try await connect("redis://writer:p%252F@127.0.0.1:\(server.port)")
        let replies = try await writer.send(
            batch(["SET", "k:1", "v"], ["SET", "other", "v"], ["GET", "k:1"]))
        #expect(replies[0] == .simpleString("OK"))
        for reply in replies[1...] {
            guard case .error(let error) = reply else { throw TestServerError("\(replies)") }
            #expect(error.prefix == .noperm)
        }
        await writer.close()
        // A user who may not even PING.
        let mute = try await connect("redis://mute:p@127.0.0.1:\(server.port)")
        #expect(try await mute.send(batch(["GET", "x"])) == [.null])
        await mute.close()
        // Nor SELECT, where a database is asked for.
        do throws(RedisError) {
            _ = try await connect("redis://mute:p@127.0.0.1:\(server.port)/2")
            Issue.record("accepted")
        } catch {
            guard case .server(let refusal) = error.code else { throw error }
            #expect(refusal.prefix == .noperm)
            #expect(error.message.hasPrefix("SELECT: "))
        }
    }

    @Test func serverThatDoesNotKnowHello() async throws {
        let server = try await RedisServer.start(["requirepass hunter2", "rename-command HELLO \"\""])
        let connection = try await connect("redis://:hunter2@127.0.0.1:\(server.port)/3")
        _ = try await connection.send(batch(["SET", "k", "v"]))
        let list = try #require(try await connection.send(batch(["CLIENT", "LIST"])).first?.string)
        #expect(list.contains("name=tests") && list.contains("db=3"))
        await connection.close()
        #expect(
            await code { _ = try await connect("redis://:wrong@127.0.0.1:\(server.port)") }
                == .authenticationFailed)
        #expect(
            await code { _ = try await connect("redis://127.0.0.1:\(server.port)") } == .authenticationFailed)
        var configuration = try server.configuration()
        configuration.protocolVersion = .resp3
        #expect(
            await code { _ = try await RedisConnection.connect(configuration, logger: silent) }
                == .notSupported)
    }

    @Test func databaseOutOfRange() async throws {
        let server = try await RedisServer.start()
        do throws(RedisError) {
            _ = try await connect("redis://127.0.0.1:\(server.port)/99")
            Issue.record("accepted")
        } catch {
            guard case .server = error.code else { throw error }
            #expect(error.message.hasPrefix("SELECT: ERR"))
        }
    }

    /// The rights of a connection can go while it lives; then it is a reply like others.
    @Test func authenticationLostLater() async throws {
        let server = try await RedisServer.start()
        let connection = try await server.connect()
        try server.cli("CONFIG", "SET", "requirepass", "secret")
        let fresh = await code { _ = try await server.connect() }
        #expect(fresh == .authenticationFailed)
        let reply = try await connection.send(batch(["RESET"], ["PING"]))
        guard case .error(let error) = reply[1] else { throw TestServerError("\(reply)") }
        #expect(error.prefix == .noauth)
        await connection.close()
    }
}
