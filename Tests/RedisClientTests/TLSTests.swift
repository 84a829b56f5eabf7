import TestServers
import Testing

@testable import RedisClient

@Suite struct TLSTests {
    @Test func carriesCommandsLargeAndSmall() async throws {
        let servers = try await EncryptedServer.start(configuration: ["requirepass hunter2"])
        var configuration = try servers.configuration()
        configuration.endpoint.password = "hunter2"
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        let value = String(repeating: "0123456789abcdef", count: 1 << 18)
        let replies = try await connection.send(batch(["SET", "large", value], ["GET", "large"]))
        #expect(replies == [.simpleString("OK"), bulk(value)])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    let replies = try await connection.send(
                        batch(["SET", "k\(number)", "\(number)"], ["GET", "k\(number)"]))
                    #expect(replies == [.simpleString("OK"), bulk("\(number)")])
                }
            }
            try await group.waitForAll()
        }
        let list = try #require(try await connection.send(batch(["CLIENT", "LIST"])).first?.string)
        #expect(list.contains("name=tls") && list.contains("db=1"))
        await connection.close()
        configuration.endpoint.password = "wrong"
        #expect(try await refusal(configuration).code == .authenticationFailed)
    }

    @Test(arguments: ["TLSv1.2", "TLSv1.3"])
    func versions(version: String) async throws {
        let servers = try await EncryptedServer.start(configuration: ["tls-protocols \(version)"])
        try await ping(try servers.configuration())
    }

    @Test func oldVersionsAreRefused() async throws {
        let servers = try await EncryptedServer.start(configuration: [
            "tls-protocols TLSv1.1", "tls-ciphers ALL:@SECLEVEL=0",
        ])
        let error = try await refusal(try servers.configuration())
        #expect(error.code == .connectionFailed && error.message.contains("protocol"), "\(error)")
    }

    // MARK: Whom we trust

    @Test func otherRootsAreRefused() async throws {
        let servers = try await EncryptedServer.start()
        let other = try TestAuthority()
        for mode in ["full", "ca"] {
            let error = try await refusal(
                try servers.configuration(roots: other.rootPath, query: "&verify=\(mode)"))
            #expect(error.code == .connectionFailed)
            #expect(error.message.contains("certificate is not trusted"), "\(error)")
        }
        var ofTheSystem = try servers.configuration()
        ofTheSystem.endpoint.tls = RedisTLS()
        let error = try await refusal(ofTheSystem)
        #expect(error.message.contains("certificate is not trusted"), "\(error)")
    }

    @Test func expiredCertificate() async throws {
        let servers = try await EncryptedServer.start(days: -1)
        let error = try await refusal(try servers.configuration(query: "&verify=ca"))
        #expect(error.code == .connectionFailed && error.message.contains("has expired"), "\(error)")
    }

    @Test func wrongHostName() async throws {
        let servers = try await EncryptedServer.start(["DNS:other.test", "IP:127.0.0.2"])
        for host in ["localhost", "127.0.0.1"] {
            let error = try await refusal(try servers.configuration(host))
            #expect(error.code == .connectionFailed)
            #expect(error.message.contains("certificate is for another host"), "\(error)")
            try await ping(try servers.configuration(host, query: "&verify=ca"))
        }
    }

    @Test func addressIsVerified() async throws {
        let servers = try await EncryptedServer.start(["IP:127.0.0.1"])
        try await ping(try servers.configuration("127.0.0.1"))
        // The name leads to the address of the certificate. So can a bent one.
        let error = try await refusal(try servers.configuration("localhost"))
        #expect(error.code == .connectionFailed)
        #expect(error.message.contains("certificate is for another host"), "\(error)")
    }

    @Test func nameAloneIsNoAddress() async throws {
        let servers = try await EncryptedServer.start(["DNS:localhost"])
        try await ping(try servers.configuration("localhost"))
        #expect(try await refusal(try servers.configuration("127.0.0.1")).message.contains("another host"))
    }

    @Test func nothingIsVerified() async throws {
        let servers = try await EncryptedServer.start(["DNS:other.test"], days: -1)
        let log = KeptLog()
        var configuration = try servers.configuration()
        configuration.endpoint.tls = RedisTLS(verification: .none)
        let client = RedisClient(configuration: configuration, logger: log.logger)
        for _ in 0..<3 {
            let connection = try await client.connection(deadline: soon)
            _ = try await connection.send(batch(["PING"]))
            await connection.close()
        }
        await client.close()
        #expect(log.warnings == ["the certificates of Redis servers are not checked (verify=none)"])
    }

    @Test func namesOfCertificates() throws {
        let name = try #require(ServerName("Node-1.Redis.test."))
        for pattern in ["node-1.redis.test", "NODE-1.redis.test.", "*.redis.test"] {
            #expect(name.matches(pattern))
        }
        for pattern in [
            "redis.test", "*.test", "node-*.redis.test", "*", "*.", "", "x.redis.test", "*.*.test",
        ] {
            #expect(!name.matches(pattern))
        }
        for address in ["127.0.0.1", "::1", "fe80::1"] { #expect(ServerName(address) == nil) }
    }

    // MARK: Who we are

    @Test(arguments: ["TLSv1.2", "TLSv1.3"])
    func clientCertificates(version: String) async throws {
        let servers = try await EncryptedServer.start(
            wantsClientCertificates: true, configuration: ["tls-protocols \(version)"])
        let client = try servers.authority.issue("client", [])
        let identity = "&cert=\(client.certificatePath)&key=\(client.keyPath)"
        try await ping(try servers.configuration(query: identity))
        for _ in 0..<10 {
            let error = try await refusal(try servers.configuration())
            #expect(error.code == .connectionFailed)
            #expect(error.message.contains("wants a client certificate"), "\(error)")
        }
        let stranger = try TestAuthority()
        let strange = try stranger.issue("strange", [])
        var configuration = try servers.configuration()
        configuration.endpoint.tls?.identity = RedisTLS.Identity(
            certificatePath: strange.certificatePath, keyPath: strange.keyPath)
        let error = try await refusal(configuration)
        #expect(error.code == .connectionFailed && error.message.contains("the server refuses"), "\(error)")
    }
}
