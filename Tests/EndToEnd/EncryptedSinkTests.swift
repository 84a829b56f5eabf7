import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// A sink whose Redis takes TLS only, and wants to know who comes.
@Suite(.serialized) struct EncryptedSinkTests {
    @Test func itIsDeliveredTo() async throws {
        let authority = try TestAuthority()
        let client = try authority.issue("client", [])
        let server = try await RedisServer.start(
            authority.configuration(for: try authority.issue("server"), wantsClientCertificates: true),
            isEncrypted: true)
        let url =
            "\(server.url)?ca=\(authority.rootPath)&cert=\(client.certificatePath)&key=\(client.keyPath)"
        try await TestBed.with { bed in
            let file = try bed.definition(
                """
                name: encrypted
                source:
                  zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
                log: {directory: "${MILLRACE_DATA}"}
                sinks:
                  keys: {redis: "${TLS_REDIS}", write: string, key: "k:{path}"}
                """)
            try await bed.withWriter { writer in
                try await writer.create("/t", "root")
                try await writer.create("/t/a", "one")
            }
            let run = try bed.millrace(
                "run", file, "--until-caught-up", environment: ["TLS_REDIS": url])
            #expect(try await run.exit() == 0, "\(run.errors)")
            #expect(try server.cli("GET", "k:/t/a") == "one")

            let show = try bed.millrace("offsets", "show", file, environment: ["TLS_REDIS": url])
            #expect(try await show.exit() == 0, "\(show.errors)")
            #expect(show.output.contains("keys"))
            let refused = try bed.millrace(
                "offsets", "show", file, environment: ["TLS_REDIS": "\(server.url)?ca=\(authority.rootPath)"])
            #expect(try await refused.exit() == 3, "\(refused.errors)")
            #expect((refused.output + refused.errors).contains("wants a client certificate"))
        }
        await server.stop()
    }
}
