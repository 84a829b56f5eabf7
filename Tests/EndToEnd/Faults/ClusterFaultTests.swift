import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// Breaks clusters under load and counts what arrived. `Scripts/faults` runs more rounds with a seed of choice.
@Suite(.serialized, .timeLimit(.minutes(60))) struct ClusterFaultTests {
    @Test(arguments: ClusterFault.chosen) func nothingIsLost(_ fault: ClusterFault) async throws {
        let seed = FaultSetting.seed
        let rounds = FaultSetting.rounds(fault.shortRounds)
        try await TestBed.with(fault.bed, redis: fault.redisConfiguration) { bed in
            let servers = try #require(bed.cluster)
            let writer = RecordingWriter(seed: seed, groups: ClusterFault.groups)
            let site = try await FaultSite.start(bed, ClusterFault.pipeline, writer)
            try await bed.withWriter { try await writer.prepare($0) }
            try await site.launch()
            try await site.waitForDelivery(sinks: ClusterFault.sinks)
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            var random = SeededGenerator(seed: seed)
            for round in 0..<rounds {
                try await Task.sleep(for: .milliseconds(Int.random(in: 100...700, using: &random)))
                try await site.strike(fault, round: round, &random)
            }
            try await Task.sleep(for: .milliseconds(200))
            writer.stop()
            try await writing
            let report = try await FaultReport.settled(bed, writer.final)
            report.print(fault.rawValue, rounds: rounds, acknowledged: writer.acknowledged)
            #expect(
                report == .clean,
                "\(fault.rawValue), seed \(seed): \(report)\n\(site.allErrors.suffix(20_000))")
            if let trace = fault.trace {
                #expect(site.allErrors.contains(trace), "\(fault.rawValue): no trace of it")
            }
            try await ClusterAudit.expectOrder(in: servers)
            #expect(try await site.stop() == 0)
            if fault.endsWell {
                let again = RunSummary(site.errors).deliveredAgain(unmapped: 1 + ClusterFault.groups)
                print("delivered again: \(fault.rawValue) | \(again)")
            }
        }
    }

    /// In a cluster where nothing changes, after the first look at its map, nothing is sent to the wrong node.
    @Test func aQuietClusterRedirectsNothing() async throws {
        try await TestBed.with(.cluster) { bed in
            let servers = try #require(bed.cluster)
            let writer = RecordingWriter(seed: 11, groups: ClusterFault.groups)
            let site = try await FaultSite.start(bed, ClusterFault.pipeline, writer)
            try await bed.withWriter { try await writer.prepare($0) }
            try await site.launch()
            try await site.waitForDelivery(sinks: ClusterFault.sinks)
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            try await Task.sleep(for: .seconds(1))
            func redirections() throws -> Int { try servers.errors("MOVED") + servers.errors("ASK") }
            let before = try redirections()
            try await Task.sleep(for: .seconds(4))
            writer.stop()
            try await writing
            let report = try await FaultReport.settled(bed, writer.final)
            report.print("cluster: nothing", rounds: 1, acknowledged: writer.acknowledged)
            #expect(report == .clean, "\(site.errors.suffix(3000))")
            #expect(try redirections() == before)
            // It uses all of the cluster.
            for master in servers.masters() {
                #expect(try servers.keys(of: master, matching: "changes:*").count > 0)
                #expect(try servers.keys(of: master, matching: "k:*").count > 10)
            }
            try await ClusterAudit.expectOrder(in: servers)
            // redis-cli is sent to and fro.
            #expect(try redirections() > before)
            #expect(try await site.stop() == 0)
            #expect(
                RunSummary(site.errors).deliveredAgain(unmapped: 1 + ClusterFault.groups)
                    == "changes 0, hashes 0, keys 0")
        }
    }
}
