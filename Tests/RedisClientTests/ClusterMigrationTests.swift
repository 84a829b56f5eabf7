import Logging
import TestServers
import Testing

@testable import RedisClient

/// Four keys of one slot, all "0": two are at its owner, two at the node that it is on the way to.
private struct HalfMovedSlot {
    let servers: RedisClusterServers
    let cluster: RedisCluster
    let tag = "{half}"
    let source: RedisServer
    let target: RedisServer
    let stayed: [String]
    let gone: [String]

    var slot: HashSlot { HashSlot(of: tag) }

    static func make() async throws -> HalfMovedSlot {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        let names = (0..<4).map { "{half}\($0)" }
        let slot = HashSlot(of: "{half}").number
        for name in names { _ = try await cluster.send("SET", name, "0", key: name, deadline: soon) }
        let source = try servers.owner(of: slot)
        let target = try #require(servers.servers.first { $0 !== source })
        try servers.beginMove(slot, to: target)
        try servers.moveKeys(of: slot, to: target, atMost: 2)
        let stayed = try source.cli("CLUSTER", "GETKEYSINSLOT", "\(slot)", "10").split(separator: "\n")
            .map(String.init)
        let gone = names.filter { !stayed.contains($0) }
        try #require(stayed.count == 2 && gone.count == 2)
        return HalfMovedSlot(
            servers: servers, cluster: cluster, source: source, target: target, stayed: stayed, gone: gone)
    }

    func finish() throws {
        try servers.moveKeys(of: slot.number, to: target)
        try servers.endMove(slot.number, to: target)
    }

    func stop() async {
        await cluster.close()
        await servers.stop()
    }
}

/// Slots that move while they are used.
@Suite struct ClusterMigrationTests {
    @Test func movedSlot() async throws {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        let slot = HashSlot(of: "foo")
        let first = try await cluster.attempt("foo", batch(["SET", "foo", "1"]))
        #expect(try first.get() == [.simpleString("OK")])
        let before = try #require(cluster.topology)
        let source = try servers.owner(of: slot.number)
        let target = try #require(servers.servers.first { $0 !== source })
        #expect(first.node == source.address)
        try servers.move(slot.number, to: target)

        let transaction = batch(["MULTI"], ["SET", "foo", "2"], ["EXEC"])
        let moved = try await cluster.attempt("foo", transaction)
        #expect(moved.error?.code == .moved(to: target.address))
        #expect(moved.node == source.address && moved.replies.count == 3)
        // The map knows, the others stayed, and nothing was executed.
        let after = try #require(cluster.topology)
        #expect(after.slots(changedSince: before) == [slot])
        #expect(after.master(of: slot)?.id == before.masters.first { $0.address == target.address }?.id)
        // What is tied to the old connection does not go out.
        let tied = try await cluster.attempt("foo", transaction, on: first.connection)
        #expect(tied.error?.code == .connectionChanged && tied.node == target.address)
        let again = try await cluster.attempt("foo", batch(["GET", "foo"]))
        #expect(try again.get() == [bulk("1")])
        #expect(again.node == target.address)
        #expect(try await cluster.attempt("foo", transaction, on: again.connection).get().count == 3)
        #expect(try await cluster.send("GET", "foo", key: "foo", deadline: soon) == bulk("2"))
        // The nodes say the same by now.
        let patience = soon
        while try await cluster.refreshTopology() != after, .now < patience {}
        #expect(cluster.topology == after)
        // MULTI's command and EXEC: one transaction was redirected, nothing else.
        #expect(try servers.errors("MOVED") == 1)
        await cluster.close()
        await servers.stop()
    }

