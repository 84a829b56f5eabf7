import Foundation
import Glibc
import TestServers
import Testing

@testable import RedisClient

/// The files that `RedisTLS` names.
@Suite struct TLSFileTests {
    private func message(_ tls: RedisTLS) async throws -> String {
        let endpoint = RedisEndpoint(address: .host("localhost", port: try freePort()), tls: tls)
        let error = try await refusal(RedisConfiguration(endpoint: endpoint))
        #expect(error.code == .connectionFailed)
        return error.message
    }

    @Test func thatCannotBeUsed() async throws {
        let authority = try TestAuthority()
        let identity = try authority.issue("client", [])
        let other = try authority.issue("other", [])
        let directory = authority.directoryPath
        let text = "\(directory)/text"
        try "no PEM".write(toFile: text, atomically: false, encoding: .utf8)
        let broken = "\(directory)/broken"
        try "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".write(
            toFile: broken, atomically: false, encoding: .utf8)
        let pipe = "\(directory)/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        let encrypted = try authority.encryptedKey(of: identity)

        for (path, reason) in [
            ("\(directory)/missing", "No such file or directory"), (directory, "it is no regular file"),
            (pipe, "it is no regular file"), (text, "no certificates in PEM"),
            (broken, "no certificates in PEM"), ("/dev/zero", "it is no regular file"),
        ] {
            #expect(
                try await message(RedisTLS(rootsPath: path))
                    == "cannot use the file '\(path)' for TLS: \(reason)")
        }
        for (path, reason) in [
            ("\(directory)/missing", "No such file or directory"), (text, "no private key in PEM"),
            (identity.certificatePath, "no private key in PEM"),
            (encrypted, "the private key is encrypted"),
            (other.keyPath, "it is not the key of the certificate"),
        ] {
            let tls = RedisTLS(
                rootsPath: authority.rootPath,
                identity: .init(certificatePath: identity.certificatePath, keyPath: path))
            #expect(try await message(tls) == "cannot use the file '\(path)' for TLS: \(reason)")
        }
    }

    /// A client reads them once; where that failed, again.
    @Test func areReadOnce() async throws {
        let servers = try await EncryptedServer.start()
        let roots = "\(servers.authority.directoryPath)/later.pem"
        let client = RedisClient(configuration: try servers.configuration(roots: roots), logger: silent)
        do throws(RedisError) {
            _ = try await client.connection(deadline: soon, isPatient: false)
            Issue.record("connected")
        } catch {
            #expect(error.message.contains(roots), "\(error)")
        }
        try FileManager.default.copyItem(atPath: servers.authority.rootPath, toPath: roots)
        let connection = try await client.connection(deadline: soon)
        try FileManager.default.removeItem(atPath: roots)
        await connection.close()
        let next = try await client.connection(deadline: soon)
        #expect(try await next.send(batch(["PING"])) == [.simpleString("PONG")])
        await client.close()
    }

    @Test func unixSocketsHaveNoTLS() async throws {
        let endpoint = RedisEndpoint(address: .unixSocket(path: "/tmp/x"), tls: RedisTLS())
        #expect(try await refusal(RedisConfiguration(endpoint: endpoint)).code == .notSupported)
    }
}
