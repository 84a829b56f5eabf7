import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// Sinks that need what retention has removed: a new one, one that has lost its data, one that is too slow.
@Suite(.serialized) struct LateSinkTests {
    private static func pipeline(
        _ sinks: String, force: Bool = false, capture: String = "capture: watch"
    ) -> String {
        """
        name: late
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], \(capture)}
        log: {directory: "${MILLRACE_DATA}", segment: 4KiB, retain: {bytes: 8KiB, force: \(force)}}
        sinks:
        \(sinks)
        """
    }

    private static let keys = "  keys: {redis: \"${REDIS}\", write: string, key: \"k:{path}\"}"
    private static let changes =
        "  changes: {redis: \"${REDIS}\", write: stream, key: \"changes\", on_missing_checkpoint: earliest}"

    /// Sets fifty nodes until the log has lost its beginning.
    private static func writeUntilTrimmed(_ bed: TestBed) async throws {
        let log = bed.dataDirectory + "/late"
        try await bed.withWriter { writer in
            for index in 0..<50 { try await writer.create("/t/n\(index)", "0 \(UUID().uuidString)") }
            for round in 1...400 where !isTrimmed(log) {
                for index in 0..<50 { try await writer.set("/t/n\(index)", "\(round) \(UUID().uuidString)") }
                try await Task.sleep(for: .milliseconds(50))
            }
            for index in 40..<50 { try await writer.delete("/t/n\(index)") }
        }
        #expect(isTrimmed(log))
    }

    private static func isTrimmed(_ log: String) -> Bool {
        !FileManager.default.fileExists(atPath: "\(log)/00000000000000000000.lz4")
    }

    @Test(arguments: ["capture: watch", "capture: observer, quorum: \"${QUORUM}\""])
    func aRedisThatHasLostEverythingIsFilledAgain(capture: String) async throws {
        try await TestBed.with(capture.contains("observer") ? .observedEnsemble : .single) { bed in
            let file = try bed.definition(
                LateSinkTests.pipeline(LateSinkTests.keys + "\n" + LateSinkTests.changes, capture: capture))
            try await bed.withWriter { try await $0.create("/t", "root") }
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            try await LateSinkTests.writeUntilTrimmed(bed)
            try await eventually("delivered") { try await bed.redis("EXISTS", "k:/t/n49").int == 0 }
            _ = try await bed.redis("FLUSHALL")
            // Nothing is written any more: only a repeated snapshot can bring them.
            try await eventually("every live node is there again") {
                try await bed.strings("KEYS", "k:*").count == 41
            }
            try await eventually("the stream tells of each") {
                let paths = try await bed.stream("changes").map { $0.fields["path"] ?? "" }
                return Set(paths).isSuperset(of: ["/t"] + (0..<40).map { "/t/n\($0)" })
            }
            #expect(run.errors.contains("every live node"))
            #expect(try await run.stop() == 0)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: bed.dataDirectory + "/late/owed").isEmpty)
        }
    }

    /// An observer tells one sink the tree, and all others every transaction meanwhile.
    @Test func anObserverMissesNothingForASinkThatHasLostEverything() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let file = try bed.definition(
                LateSinkTests.pipeline(
                    LateSinkTests.keys + "\n" + LateSinkTests.changes,
                    capture: "capture: observer, quorum: \"${QUORUM}\""))
            try await bed.withWriter { writer in
                try await writer.create("/t", "root")
                try await writer.create("/t/counter", "0")
            }
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            try await LateSinkTests.writeUntilTrimmed(bed)
            try await eventually("delivered") { try await bed.redis("EXISTS", "k:/t/n49").int == 0 }
            let count = 3000
            async let writing: Void = bed.withWriter { writer in
                for value in 1...count { try await writer.set("/t/counter", "\(value)") }
            }
            try await Task.sleep(for: .milliseconds(300))
            let lost = try await bed.strings("KEYS", "*").filter { !$0.contains("changes") }
            _ = try await bed.redis(["DEL"] + lost)
            try await eventually("every live node is there again") {
                try await bed.strings("KEYS", "k:*").count == 42
            }
            try await writing
            try await eventually("the last value arrives") {
                try await bed.redis("GET", "k:/t/counter").string == "\(count)"
            }
            #expect(run.errors.contains("the tree is told once more"))
            #expect(!run.errors.contains("history is gone"))
            let versions = try await bed.stream("changes").filter {
                $0.fields["path"] == "/t/counter" && $0.fields["op"] == "u"
            }.compactMap { $0.fields["version"].flatMap { Int($0) } }
            #expect(versions == Array(1...count))
            #expect(try await run.stop() == 0)
        }
    }

    @Test func aNewSinkGetsWhatTheLogNoLongerHolds() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(LateSinkTests.pipeline(LateSinkTests.keys))
            try await bed.withWriter { try await $0.create("/t", "root") }
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            try await LateSinkTests.writeUntilTrimmed(bed)
            #expect(try await run.stop() == 0)
            let more = try bed.definition(
                LateSinkTests.pipeline(LateSinkTests.keys + "\n" + LateSinkTests.changes))
            _ = try await bed.output("run", "--until-caught-up", more)
            let paths = try await bed.stream("changes").map { $0.fields["path"] ?? "" }
            #expect(Set(paths).isSuperset(of: ["/t"] + (0..<40).map { "/t/n\($0)" }))
            // The other sink has them already.
            let dump = try await bed.output("log", "dump", bed.dataDirectory + "/late")
            #expect(dump.contains("\"op\":\"r\""))
        }
    }

    /// `retain.force: true`: the log does not wait for a sink.
    @Test func aSinkThatRetentionOvertakesGoesOn() async throws {
        try await TestBed.with { bed in
            let proxy = try await TCPProxy.start(to: "127.0.0.1:\(bed.redis.port)")
            let file = try bed.definition(LateSinkTests.pipeline(LateSinkTests.keys, force: true))
            try await bed.withWriter { try await $0.create("/t", "root") }
            let run = try bed.millrace("run", file, environment: ["REDIS": "redis://\(proxy.address)/0"])
            try await eventually("it runs") { try await bed.redis("EXISTS", "k:/t").int == 1 }
            proxy.refuse(true)
            proxy.cutAll()
            try await LateSinkTests.writeUntilTrimmed(bed)
            proxy.refuse(false)
            try await eventually("all that lives is there") {
                try await bed.strings("KEYS", "k:*").count == 41
            }
            #expect(run.process.isRunning)
            #expect(run.errors.contains("the log no longer holds what the sink has not taken"))
            #expect(try await run.stop() == 0)
            await proxy.stop()
        }
    }
}