    @Test func halfMovedSlot() async throws {
        let half = try await HalfMovedSlot.make()
        let (cluster, tag, stayed, gone) = (half.cluster, half.tag, half.stayed, half.gone)
        // The owner sends on for what it does not have, and the map stays.
        let asked = try await cluster.attempt(tag, batch(["GET", stayed[0]], ["GET", gone[0]]))
        #expect(asked.error?.code == .ask(to: half.target.address) && asked.replies[0] == bulk("0"))
        #expect(cluster.topology?.master(of: half.slot)?.address == half.source.address)
        let target = ClusterBatch.Target.asking(half.target.address)
        let transaction = batch(
            ["MULTI"], ["SET", gone[0], "1"], ["EXEC"], ["WATCH", gone[1]], ["GET", gone[0]])
        #expect(
            try await cluster.attempt(tag, transaction).error?.code == .ask(to: half.target.address))
        let done = try await cluster.attempt(tag, transaction, target).get()
        #expect(done.count == 5 && done[2] == .array([.simpleString("OK")]) && done[4] == bulk("1"))
        // Keys of both sides have to wait until they are together.
        let both = batch(["MGET", gone[0], stayed[0]])
        #expect(try await cluster.attempt(tag, both).error?.code == .tryAgain)
        #expect(try await cluster.attempt(tag, both, target).error?.code == .tryAgain)
        let mixed = batch(["MULTI"], ["SET", gone[0], "2"], ["SET", stayed[0], "2"], ["EXEC"])
        #expect(try await cluster.attempt(tag, mixed).error?.code == .ask(to: half.target.address))
        #expect(try await cluster.attempt(tag, mixed, target).error?.code == .tryAgain)
        try half.finish()
        // Asked for what is its own, a node does not mind; and nothing of what was refused has happened.
        let values = try await cluster.attempt(tag, both, target).get()
        #expect(values == [.array([bulk("1"), bulk("0")])])
        await half.stop()
    }

    @Test func followingIntoAHalfMovedSlot() async throws {
        let half = try await HalfMovedSlot.make()
        let (cluster, slot, stayed, gone) = (half.cluster, half.slot, half.stayed, half.gone)
        for name in stayed + gone {
            #expect(try await cluster.send("INCR", name, key: name, deadline: soon) == .integer(1))
        }
        let reads = batch(["GET", stayed[0]], ["GET", gone[0]], ["MULTI"], ["GET", gone[0]], ["EXEC"])
        let values = try await cluster.send(reads, to: slot, deadline: soon)
        let status = [RESPValue.simpleString("OK"), .simpleString("QUEUED")]
        #expect(values == [bulk("1"), bulk("1")] + status + [.array([bulk("1")])])
        // What has been executed is not sent again for the sake of what follows it.
        let sums = batch(["INCR", stayed[0]], ["INCR", gone[0]], ["DECR", stayed[0]], ["INCR", gone[0]])
        #expect(
            try await cluster.send(sums, to: slot, deadline: soon) == [2, 2, 1, 3].map { .integer($0) })
        // Keys of both sides have to wait until they are together.
        let both = batch(["MGET", stayed[0], gone[0]])
        let early = await clusterCode {
            _ = try await cluster.send(both, to: slot, deadline: .now + .milliseconds(300))
        }
        #expect(early == .tryAgain)
        async let together = cluster.send(both, to: slot, deadline: soon)
        try await Task.sleep(for: .milliseconds(100))
        try half.finish()
        #expect(try await together == [.array([bulk("1"), bulk("3")])])
        await half.stop()
    }

    @Test func nodesComeAndGo() async throws {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        _ = try await cluster.send("SET", "foo", "1", key: "foo", deadline: soon)
        let slot = HashSlot(of: "foo")
        let home = try servers.owner(of: slot.number)
        let guest = try await servers.addNode()
        try servers.move(slot.number, to: guest)
        #expect(try await cluster.send("GET", "foo", key: "foo", deadline: soon) == bulk("1"))
        #expect(cluster.topology?.master(of: slot)?.address == guest.address)
        #expect(cluster.topology?.masters.count == 4)
        try servers.move(slot.number, to: home)
        #expect(try await cluster.send("INCR", "foo", key: "foo", deadline: soon) == .integer(2))
        try await servers.remove(guest)
        let patience = soon
        while try await cluster.refreshTopology().masters.count != 3, .now < patience {}
        #expect(cluster.topology?.masters.map(\.address).contains(guest.address) == false)
        #expect(try await cluster.send("INCR", "foo", key: "foo", deadline: soon) == .integer(3))
        await cluster.close()
        await servers.stop()
    }

    /// Each task counts up a key of its own, in slots that move, and a master that changes places with its
    /// replica; what it reads back is what it wrote last.
    @Test func orderIsKeptWhileSlotsMove() async throws {
        let servers = try await RedisClusterServers.start(replicas: 1)
        let cluster = try servers.client()
        let names = (0..<6).map { "{\($0 % 3)}counter:\($0)" }
        let slots = Set(names.map { HashSlot(of: $0) })
        let isOver = Flag()
        let redirected = try servers.errors("MOVED") + servers.errors("ASK")
        let counts = try await withThrowingTaskGroup(of: Int.self) { group in
            for name in names {
                group.addTask {
                    var count = 0
                    while !isOver.isRaised {
                        count += 1
                        try await write(name, count, cluster)
                        let seen = try await cluster.send("GET", name, key: name, deadline: soon)
                        #expect(seen == bulk("\(count)"))
                    }
                    return count
                }
            }
            for round in 0..<3 {
                for slot in slots {
                    let owner = try servers.owner(of: slot.number)
                    let masters = servers.masters()
                    guard let target = masters.first(where: { $0 !== owner }) else { continue }
                    try servers.beginMove(slot.number, to: target)
                    try servers.moveKeys(of: slot.number, to: target, atMost: 1)
                    try await Task.sleep(for: .milliseconds(50))
                    try servers.moveKeys(of: slot.number, to: target)
                    try servers.endMove(slot.number, to: target)
                }
                if round == 1 {
                    let owner = try servers.owner(of: HashSlot(of: names[0]).number)
                    if let replica = try servers.replicas(of: owner).first {
                        try await servers.failOver(to: replica)
                    }
                    try await servers.waitUntilHealthy()
                }
            }
            isOver.raise()
            return try await group.reduce(into: [Int]()) { $0.append($1) }
        }
        #expect(counts.allSatisfy { $0 > 10 })
        #expect(try servers.errors("MOVED") + servers.errors("ASK") > redirected)
        print("counted while slots moved: \(counts.reduce(0, +)) writes, none out of order")
        await cluster.close()
        await servers.stop()
    }
}

/// Alone, or in a transaction that checks what it overwrites. A lost connection leaves open what was
/// executed: the same value is written again.
private func write(_ name: String, _ count: Int, _ cluster: RedisCluster) async throws {
    let commands =
        count % 2 == 0
        ? batch(["SET", name, "\(count)"])
        : batch(["MULTI"], ["SET", name, "\(count)", "GET"], ["GET", name], ["EXEC"])
    var isRepeated = false
    while true {
        do throws(RedisClusterError) {
            let replies = try await cluster.send(commands, to: HashSlot(of: name), deadline: soon)
            if count % 2 == 1 {
                let old: RESPValue = count == 1 ? .null : bulk("\(count - 1)")
                let isExpected = replies.last == .array([old, bulk("\(count)")])
                #expect(isExpected || isRepeated, "\(replies) at \(count)")
            }
            return
        } catch {
            guard case .connectionLost = error.code else { throw error }
            isRepeated = true
        }
    }
}
