import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// Breaks things under load and counts what arrived. `Scripts/faults` runs more rounds with a seed of choice.
@Suite(.serialized, .timeLimit(.minutes(60))) struct FaultTests {
    @Test(arguments: Fault.chosen) func nothingIsLost(_ fault: Fault) async throws {
        let seed = FaultSetting.seed
        let rounds = FaultSetting.rounds(fault.shortRounds)
        try await TestBed.with(fault.bed, redis: fault.redisConfiguration) { bed in
            let writer = RecordingWriter(seed: seed)
            let site = try await FaultSite.start(bed, fault.pipeline, writer)
            if fault == .clockSteppedBack { try site.steppedClock() }
            try await bed.withWriter { try await $0.create("/t", "0") }
            try await site.launch()
            try await site.waitForContact()
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            var random = SeededGenerator(seed: seed)
            for _ in 0..<rounds {
                try await Task.sleep(for: .milliseconds(Int.random(in: 20...700, using: &random)))
                try await site.strike(fault, &random)
            }
            try await Task.sleep(for: .milliseconds(200))
            writer.stop()
            try await writing
            let report = try await FaultReport.settled(bed, writer.final)
            report.print(fault.rawValue, rounds: rounds, acknowledged: writer.acknowledged)
            #expect(
                report == .clean, "\(fault.rawValue), seed \(seed): \(report)\n\(site.errors.suffix(3000))")
            if let trace = fault.trace {
                #expect(site.allErrors.contains(trace), "\(fault.rawValue): no trace of it")
            }
            #expect(try await site.stop() == 0)
        }
    }
}
