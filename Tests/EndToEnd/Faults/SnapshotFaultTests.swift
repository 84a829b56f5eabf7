import Foundation
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// A snapshot of thousands of nodes, ended again and again before it is complete.
@Suite(.serialized) struct SnapshotFaultTests {
    private static let pipeline = """
        name: "faults-${RUN}"
        source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
        log: {directory: "${MILLRACE_DATA}", segment: 16KiB}
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """

    @Test(arguments: ["killed with -9", "terminated", "cut off"])
    func aSnapshotIsInterrupted(by fault: String) async throws {
        let seed = FaultSetting.seed
        let rounds = FaultSetting.rounds(4)
        try await TestBed.with { bed in
            let writer = RecordingWriter(seed: seed)
            try await bed.withWriter { client in
                for path in ["/t"] + (0..<3000).map({ "/t/s\($0)" }) {
                    let value = writer.nextValue()
                    try await client.create(path, value)
                    writer.note(path, value)
                }
            }
            let proxy = try await TCPProxy.start(to: bed.zookeeper.address)
            let file = try bed.definition(SnapshotFaultTests.pipeline)
            var random = SeededGenerator(seed: seed)
            var total = FaultReport()
            for round in 0..<rounds {
                _ = try await bed.redis("FLUSHALL")
                let environment = ["RUN": "\(round)", "ZOOKEEPER": proxy.address]
                var run = try bed.millrace("run", file, environment: environment)
                for _ in 0..<4 {
                    try await Task.sleep(for: .milliseconds(Int.random(in: 20...180, using: &random)))
                    switch fault {
                    case "cut off":
                        proxy.cutAll()
                        continue
                    case "terminated":
                        _ = try await run.stop()
                    default:
                        run.process.kill()
                        _ = try await run.exit()
                    }
                    run = try bed.millrace("run", file, environment: environment)
                }
                let report = try await FaultReport.settled(bed, writer.final)
                total.add(report)
                #expect(
                    report == .clean, "seed \(seed), round \(round): \(report)\n\(run.errors.suffix(2000))")
                #expect(try await run.stop() == 0)
            }
            total.print("snapshot \(fault)", rounds: rounds, acknowledged: writer.acknowledged)
            await proxy.stop()
        }
    }
}
