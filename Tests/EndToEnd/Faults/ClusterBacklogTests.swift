import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// A full log goes into a cluster as fast as it takes it, while 4,096 slots go to and fro.
@Suite(.serialized, .timeLimit(.minutes(30))) struct ClusterBacklogTests {
    private static let nodes = 20_000
    private static let nodesOfATransaction = 500

    /// The same log, while there is no cluster yet.
    private static let capture = """
        name: faults
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], session_timeout: 1s}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - rules:
              - {match: "/t/{group}/{node}", to: []}
        sinks:
          nowhere: {write: stdout}
        """

    @Test func aBacklogIsDeliveredWhileSlotsMove() async throws {
        let writes = FaultSetting.rounds(4)
        try await TestBed.with(.cluster) { bed in
            let servers = try #require(bed.cluster)
            let final = try await ClusterBacklogTests.fill(bed, writes: writes)
            let changes = writes * ClusterBacklogTests.nodes
            let site = try await FaultSite.start(bed, ClusterFault.pipeline, RecordingWriter(seed: 0))
            try await site.launch("--until-caught-up")
            let process = try #require(site.running)
            try await site.waitForDelivery(sinks: ClusterFault.sinks)
            let clock = ContinuousClock()
            let start = clock.now
            async let ended = {
                let status = try await process.exit(within: .seconds(600))
                return (status, clock.now - start)
            }()
            var (source, target) = (servers.servers[0], servers.servers[1])
            var reshards = 0
            while process.process.isRunning {
                try await servers.reshard(4_096, from: source, to: target)
                (source, target) = (target, source)
                reshards += 1
            }
            let (status, time) = try await ended
            #expect(status == 0, "\(site.errors.suffix(3000))")
            let report = try await FaultReport.check(bed, final)
            report.print("cluster: a backlog while slots move", rounds: reshards, acknowledged: changes)
            let rate = Double(changes) / (time / .seconds(1))
            print(
                "delivered again: cluster: a backlog while slots move | "
                    + RunSummary(site.errors).deliveredAgain(unmapped: 1 + ClusterFault.groups))
            print(
                "backlog: \(changes) changes into each of three sinks in \(time), \(Int(rate)) a second into each, "
                    + "while 4,096 slots were resharded \(reshards) times")
            #expect(report == .clean)
            try await ClusterAudit.expectOrder(in: servers)
            _ = try await site.stop()
        }
    }

    /// Fills the log, with no change that coalesces. Returns what the nodes hold at last.
    private static func fill(_ bed: TestBed, writes: Int) async throws -> [String: String?] {
        let groups = ClusterFault.groups
        let paths = (0..<nodes).map { "/t/g\($0 % groups)/n\($0)" }
        try await bed.withWriter { try await RecordingWriter(seed: 0, groups: groups).prepare($0) }
        let file = try bed.definition(capture)
        let run = try bed.millrace("run", file)
        try await eventually("it runs") { run.errors.contains("the tree is read") }
        for write in 1...writes {
            try await bed.withWriter { client in
                for start in stride(from: 0, to: nodes, by: nodesOfATransaction) {
                    let data = Array("\(write)".utf8)
                    _ = try await client.multi(
                        paths[start..<min(start + nodesOfATransaction, nodes)].map { path in
                            write == 1
                                ? .create(path: path, data: data) : .setData(path: path, data: data)
                        })
                }
            }
            let end = 1 + groups + write * nodes
            try await eventually("all is in the log", within: .seconds(60)) {
                try await bed.output("log", "stat", bed.dataDirectory + "/faults").contains(" to \(end) (")
            }
        }
        #expect(try await run.stop() == 0)
        return Dictionary(uniqueKeysWithValues: paths.map { ($0, "\(writes)") })
    }
}
