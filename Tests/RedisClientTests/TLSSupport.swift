import Logging
import Synchronization
import TestServers
import Testing

@testable import RedisClient

/// Roots, and a server of 127.0.0.1 that takes TLS only.
struct EncryptedServer {
    let authority: TestAuthority
    let server: RedisServer

    /// - Parameter names: for which the server's certificate is.
    static func start(
        _ names: [String] = ["DNS:localhost", "IP:127.0.0.1"], days: Int = 2,
        wantsClientCertificates: Bool = false, configuration: [String] = []
    ) async throws -> EncryptedServer {
        let authority = try TestAuthority()
        let identity = try authority.issue("server", names, days: days)
        let server = try await RedisServer.start(
            authority.configuration(for: identity, wantsClientCertificates: wantsClientCertificates)
                + configuration, isEncrypted: true)
        return EncryptedServer(authority: authority, server: server)
    }

    /// - Parameter query: more parameters, with their `&`.
    func configuration(
        _ host: String = "localhost", port: Int? = nil, roots: String? = nil, query: String = "",
        timeout: Duration = .seconds(5)
    ) throws -> RedisConfiguration {
        let place = "\(host):\(port ?? server.port)"
        let url = "rediss://\(place)/1?ca=\(roots ?? authority.rootPath)\(query)"
        return RedisConfiguration(
            endpoint: try RedisEndpoint(parsing: url), clientName: "tls", connectTimeout: timeout)
    }
}

/// Connects and asks something.
func ping(_ configuration: RedisConfiguration) async throws {
    let connection = try await RedisConnection.connect(configuration, logger: silent)
    #expect(try await connection.send(batch(["PING"])) == [.simpleString("PONG")])
    await connection.close()
}

/// The error of an attempt that must fail within the time that the configuration allows, and says where.
func refusal(_ configuration: RedisConfiguration) async throws -> RedisError {
    let start = ContinuousClock.now
    do throws(RedisError) {
        let connection = try await RedisConnection.connect(configuration, logger: silent)
        await connection.close()
    } catch {
        // The machine may be busy.
        #expect(ContinuousClock.now - start < configuration.connectTimeout + .seconds(2))
        #expect(error.address == configuration.endpoint.address.description)
        return error
    }
    throw TestServerError("connected to \(configuration.endpoint)")
}

/// Keeps what is logged.
final class KeptLog: LogHandler, Sendable {
    private let kept = Mutex<[(Logger.Level, String)]>([])

    var warnings: [String] { kept.withLock { $0.filter { $0.0 >= .warning }.map(\.1) } }

    var logger: Logger { Logger(label: "tests") { _ in self } }

    func log(event: LogEvent) {
        kept.withLock { $0.append((event.level, event.message.description)) }
    }

    var logLevel: Logger.Level {
        get { .trace }
        set {}
    }

    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }

    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
}
