import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// A pipeline with a proxy before each server that is alone. Nodes of a cluster announce their own ports, past any
/// proxy.
final class FaultSite {
    let bed: TestBed
    let writer: RecordingWriter
    let file: String
    private let zookeeper: TCPProxy?
    private let redis: TCPProxy?
    /// A Sentinel that takes connections and says nothing, as the first of two.
    private let silent: TCPProxy?
    private var process: MillraceProcess?
    private var ended: [MillraceProcess] = []
    private var hasSubtree = false
    /// Of the clock that a stepped run sees.
    private var clock: SteppedClock?

    private init(
        _ bed: TestBed, _ file: String, _ writer: RecordingWriter, zookeeper: TCPProxy?, redis: TCPProxy?,
        silent: TCPProxy?
    ) {
        self.bed = bed
        self.file = file
        self.writer = writer
        self.zookeeper = zookeeper
        self.redis = redis
        self.silent = silent
        silent?.stall(true)
    }

    static func start(_ bed: TestBed, _ definition: String, _ writer: RecordingWriter) async throws
        -> FaultSite
    {
        FaultSite(
            bed, try bed.definition(definition), writer,
            zookeeper: bed.ensemble == nil ? try await TCPProxy.start(to: bed.zookeeper.address) : nil,
            redis: bed.sentinels == nil && bed.cluster == nil
                ? try await TCPProxy.start(to: "127.0.0.1:\(bed.redis.port)") : nil,
            silent: bed.sentinels == nil ? nil : try await TCPProxy.start(to: "127.0.0.1:\(bed.redis.port)"))
    }

    var errors: String { process?.errors ?? "" }
    /// Of every process so far.
    var allErrors: String { (ended + [process].compactMap { $0 }).map(\.errors).joined() }
    var running: MillraceProcess? { process }

    func steppedClock() throws {
        clock = try SteppedClock(directory: bed.directory.path)
    }

    func launch(_ options: String...) async throws {
        var environment = clock?.environment ?? [:]
        if let zookeeper { environment["ZOOKEEPER"] = zookeeper.address }
        if let redis { environment["REDIS"] = "redis://\(redis.address)/0" }
        if let process { ended.append(process) }
        if let silent, let port = bed.sentinels?.sentinelPort {
            environment["REDIS"] = "redis+sentinel://\(silent.address),127.0.0.1:\(port)/main/0"
        }
        process = try MillraceProcess(
            ["run"] + options + [file], environment: bed.environment.merging(environment) { $1 },
            directory: bed.directory.path)
    }

    /// A first start that finds no server ends with 3, as it should: faults come after the first contact.
    func waitForContact() async throws {
        try await eventually("it runs", within: .seconds(40)) { self.errors.contains("the tree is read") }
    }

    /// A sink of a cluster looks at every slot before it delivers.
    func waitForDelivery(sinks: Int) async throws {
        try await eventually("it delivers", within: .seconds(60)) {
            self.errors.matches(of: /delivery starts/).count == sinks
        }
    }

    func stop() async throws -> Int32? {
        let status = try await process?.stop()
        await zookeeper?.stop()
        await redis?.stop()
        await silent?.stop()
        return status
    }

    func pause(_ milliseconds: ClosedRange<Int>, _ random: inout SeededGenerator) async throws {
        try await Task.sleep(for: .milliseconds(Int.random(in: milliseconds, using: &random)))
    }

    func strike(_ fault: Fault, _ random: inout SeededGenerator) async throws {
        switch fault {
        case .killed, .killedWhileRolling:
            process?.process.kill()
            _ = try await process?.exit()
            try await launch()
        case .terminated, .terminatedWhileRolling:
            let status = try await process?.stop()
            // 128 + SIGTERM: it came before the program had said or done anything.
            #expect(status == 0 || status == 143 && errors.isEmpty, "\(errors.suffix(2000))")
            try await launch()
        case .clockSteppedBack:
            try clock?.stepBack(seconds: Int.random(in: 1...7200, using: &random))
        case .zookeeperCut, .zookeeperCutInResync, .zookeeperCutBeforeRead, .zookeeperHalfClosed,
            .zookeeperSlow,
            .zookeeperDribbles, .zookeeperAway, .sessionExpired:
            try await strikeConnection(fault, &random)
        case .subtreeRecreated:
            try await recreateSubtree()
        case .zookeeperRestarted:
            bed.zookeeper.kill()
            try await bed.zookeeper.restart()
        case .followerKilled, .leaderKilled, .ensembleRestarted:
            try await strikeEnsemble(fault)
        default:
            try await strikeRedis(fault, &random)
        }
    }

