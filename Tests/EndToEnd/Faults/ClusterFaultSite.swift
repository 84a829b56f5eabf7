import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing

/// How each fault of a cluster is brought about. Every strike ends with a healthy cluster.
extension FaultSite {
    private static let slotsOfAReshard = 4_096
    private static let slotsOfAGuest = 512
    private static let slotsOfAKind = 3

    /// - Parameter round: counted from 0; in three rounds every master has its turn.
    func strike(_ fault: ClusterFault, round: Int, _ random: inout SeededGenerator) async throws {
        let servers = try #require(bed.cluster)
        switch fault {
        case .slotsMoved:
            try await moveSlots(servers, &random)
        case .resharded:
            try await FaultSite.reshard(servers, servers.masters().shuffled(using: &random))
        case .nodeAdded:
            let masters = servers.masters()
            let guest = try await servers.addNode()
            for master in masters {
                try await servers.reshard(FaultSite.slotsOfAGuest, from: master, to: guest)
            }
            try await pause(100...500, &random)
            for master in masters {
                try await servers.reshard(FaultSite.slotsOfAGuest, from: guest, to: master)
            }
            try await servers.remove(guest)
        case .connectionsCut:
            for _ in 0..<3 {
                for server in servers.servers { try server.cli("CLIENT", "KILL", "TYPE", "normal") }
                try await pause(5...120, &random)
            }
        case .nodeStalled:
            let server = try #require(servers.servers.randomElement(using: &random))
            server.process.suspend()
            try await pause(50...1000, &random)
            server.process.resume()
        case .outOfMemory:
            let server = try #require(servers.servers.randomElement(using: &random))
            try server.cli("CONFIG", "SET", "maxmemory", "1")
            try await pause(50...500, &random)
            try server.cli("CONFIG", "SET", "maxmemory", "0")
        case .killed:
            try await killAndLaunch()
            // Others are struck while it looks at the cluster.
            if Bool.random(using: &random) { try await waitForDelivery(sinks: ClusterFault.sinks) }
        case .killedInReshard:
            try await killDuringReshard(servers, &random)
        case .mastersRestarted, .mastersEmptied:
            let master = try FaultSite.master(servers, of: round)
            master.kill()
            try await master.restart()
            try await servers.waitUntilHealthy()
        default:
            try await strikeReplicated(servers, fault, round: round, &random)
        }
    }

    private func strikeReplicated(
        _ servers: RedisClusterServers, _ fault: ClusterFault, round: Int, _ random: inout SeededGenerator
    ) async throws {
        switch fault {
        case .mastersKilled:
            try await failOver(servers, round: round, &random)
        case .failover:
            try await failOver(servers, round: round, &random) { random in
                try await Task.sleep(for: .milliseconds(Int.random(in: 100...400, using: &random)))
            }
        case .failoverAfterMove:
            try await failOver(servers, round: round, &random) { [self] random in
                let master = try FaultSite.master(servers, of: round)
                let others = servers.masters().filter { $0 !== master }
                for slot in try FaultSite.slots(on: others, servers, &random).shuffled(using: &random).prefix(
                    3)
                {
                    try servers.move(slot, to: master)
                }
                try await pause(50...300, &random)
            }
        case .killedWhileMoving:
            try await killWhileMoving(servers, &random)
        case .handover, .takeover:
            let master = try FaultSite.master(servers, of: round)
            let replica = try #require(try servers.replicas(of: master).first)
            let option = fault == .handover ? nil : Bool.random(using: &random) ? "FORCE" : "TAKEOVER"
            try await servers.failOver(to: replica, option)
            try await FaultSite.waitUntilReplica(master, servers)
        default:
            Issue.record("nobody knows how to strike with: \(fault.rawValue)")
        }
    }

    private func killAndLaunch() async throws {
        running?.process.kill()
        _ = try await running?.exit()
        try await launch()
    }

    private func killDuringReshard(
        _ servers: RedisClusterServers, _ random: inout SeededGenerator
    ) async throws {
        let masters = servers.masters().shuffled(using: &random)
        let delay = Duration.milliseconds(Int.random(in: 200...2000, using: &random))
        async let resharding = FaultSite.reshard(servers, masters)
        try await Task.sleep(for: delay)
        try await killAndLaunch()
        let launched = ContinuousClock.now
        try await waitForDelivery(sinks: ClusterFault.sinks)
        let delivering = ContinuousClock.now
        let end = try await resharding
        print(
            "started while slots move: delivers after \(delivering - launched), moves end after \(end - launched)"
        )
    }

    /// From the first to the second, and back. Returns when it was done.
    @discardableResult
    private static func reshard(
        _ servers: RedisClusterServers, _ masters: [RedisServer]
    ) async throws -> ContinuousClock.Instant {
        try await servers.reshard(slotsOfAReshard, from: masters[0], to: masters[1])
        try await servers.reshard(slotsOfAReshard, from: masters[1], to: masters[0])
        return .now
    }

