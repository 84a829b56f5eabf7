import Logging
import TestServers
import Testing

@testable import RedisClient

/// Delivers numbers into a list for each slot, each with its checkpoint in one transaction: what a sink does
/// with `send(_:)`. Nothing newer of a slot goes out while something older of it is open.
private struct GatedWriter {
    enum Phase {
        case writing(ClusterBatch.Target)
        /// Whether the last one was written is to be seen from the checkpoint.
        case reading(ClusterBatch.Target)
    }

    struct Gate {
        let slot: HashSlot
        let tag: String
        var next = 1
        var phase = Phase.reading(.owner)
    }

    private let cluster: RedisCluster
    private var gates: [Gate]
    private(set) var obstacles: [String: Int] = [:]
    /// Raised when a connection ended with an answer outstanding.
    private let wasCut: Flag

    init(_ cluster: RedisCluster, slots: [HashSlot], wasCut: Flag) {
        self.cluster = cluster
        self.wasCut = wasCut
        gates = slots.map { Gate(slot: $0, tag: "{\(HashSlot.tag(for: $0))}") }
    }

    /// How many numbers each slot's list ought to hold.
    var written: [(tag: String, count: Int)] { gates.map { ($0.tag, $0.next - 1) } }

    mutating func round() async throws {
        let outcomes = await cluster.send(gates.map(\.batch))
        var isHeldUp = false
        for (index, outcome) in outcomes.enumerated() {
            try advance(&gates[index], outcome)
            guard let error = outcome.error else { continue }
            let name = "\(error.code)".prefix { $0 != "(" }
            obstacles[String(name), default: 0] += 1
            if case .connectionLost = error.code { wasCut.raise() }
            if case .moved = error.code { continue }
            if case .ask = error.code { continue }
            isHeldUp = true
        }
        if isHeldUp { try await Task.sleep(for: .milliseconds(10)) }
    }

    private func advance(_ gate: inout Gate, _ outcome: ClusterOutcome) throws {
        switch (outcome.error?.code, gate.phase) {
        case (nil, .reading):
            gate.next = (outcome.replies[0].string.flatMap { Int($0) } ?? 0) + 1
            gate.phase = .writing(.owner)
        case (nil, .writing):
            guard case .array? = outcome.replies.last else { throw TestServerError("\(outcome)") }
            gate.next += 1
            gate.phase = .writing(.owner)
        case (.ask(let node), .reading): gate.phase = .reading(.asking(node))
        case (.ask(let node), .writing): gate.phase = .writing(.asking(node))
        case (.moved, _), (.connectionLost, _): gate.phase = .reading(.owner)
        case (.tryAgain, .reading), (.clusterDown, .reading), (.unreachable, .reading), (.loading, .reading):
            gate.phase = .reading(.owner)
        case (.tryAgain, .writing), (.clusterDown, .writing), (.unreachable, .writing), (.loading, .writing):
            gate.phase = .writing(.owner)
        default: throw TestServerError("\(outcome)")
        }
    }
}

extension GatedWriter.Gate {
    fileprivate var batch: ClusterBatch {
        switch phase {
        case .reading(let target):
            ClusterBatch(
                slot: slot, commands: RedisClientTests.batch(["GET", "\(tag)checkpoint"]), target: target)
        case .writing(let target):
            ClusterBatch(
                slot: slot,
                commands: RedisClientTests.batch(
                    ["MULTI"], ["RPUSH", "\(tag)list", "\(next)"], ["SET", "\(tag)checkpoint", "\(next)"],
                    ["EXEC"]),
                target: target)
        }
    }
}

@Suite struct ClusterGateTests {
    /// Nothing is lost, doubled or out of order while slots move, masters change places with their replicas and
    /// connections are cut.
    @Test func everyListIsWhole() async throws {
        let servers = try await RedisClusterServers.start(replicas: 1)
        let cluster = try servers.client()
        let slots = (0..<60).compactMap { HashSlot($0 * 273) }
        let isOver = Flag()
        let wasCut = Flag()
        let writing = Task {
            var writer = GatedWriter(cluster, slots: slots, wasCut: wasCut)
            while !isOver.isRaised { try await writer.round() }
            // What is open is settled.
            for _ in 0..<200 { try await writer.round() }
            return writer
        }
        for round in 0..<3 {
            for slot in slots.shuffled().prefix(5) {
                let owner = try servers.owner(of: slot.number)
                guard let target = servers.masters().filter({ $0 !== owner }).randomElement() else {
                    continue
                }
                try servers.beginMove(slot.number, to: target)
                try servers.moveKeys(of: slot.number, to: target, atMost: 1)
                try await Task.sleep(for: .milliseconds(20))
                try servers.moveKeys(of: slot.number, to: target)
                try servers.endMove(slot.number, to: target)
            }
            for master in servers.masters() { try master.cli("CLIENT", "KILL", "TYPE", "normal") }
            guard round < 2, let replica = try servers.replicas(of: servers.masters()[round]).first else {
                continue
            }
            try await servers.failOver(to: replica)
            try await servers.waitUntilHealthy()
        }
        // A cut may find nothing under way: a connection that idles is replaced, and nobody hears of it.
        for cut in 0..<300 where !wasCut.isRaised {
            try servers.masters()[cut % 3].cli("CLIENT", "KILL", "TYPE", "normal")
            try await Task.sleep(for: .milliseconds(5))
        }
        isOver.raise()
        let writer = try await writing.value
        var total = 0
        for (tag, count) in writer.written {
            let list = try await cluster.send("LRANGE", "\(tag)list", "0", "-1", key: tag, deadline: soon)
            #expect(list == .array((1...max(count, 1)).map { bulk("\($0)") }), "slot of \(tag)")
            total += count
        }
        #expect(writer.obstacles["moved"] != nil && writer.obstacles["connectionLost"] != nil)
        print(
            "\(total) numbers in \(slots.count) lists, in order, none twice; on the way: \(writer.obstacles)")
        await cluster.close()
        await servers.stop()
    }
}
