import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// Breaks things under load and counts what arrived. `Scripts/faults` runs more rounds with a seed of choice.
@Suite(.serialized, .timeLimit(.minutes(30))) struct FaultTests {
    enum Fault: String, CaseIterable, CustomTestStringConvertible {
        case killed = "millrace killed with -9"
        case terminated = "millrace terminated"
        case zookeeperCut = "ZooKeeper connection cut"
        case sessionExpired = "ZooKeeper session expired"
        case zookeeperRestarted = "ZooKeeper restarted"
        case redisCut = "Redis connection cut"
        case redisStalled = "Redis stalled"
        case redisOutOfMemory = "Redis out of memory"
        case redisEmptied = "Redis killed, without persistence"

        var testDescription: String { rawValue }
    }

    private static let pipeline = """
        name: faults
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], session_timeout: 1s}
        log: {directory: "${MILLRACE_DATA}", segment: 256KiB}
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """

    private static func setting(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }

    /// How long what was acknowledged may take to arrive after the last fault.
    private static let convergence = Duration.seconds(20)

    /// All, or those whose name contains MILLRACE_FAULT.
    static var chosen: [Fault] {
        guard let part = ProcessInfo.processInfo.environment["MILLRACE_FAULT"] else { return Fault.allCases }
        return Fault.allCases.filter { $0.rawValue.contains(part) }
    }

    @Test(arguments: FaultTests.chosen) func nothingIsLost(_ fault: Fault) async throws {
        let seed = FaultTests.setting("MILLRACE_FAULT_SEED") ?? UInt64.random(in: 0...UInt64.max)
        let rounds = Int(FaultTests.setting("MILLRACE_FAULT_ROUNDS") ?? 5)
        try await TestBed.with { bed in
            let site = try await FaultSite.start(bed, try bed.definition(FaultTests.pipeline))
            let writer = RecordingWriter(seed: seed)
            try await bed.withWriter { try await $0.create("/t", "0") }
            try await site.launch()
            // A first start that finds no server ends with 3, as it should: faults come after the first contact.
            try await eventually("it runs") { site.errors.contains("the tree is read") }
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            var random = SeededGenerator(seed)
            for _ in 0..<rounds {
                try await Task.sleep(for: .milliseconds(Int.random(in: 20...700, using: &random)))
                try await site.strike(fault, &random)
            }
            try await Task.sleep(for: .milliseconds(200))
            writer.stop()
            try await writing
            let report = try await settle(bed, writer)
            print(
                "faults: \(fault.rawValue) | \(rounds) | \(writer.acknowledged) | \(report.missing) | "
                    + "\(report.stale) | \(report.resurrected) | \(report.duplicated) | \(report.reordered)")
            #expect(
                report == .clean, "\(fault.rawValue), seed \(seed): \(report)\n\(site.errors.suffix(3000))")
            #expect(try await site.stop() == 0)
        }
    }

    /// The running process has to bring it right: a restart would hide what the running capture missed.
    private func settle(_ bed: TestBed, _ writer: RecordingWriter) async throws -> FaultReport {
        let deadline = ContinuousClock.now + FaultTests.convergence
        let final = writer.final
        while true {
            let report = try await FaultReport.check(bed, final)
            if report.isConverged || ContinuousClock.now >= deadline { return report }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}

/// A pipeline with a proxy before each of its servers.
private final class FaultSite {
    private let bed: TestBed
    private let file: String
    private let zookeeper: TCPProxy
    private let redis: TCPProxy
    private var process: MillraceProcess?

    private init(_ bed: TestBed, _ file: String, zookeeper: TCPProxy, redis: TCPProxy) {
        self.bed = bed
        self.file = file
        self.zookeeper = zookeeper
        self.redis = redis
    }

    static func start(_ bed: TestBed, _ file: String) async throws -> FaultSite {
        FaultSite(
            bed, file, zookeeper: try await TCPProxy.start(to: bed.zookeeper.address),
            redis: try await TCPProxy.start(to: "127.0.0.1:\(bed.redis.port)"))
    }

    var errors: String { process?.errors ?? "" }

    func launch() async throws {
        process = try bed.millrace(
            "run", file,
            environment: ["ZOOKEEPER": zookeeper.address, "REDIS": "redis://\(redis.address)/0"])
    }

    func strike(_ fault: FaultTests.Fault, _ random: inout SeededGenerator) async throws {
        switch fault {
        case .killed:
            process?.process.kill()
            _ = try await process?.exit()
            try await launch()
        case .terminated:
            let status = try await process?.stop()
            // 128 + SIGTERM: it came before the program had said or done anything.
            #expect(status == 0 || status == 143 && errors.isEmpty, "\(errors.suffix(2000))")
            try await launch()
        case .zookeeperCut:
            zookeeper.cutAll()
        case .sessionExpired:
            zookeeper.refuse(true)
            zookeeper.cutAll()
            try await Task.sleep(for: .milliseconds(1500))
            zookeeper.refuse(false)
        case .zookeeperRestarted:
            bed.zookeeper.kill()
            try await bed.zookeeper.restart()
        case .redisCut:
            redis.cutAll()
        case .redisStalled:
            redis.stall(true)
            try await Task.sleep(for: .milliseconds(Int.random(in: 50...1500, using: &random)))
            redis.stall(false)
        case .redisOutOfMemory:
            _ = try await bed.redis("CONFIG", "SET", "maxmemory", "1")
            try await Task.sleep(for: .milliseconds(Int.random(in: 50...500, using: &random)))
            _ = try await bed.redis("CONFIG", "SET", "maxmemory", "0")
        case .redisEmptied:
            bed.redis.kill()
            try await bed.redis.restart()
        }
    }

    func stop() async throws -> Int32? {
        let status = try await process?.stop()
        await zookeeper.stop()
        await redis.stop()
        return status
    }
}
