import Foundation
import NIOCore
import NIOSSL
import TestServers
import Testing

@testable import ZooKeeperClient

/// Ensembles that want to know who comes to their quorum ports.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct ObserverSecurityTests {
    /// The example of RFC 2831.
    @Test func digestMD5() throws {
        var talk = QuorumAuthentication(
            QuorumCredentials(name: "chris", password: "secret"), clientNonce: "OA6MHXh6VqTrRk",
            uri: "imap/elwood.innosoft.com")
        #expect(Array(talk.start.readableBytesView) == hex("5f2435013501edcc 00000000 00000000"))
        let challenge =
            #"realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8"#
        let answer = try received(&talk, status: 0, challenge)
        guard case .answer(let packet) = answer else { throw TestServerError("no answer: \(answer)") }
        let text = String(decoding: packet.readableBytesView, as: UTF8.self)
        #expect(text.contains("response=d388dad90d4bbd760a152321f2143af7"))
        #expect(text.contains(#"username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh""#))
        var liar = talk
        #expect(throws: QuorumAuthentication.Failure.self) {
            try received(&liar, status: 1, "rspauth=00000000000000000000000000000000")
        }
        #expect(try received(&talk, status: 1, "rspauth=ea40f60335c427b5527b84dbabcdfffd") == .accepted)
        var unasked = QuorumAuthentication(QuorumCredentials(name: "a", password: "b"))
        #expect(throws: QuorumAuthentication.Failure.self) { try received(&unasked, status: 1, "rspauth=") }
        #expect(throws: QuorumAuthentication.Failure.self) { try received(&unasked, status: -1, "") }
    }

    /// Cut at every byte first.
    private func received(
        _ talk: inout QuorumAuthentication, status: Int32, _ token: String
    ) throws -> QuorumAuthentication.Step {
        var packet = ByteBuffer()
        packet.writeMultipleIntegers(Int64(0x5f24_3501_3501_edcc), status)
        packet.put(token)
        for end in 0..<packet.readableBytes {
            var part = ByteBuffer(bytes: packet.readableBytesView.prefix(end))
            let step = try talk.next(&part)
            #expect(step == .incomplete && part.readableBytes == end)
        }
        return try talk.next(&packet)
    }

    @Test func sasl() async throws {
        let directory = try TemporaryDirectory()
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required"
        let logins = """
            QuorumServer { \(module) user_test="geheim" user_millrace="s3\u{e9}cret"; };
            QuorumLearner { \(module) username="test" password="geheim"; };
            """
        try logins.write(toFile: "\(directory.path)/jaas.conf", atomically: false, encoding: .utf8)
        let ensemble = try await ZooKeeperEnsemble.start(
            [
                "quorum.auth.enableSasl=true", "quorum.auth.learnerRequireSasl=true",
                "quorum.auth.serverRequireSasl=true",
            ],
            virtualMachine: [
                "-Djava.security.auth.login.config=\(directory.path)/jaas.conf", "-Dfile.encoding=UTF-8",
            ])
        let seen = try await withObserver(
            try observing(ensemble) {
                $0.credentials = QuorumCredentials(name: "millrace", password: "s3\u{e9}cret")
            }
        ) { reader in try await reader.read { $0.isLive } }
        #expect(seen.tree.nodes["/zookeeper"] != nil)
        let refused = await code {
            let configuration = try observing(ensemble) {
                $0.credentials = QuorumCredentials(name: "millrace", password: "wrong")
            }
            try await withObserver(configuration) { reader in _ = try await reader.read { $0.isLive } }
        }
        #expect(refused == .authenticationFailed)
        try await withObserver(try observing(ensemble)) { reader in
            let seen = try await reader.read {
                $0.failures.contains { $0.message.contains("perhaps it wants") }
            }
            #expect(!seen.isLive)
        }
        await ensemble.stop()
    }

    @Test func tls() async throws {
        let authority = try TestAuthority()
        let server = try authority.issue("server")
        let client = try authority.issue("observer")
        // ZooKeeper wants both in one file.
        let pair = "\(authority.directoryPath)/both.pem"
        let parts = try [server.keyPath, server.certificatePath].map {
            try String(contentsOfFile: $0, encoding: .utf8)
        }
        try parts.joined().write(toFile: pair, atomically: false, encoding: .utf8)
        let ensemble = try await ZooKeeperEnsemble.start([
            "sslQuorum=true", "ssl.quorum.keyStore.location=\(pair)", "ssl.quorum.keyStore.type=PEM",
            "ssl.quorum.trustStore.location=\(authority.rootPath)", "ssl.quorum.trustStore.type=PEM",
        ])
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authority.rootPath))
        let anonymous = settings
        settings.certificateChain = try NIOSSLCertificate.fromPEMFile(client.certificatePath).map {
            .certificate($0)
        }
        settings.privateKey = .privateKey(try NIOSSLPrivateKey(file: client.keyPath, format: .pem))
        let named = settings
        let seen = try await withObserver(try observing(ensemble) { $0.tls = named }) { reader in
            try await reader.read { $0.isLive }
        }
        #expect(seen.tree.nodes["/zookeeper"] != nil)
        try await withObserver(try observing(ensemble) { $0.tls = anonymous }) { reader in
            let seen = try await reader.read { $0.failures.contains { $0.code == .connectionLoss } }
            #expect(!seen.isLive)
        }
        await ensemble.stop()
    }
}