    /// Who serves the first slot of one of the three equal parts.
    private static func master(_ servers: RedisClusterServers, of round: Int) throws -> RedisServer {
        try servers.owner(of: HashSlot.count * (round % 3) / 3)
    }

    private static func waitUntilReplica(_ server: RedisServer, _ servers: RedisClusterServers) async throws {
        try await waitUntilFollowing(server, servers)
        try await servers.waitUntilHealthy()
    }

    private static func waitUntilFollowing(
        _ server: RedisServer, _ servers: RedisClusterServers
    ) async throws {
        try await eventually("the old master follows", within: .seconds(30)) {
            try servers.view(of: server).first?.masterID != nil
        }
    }

    /// A master dies and its replica takes over.
    ///
    /// - Parameter unheard: before, what the replica hears nothing of: what is acknowledged meanwhile will be gone.
    private func failOver(
        _ servers: RedisClusterServers, round: Int, _ random: inout SeededGenerator,
        unheard: ((inout SeededGenerator) async throws -> Void)? = nil
    ) async throws {
        let slot = HashSlot.count * (round % 3) / 3
        let master = try FaultSite.master(servers, of: round)
        let replica = try #require(try servers.replicas(of: master).first)
        if let unheard {
            replica.process.suspend()
            // Or it would still find in its socket what it has not read.
            try master.cli("CLIENT", "KILL", "TYPE", "replica")
            try await unheard(&random)
        }
        master.kill()
        replica.process.resume()
        try await FaultSite.waitUntilTaken(slot, replica, servers)
        try await master.restart()
        try await FaultSite.waitUntilReplica(master, servers)
    }

    private static func waitUntilTaken(
        _ slot: Int, _ replica: RedisServer, _ servers: RedisClusterServers
    ) async throws {
        try await eventually("the replica takes over", within: .seconds(30)) {
            try servers.view(of: replica).first?.slots.contains { $0.contains(slot) } == true
        }
    }

    /// One of the two masters of a resharding dies. Its replica takes over, and people mend what is half moved.
    private func killWhileMoving(
        _ servers: RedisClusterServers, _ random: inout SeededGenerator
    ) async throws {
        let masters = servers.masters().shuffled(using: &random)
        let victim = masters[Int.random(in: 0...1, using: &random)]
        let slot = try #require(try servers.view(of: victim).first?.slots.last?.upperBound)
        let replica = try #require(try servers.replicas(of: victim).first)
        let delay = Duration.milliseconds(Int.random(in: 300...2000, using: &random))
        // It fails, as it should.
        async let resharding: Void? = try? servers.reshard(
            FaultSite.slotsOfAReshard, from: masters[0], to: masters[1])
        try await Task.sleep(for: delay)
        victim.kill()
        _ = await resharding
        try await FaultSite.waitUntilTaken(slot, replica, servers)
        try await victim.restart()
        // With a slot left open the nodes need not agree before it is mended.
        try await FaultSite.waitUntilFollowing(victim, servers)
        try await servers.fix()
        try await servers.waitUntilHealthy()
    }

    /// Slots that hold streams with their checkpoints, markers, and plain keys go to another master with all that is
    /// in them, stay half moved for a moment, and come back.
    private func moveSlots(_ servers: RedisClusterServers, _ random: inout SeededGenerator) async throws {
        let slots = try FaultSite.slots(on: servers.masters(), servers, &random)
        var moves: [(slot: Int, source: RedisServer)] = []
        for slot in slots {
            let source = try servers.owner(of: slot)
            let others = servers.masters().filter { $0 !== source }
            moves.append((slot, source))
            try await move(slot, to: try #require(others.randomElement(using: &random)), servers, &random)
        }
        for (slot, source) in moves { try await move(slot, to: source, servers, &random) }
    }

    /// Slots in which there is something, of each kind.
    private static func slots(
        on masters: [RedisServer], _ servers: RedisClusterServers, _ random: inout SeededGenerator
    ) throws -> [Int] {
        let keys = try masters.flatMap { try servers.keys(of: $0) }.sorted()
        func some(_ isWanted: (String) -> Bool) -> [String] {
            Array(keys.filter(isWanted).shuffled(using: &random).prefix(slotsOfAKind))
        }
        let streams = some { $0.hasPrefix("changes:") }
        let markers = some { $0.hasPrefix("millrace:") && $0.hasSuffix(":marker") }
        let plain = some { $0.hasPrefix("k:") || $0.hasPrefix("h:") }
        return Set((streams + markers + plain).map { HashSlot(of: $0).number }).sorted()
    }

    private func move(
        _ slot: Int, to target: RedisServer, _ servers: RedisClusterServers, _ random: inout SeededGenerator
    ) async throws {
        try servers.beginMove(slot, to: target)
        try await pause(0...30, &random)
        try servers.moveKeys(of: slot, to: target, atMost: 1)
        try await pause(0...60, &random)
        try servers.moveKeys(of: slot, to: target)
        try await pause(0...30, &random)
        try servers.endMove(slot, to: target)
    }
}