    private func strikeConnection(_ fault: Fault, _ random: inout SeededGenerator) async throws {
        guard let zookeeper else { return }
        switch fault {
        case .zookeeperCutInResync:
            for _ in 0..<8 {
                zookeeper.cutAll()
                try await pause(5...120, &random)
            }
        case .zookeeperCutBeforeRead:
            for _ in 0..<5 {
                zookeeper.cutAfterNextAnswer()
                try await pause(50...250, &random)
            }
        case .zookeeperHalfClosed:
            zookeeper.halfClose(towardsClients: Bool.random(using: &random))
        case .zookeeperSlow:
            zookeeper.delay(milliseconds: Int64.random(in: 5...150, using: &random))
            try await pause(200...1500, &random)
            zookeeper.delay(milliseconds: 0)
        case .zookeeperDribbles:
            zookeeper.dribble(true)
            try await pause(200...1500, &random)
            if Bool.random(using: &random) { zookeeper.cutAll() }
            zookeeper.dribble(false)
        case .zookeeperAway, .sessionExpired:
            zookeeper.refuse(true)
            zookeeper.cutAll()
            try await pause(fault == .sessionExpired ? 1500...1500 : 200...800, &random)
            zookeeper.refuse(false)
        default:
            zookeeper.cutAll()
        }
    }

    private func strikeEnsemble(_ fault: Fault) async throws {
        guard let ensemble = bed.ensemble else { return }
        if fault == .ensembleRestarted {
            try await ensemble.restart()
            return
        }
        let leader = ensemble.leader
        let victim = fault == .leaderKilled ? leader : ensemble.servers.first { $0.port != leader?.port }
        victim?.kill()
        try await Task.sleep(for: .seconds(1))
        try await victim?.restart()
    }

    private func strikeRedis(_ fault: Fault, _ random: inout SeededGenerator) async throws {
        switch fault {
        case .redisCut:
            redis?.cutAll()
        case .redisHalfClosed:
            redis?.halfClose(towardsClients: Bool.random(using: &random))
        case .redisStalled:
            redis?.stall(true)
            try await pause(50...1500, &random)
            redis?.stall(false)
        case .redisSlow:
            redis?.delay(milliseconds: Int64.random(in: 20...200, using: &random))
            try await pause(500...1500, &random)
            redis?.delay(milliseconds: 0)
        case .redisDribbles:
            redis?.dribble(true)
            try await pause(200...1000, &random)
            if Bool.random(using: &random) { redis?.cutAll() }
            redis?.dribble(false)
        case .redisOutOfMemory:
            _ = try await bed.redis("CONFIG", "SET", "maxmemory", "1")
            try await pause(50...500, &random)
            _ = try await bed.redis("CONFIG", "SET", "maxmemory", "0")
        case .redisReadOnly:
            // Of a master that nobody listens as: it keeps its data and takes no writes.
            _ = try await bed.redis("REPLICAOF", "127.0.0.1", "1")
            try await pause(50...700, &random)
            _ = try await bed.redis("REPLICAOF", "NO", "ONE")
        case .redisEmptied, .redisRestarted:
            bed.redis.kill()
            try await bed.redis.restart()
        case .redisFailover:
            try await failOver(&random)
        case .redisHandover:
            try await handOver()
        default:
            Issue.record("nobody knows how to strike with: \(fault.rawValue)")
        }
    }

    /// The replica falls behind, the master dies: what it had acknowledged in between is gone.
    private func failOver(_ random: inout SeededGenerator) async throws {
        guard let sentinels = bed.sentinels else { return }
        let master = try sentinels.master()
        let replica = try sentinels.replica()
        replica.process.suspend()
        try await pause(100...200, &random)
        master.kill()
        replica.process.resume()
        try await eventually("another master", within: .seconds(30)) {
            try sentinels.master().port == replica.port
        }
        try await master.restart()
        try await sentinels.waitUntilReplicated()
    }

    /// Both servers live; the old master becomes a replica.
    private func handOver() async throws {
        guard let sentinels = bed.sentinels else { return }
        let old = try sentinels.master()
        try sentinels.failOver()
        try await eventually("another master", within: .seconds(30)) {
            try sentinels.master().port != old.port
        }
        try await sentinels.waitUntilReplicated()
    }

    private static let subtree = ["/t/sub", "/t/sub/a", "/t/sub/a/b"] + (0..<20).map { "/t/sub/n\($0)" }

    private func recreateSubtree() async throws {
        let hasSubtree = hasSubtree
        try await bed.withWriter { [writer] client in
            if hasSubtree {
                for path in FaultSite.subtree.reversed() {
                    try await client.delete(path)
                    writer.note(path, nil)
                }
            }
            for path in FaultSite.subtree {
                let value = writer.nextValue()
                try await client.create(path, value)
                writer.note(path, value)
            }
        }
        self.hasSubtree = true
    }
}
