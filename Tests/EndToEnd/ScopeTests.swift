import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// Starts at which the tree, the ensemble or the definition is another than before.
@Suite(.serialized) struct ScopeTests {
    private static func pipeline(_ paths: String, snapshot: String = "initial") -> String {
        """
        name: scope
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: \(paths), snapshot: \(snapshot)}
        log: {directory: "${MILLRACE_DATA}"}
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """
    }

    @Test func whatLeavesTheScopeIsKeptUnlessAskedFor() async throws {
        try await TestBed.with { bed in
            try await bed.withWriter { writer in
                for path in ["/t", "/t/a", "/t/b"] { try await writer.create(path, "1") }
            }
            _ = try await bed.output(
                "run", "--until-caught-up", try bed.definition(ScopeTests.pipeline("[/t]")))
            let narrow = try bed.definition(ScopeTests.pipeline("[/t/a]"))
            _ = try await bed.output("run", "--until-caught-up", narrow)
            #expect(try await bed.redis("EXISTS", "k:/t/b").int == 1)
            _ = try await bed.output(
                "run", "--until-caught-up", try bed.definition(ScopeTests.pipeline("[/t]")))
            _ = try await bed.output("run", "--until-caught-up", "--scope-deletes", narrow)
            #expect(try await bed.strings("KEYS", "k:*") == ["k:/t/a"])
        }
    }

    /// Refused as long as nobody says that it is meant; then every difference is a change.
    @Test func anEnsembleThatIsBehindNeedsAWord() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(ScopeTests.pipeline("[/t]"))
            try await bed.withWriter { writer in
                for path in ["/t", "/t/a", "/t/b"] { try await writer.create(path, "old") }
                for round in 0..<50 { try await writer.set("/t/a", "old \(round)") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            let other = try await ZooKeeperServer.start()
            let restored = TestBed(zookeeper: other, redis: bed.redis, directory: bed.directory)
            try await restored.withWriter { writer in
                for path in ["/t", "/t/a", "/t/c"] { try await writer.create(path, "new") }
            }
            let refused = try restored.millrace("run", "--until-caught-up", file)
            #expect(try await refused.exit() == 3)
            #expect(refused.errors.contains("--new-ensemble"), "\(refused.errors)")
            _ = try await restored.output("run", "--until-caught-up", "--new-ensemble", file)
            #expect(try await bed.redis("GET", "k:/t/a").string == "new")
            #expect(try await bed.redis("GET", "k:/t/c").string == "new")
            #expect(try await bed.redis("EXISTS", "k:/t/b").int == 0)
            await other.stop()
        }
    }

    /// A server without a quorum closes connections as one does that is behind: only the second is a reason to end.
    @Test func servingNobodyForAMinuteIsWaitedFor() async throws {
        try await TestBed.with { bed in
            let proxy = try await TCPProxy.start(to: bed.zookeeper.address)
            let file = try bed.definition(ScopeTests.pipeline("[/t]"))
            try await bed.withWriter { try await $0.create("/t", "1") }
            let run = try bed.millrace("run", file, environment: ["ZOOKEEPER": proxy.address])
            try await eventually("it runs") { try await bed.redis("GET", "k:/t").string == "1" }
            proxy.refuse(true)
            proxy.cutAll()
            try await bed.withWriter { try await $0.set("/t", "2") }
            // A minute after the first refusal it looks whether others are served; just then the quorum is back.
            try await Task.sleep(for: .seconds(62))
            proxy.refuse(false)
            try await eventually("it goes on") { try await bed.redis("GET", "k:/t").string == "2" }
            #expect(try await run.stop() == 0)
            await proxy.stop()
        }
    }

    /// The baseline is known or read again, never told.
    @Test func aBaselineIsNeverTold() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(ScopeTests.pipeline("[/t]", snapshot: "never"))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<2000 { try await writer.create("/t/n\(index)", "1") }
            }
            for round in 0..<12 {
                let run = try bed.millrace("run", file)
                try await Task.sleep(for: .milliseconds(40 + 25 * round))
                run.process.kill()
                _ = try await run.exit()
            }
            let run = try bed.millrace("run", file)
            try await eventually("the baseline is read") { run.errors.contains("the tree is read") }
            try await bed.withWriter { try await $0.set("/t/n7", "2") }
            try await eventually("the change arrives") {
                try await bed.redis("GET", "k:/t/n7").string == "2"
            }
            #expect(try await run.stop() == 0)
            #expect(try await bed.stream("changes").map { $0.fields["path"] ?? "" } == ["/t/n7"])
        }
    }
}
