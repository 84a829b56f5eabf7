import TestServers
import Testing

@testable import RedisClient

/// What can happen to a handshake, and to a connection afterwards.
@Suite struct TLSFailureTests {
    private static let brief = Duration.milliseconds(700)

    @Test func openServer() async throws {
        let servers = try await EncryptedServer.start()
        let open = try await RedisServer.start()
        // Redis waits for the end of a line that never comes, or answers that it does not understand.
        let error = try await refusal(
            try servers.configuration(port: open.port, timeout: TLSFailureTests.brief))
        #expect(error.code == .timeout || error.code == .connectionFailed)
        #expect(error.message.contains("speak TLS on this port"), "\(error)")
    }

    @Test func openClient() async throws {
        let servers = try await EncryptedServer.start()
        for version in [RedisConfiguration.ProtocolVersion.resp2, .resp3] {
            var configuration = try servers.configuration()
            configuration.endpoint.tls = nil
            configuration.protocolVersion = version
            let error = try await refusal(configuration)
            #expect(error.code == .connectionClosed)
            #expect(error.message.contains("want TLS (rediss://)"), "\(error)")
        }
    }

    @Test func nobodyListens() async throws {
        let servers = try await EncryptedServer.start()
        await servers.server.stop()
        #expect(try await refusal(try servers.configuration()).code == .connectionFailed)
    }

    @Test func silentServer() async throws {
        let servers = try await EncryptedServer.start()
        servers.server.process.suspend()
        defer { servers.server.process.resume() }
        let error = try await refusal(try servers.configuration(timeout: TLSFailureTests.brief))
        #expect(error.code == .timeout && error.message.contains("TLS handshake"), "\(error)")
    }

    @Test func dribblingHandshake() async throws {
        let servers = try await EncryptedServer.start()
        let proxy = try await TCPProxy.start(to: "127.0.0.1:\(servers.server.port)")
        proxy.dribble(true)
        try await ping(try servers.configuration(port: proxy.port))
        await proxy.stop()
    }

    /// On the way back, or on both.
    @Test func handshakeThatStandsStill() async throws {
        let servers = try await EncryptedServer.start()
        let proxy = try await TCPProxy.start(to: "127.0.0.1:\(servers.server.port)")
        proxy.delay(milliseconds: 500)
        let error = try await refusal(
            try servers.configuration(port: proxy.port, timeout: TLSFailureTests.brief))
        #expect(error.code == .timeout && error.message.contains("TLS handshake"), "\(error)")
        proxy.delay(milliseconds: 0)
        proxy.stall(true)
        #expect(
            try await refusal(try servers.configuration(port: proxy.port, timeout: TLSFailureTests.brief))
                .code == .timeout)
        await proxy.stop()
    }

    /// The server has said its part, what we say in return is lost.
    @Test(arguments: ["TLSv1.2", "TLSv1.3"])
    func handshakeCutInTheMiddle(version: String) async throws {
        let servers = try await EncryptedServer.start(configuration: ["tls-protocols \(version)"])
        let proxy = try await TCPProxy.start(to: "127.0.0.1:\(servers.server.port)")
        for dribbles in [false, true] {
            proxy.dribble(dribbles)
            for _ in 0..<5 {
                proxy.cutAfterNextAnswer()
                let error = try await refusal(try servers.configuration(port: proxy.port))
                #expect(error.code == .connectionFailed && error.message.contains("TLS"), "\(error)")
            }
        }
        proxy.refuse(true)
        #expect(try await refusal(try servers.configuration(port: proxy.port)).code == .connectionFailed)
        await proxy.stop()
    }

    @Test func cancellationInTheHandshake() async throws {
        let servers = try await EncryptedServer.start()
        servers.server.process.suspend()
        defer { servers.server.process.resume() }
        let configuration = try servers.configuration(timeout: .seconds(20))
        let start = ContinuousClock.now
        let ending = await withTaskGroup(of: RedisError.Code?.self) { group in
            group.addTask {
                await code { _ = try await RedisConnection.connect(configuration, logger: silent) }
            }
            try? await Task.sleep(for: .milliseconds(200))
            group.cancelAll()
            return await group.next() ?? nil
        }
        #expect(ending == .cancelled)
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test func serverIsKilled() async throws {
        let servers = try await EncryptedServer.start()
        let connection = try await RedisConnection.connect(try servers.configuration(), logger: silent)
        async let blocked = connection.send(batch(["BLPOP", "nothing", "20"]))
        try await Task.sleep(for: .milliseconds(100))
        servers.server.kill()
        do {
            _ = try await blocked
            Issue.record("answered")
        } catch {
            let error = try #require(error as? RedisError)
            #expect(error.code == .connectionClosed && error.message == "closed by the server", "\(error)")
        }
        #expect(connection.isClosed)
    }

    /// Nobody says farewell in return; we do not wait for it.
    @Test func closingTowardsASilentServer() async throws {
        let servers = try await EncryptedServer.start()
        let connection = try await RedisConnection.connect(try servers.configuration(), logger: silent)
        servers.server.process.suspend()
        defer { servers.server.process.resume() }
        let start = ContinuousClock.now
        await connection.close()
        #expect(ContinuousClock.now - start < .seconds(2))
    }

    @Test func clientComesBack() async throws {
        let servers = try await EncryptedServer.start()
        let proxy = try await TCPProxy.start(to: "127.0.0.1:\(servers.server.port)")
        let client = RedisClient(
            configuration: try servers.configuration(port: proxy.port), logger: silent)
        for _ in 0..<3 {
            let connection = try await client.connection(deadline: soon)
            #expect(try await connection.send(batch(["PING"])) == [.simpleString("PONG")])
            proxy.cutAll()
            while !connection.isClosed { try await Task.sleep(for: .milliseconds(5)) }
        }
        await client.close()
        await proxy.stop()
    }
}
