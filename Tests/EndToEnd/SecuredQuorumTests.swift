import Foundation
import TestServers
import Testing

/// `quorum` as a mapping: who comes, over what, and to whom first.
@Suite(.serialized, .timeLimit(.minutes(3))) struct SecuredQuorumTests {
    private static func pipeline(_ quorum: String) -> String {
        """
        name: observed
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], capture: observer, quorum: \(quorum)}
        log: {directory: "${MILLRACE_DATA}"}
        sinks:
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """
    }

    private static func with(
        _ configuration: [String], virtualMachine: [String] = [], _ body: (TestBed) async throws -> Void
    ) async throws {
        let ensemble = try await ZooKeeperEnsemble.start(configuration, virtualMachine: virtualMachine)
        let bed = TestBed(
            zookeeper: ensemble.servers[0], redis: try await RedisServer.start(),
            directory: try TemporaryDirectory(), ensemble: ensemble)
        do {
            try await body(bed)
        } catch {
            await bed.stop()
            throw error
        }
        await bed.stop()
    }

    @Test func theQuorumMayAskForTLSAndAName() async throws {
        let authority = try TestAuthority()
        let server = try authority.issue("server")
        let client = try authority.issue("observer")
        // ZooKeeper wants both in one file.
        let pair = "\(authority.directoryPath)/both.pem"
        let parts = try [server.keyPath, server.certificatePath].map {
            try String(contentsOfFile: $0, encoding: .utf8)
        }
        try parts.joined().write(toFile: pair, atomically: false, encoding: .utf8)
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required"
        let logins = "\(authority.directoryPath)/jaas.conf"
        try """
        QuorumServer { \(module) user_test="geheim" user_millrace="a:b"; };
        QuorumLearner { \(module) username="test" password="geheim"; };
        """.write(toFile: logins, atomically: false, encoding: .utf8)
        let configuration = [
            "sslQuorum=true", "ssl.quorum.keyStore.location=\(pair)", "ssl.quorum.keyStore.type=PEM",
            "ssl.quorum.trustStore.location=\(authority.rootPath)", "ssl.quorum.trustStore.type=PEM",
            "quorum.auth.enableSasl=true", "quorum.auth.learnerRequireSasl=true",
            "quorum.auth.serverRequireSasl=true",
        ]
        let tls =
            "{ca: \"\(authority.rootPath)\", cert: \"\(client.certificatePath)\", key: \"\(client.keyPath)\"}"
        try await SecuredQuorumTests.with(
            configuration, virtualMachine: ["-Djava.security.auth.login.config=\(logins)"]
        ) { bed in
            try await bed.withWriter { try await $0.create("/t", "") }
            let quorum = "{servers: \"${QUORUM}\", credentials: \"millrace:a:b\", tls: \(tls)}"
            let run = try bed.millrace("run", try bed.definition(SecuredQuorumTests.pipeline(quorum)))
            try await eventually("the snapshot arrives") { try await bed.stream("changes").count == 1 }
            try await bed.withWriter { writer in
                for index in 1...50 { try await writer.set("/t", "\(index)") }
            }
            try await eventually("every value arrives") { try await bed.stream("changes").count == 51 }
            #expect(try await run.stop() == 0)
            let wrong = quorum.replacingOccurrences(of: "a:b", with: "else")
            let refused = try bed.millrace("run", try bed.definition(SecuredQuorumTests.pipeline(wrong)))
            #expect(try await refused.exit() == 3)
            #expect(refused.errors.contains("quorum port"), "\(refused.errors)")
            let missing = quorum.replacingOccurrences(of: client.keyPath, with: "/nowhere.key")
            let unusable = try bed.millrace("run", try bed.definition(SecuredQuorumTests.pipeline(missing)))
            #expect(try await unusable.exit() == 3)
            #expect(
                unusable.errors.contains("cannot use the file '/nowhere.key' for TLS"), "\(unusable.errors)")
        }
    }

    @Test func followersThatServeObserversAreTriedFirst() async throws {
        try await SecuredQuorumTests.with([]) { bed in
            try await bed.withWriter { try await $0.create("/t", "") }
            let masters = try #require(bed.ensemble).observerMasterAddresses
            let quorum = "{servers: \"${QUORUM}\", observer_masters: \"\(masters.joined(separator: ","))\"}"
            let run = try bed.millrace("run", try bed.definition(SecuredQuorumTests.pipeline(quorum)))
            try await eventually("the snapshot arrives") { try await bed.stream("changes").count == 1 }
            try await bed.withWriter { try await $0.set("/t", "1") }
            try await eventually("the value arrives") { try await bed.stream("changes").count == 2 }
            #expect(try await run.stop() == 0)
            #expect(masters.contains { run.errors.contains("server=\($0)") }, "\(run.errors)")
        }
    }
}
