import Foundation
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// A harness that cannot fail is worthless: without what keeps the promises it finds that they are broken.
@Suite(.serialized) struct HarnessTests {
    @Test func withoutTheResyncLossesAreFound() async throws {
        try await TestBed.with { bed in
            let writer = RecordingWriter(seed: 5)
            let site = try await FaultSite.start(bed, Fault.zookeeperAway.pipeline, writer)
            try await bed.withWriter { try await $0.create("/t", "0") }
            try await site.launch("--unsafe-no-resync")
            try await site.waitForContact()
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            var random = SeededGenerator(seed: 5)
            for _ in 0..<3 {
                try await Task.sleep(for: .milliseconds(200))
                try await site.strike(.zookeeperAway, &random)
            }
            // While nobody looks, and then no more: what is written later would cover what was missed.
            try await site.strike(.sessionExpired, &random)
            writer.stop()
            try await writing
            try await Task.sleep(for: .seconds(2))
            let report = try await FaultReport.check(bed, writer.final)
            report.print("(harness: without the resync)", rounds: 4, acknowledged: writer.acknowledged)
            #expect(report.missing > 0)
            #expect(report.missing + report.stale + report.resurrected > 10)
            _ = try await site.stop()
        }
    }

    /// Two processes with a log each and one sink: the fence lets the later one write, alone.
    @Test(arguments: [true, false]) func withoutTheFenceDuplicatesAreFound(isFenced: Bool) async throws {
        try await TestBed.with { bed in
            // IDs of our own would refuse the second copy: here only the fence stands between them.
            let file = try bed.definition(
                """
                name: fence
                source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
                log: {directory: "${MILLRACE_DATA}"}
                sinks:
                  keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
                  changes: {redis: "${REDIS}", write: stream, key: "changes", id: auto}
                """)
            try await bed.withWriter { try await $0.create("/t", "0") }
            let options = isFenced ? [] : ["--unsafe-no-fence"]
            func start(_ data: String) async throws -> MillraceProcess {
                let process = try MillraceProcess(
                    ["run", "--take-over"] + options + [file],
                    environment: bed.environment.merging(["MILLRACE_DATA": data]) { $1 },
                    directory: bed.directory.path)
                try await eventually("it runs") { process.errors.contains("the tree is read") }
                return process
            }
            let first = try await start(bed.dataDirectory)
            try await eventually("it writes") { try await bed.stream("changes").count == 1 }
            let second = try await start(bed.dataDirectory + "-2")
            try await eventually("the other writes") { try await bed.stream("changes").count >= 2 }
            let mark = try await bed.stream("changes").count
            let writer = RecordingWriter(seed: 9)
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            try await Task.sleep(for: .seconds(2))
            writer.stop()
            try await writing
            try await Task.sleep(for: .seconds(2))
            var report = FaultReport()
            report.read(Array(try await bed.stream("changes").dropFirst(mark)), writer.final)
            report.print(
                "(harness: with the fence \(isFenced ? "on" : "off"))", rounds: 1,
                acknowledged: writer.acknowledged)
            if isFenced {
                #expect(report == .clean)
                #expect(try await first.exit(within: .seconds(5)) == 1)
                #expect(first.errors.contains("has taken it over"))
            } else {
                #expect(report.duplicated > 100)
                #expect(first.process.isRunning)
                _ = try await first.stop()
            }
            _ = try await second.stop()
        }
    }
}
