import Logging
import TestServers
import Testing

@testable import RedisClient

/// Nodes that die, hang, load, or have become replicas.
@Suite struct ClusterFailureTests {
    @Test func replicasRefuse() async throws {
        let servers = try await RedisClusterServers.start(replicas: 1)
        let cluster = try servers.client()
        var topology = try await cluster.refreshTopology()
        for master in topology.masters {
            let slot = try #require(topology.slots(of: master).first)
            let name = "{\(HashSlot.tag(for: slot))}"
            _ = try await cluster.send("SET", name, "1", key: name, deadline: soon)
        }
        // Told of when the others have heard that it has received something.
        let patience = soon
        while topology.masters.contains(where: { topology.replicas(of: $0).count != 1 }), .now < patience {
            topology = try await cluster.refreshTopology()
        }
        let master = topology.masters[0]
        let replica = try #require(topology.replicas(of: master).first)
        for master in topology.masters { #expect(topology.replicas(of: master).count == 1) }
        #expect(
            try servers.replicas(of: servers.server(at: master.address)).map(\.address) == [replica.address])

        let slot = try #require(topology.slots(of: master).first)
        let name = "{\(HashSlot.tag(for: slot))}"
        let refused = try await cluster.attempt(name, batch(["SET", name, "2"]), .asking(replica.address))
        #expect(refused.error?.code == .moved(to: master.address) && refused.node == replica.address)
        #expect(cluster.topology?.master(of: slot) == master)
        // Nor does it write in a script of a connection that may read.
        let script = "return redis.call('SET', KEYS[1], 2)"
        let reading = batch(["READONLY"], ["EVAL", script, "1", name], ["READWRITE"])
        #expect(
            try await cluster.attempt(name, reading, .asking(replica.address)).error?.code == .readOnly)
        #expect(try await cluster.send("GET", name, key: name, deadline: soon) == bulk("1"))
        await cluster.close()
        await servers.stop()
    }

    @Test func replicaTakesOver() async throws {
        let servers = try await RedisClusterServers.start(replicas: 1, nodeTimeout: 1_500)
        let cluster = try servers.client()
        let before = try await cluster.refreshTopology()
        let victim = servers.servers[0]
        let replica = try #require(try servers.replicas(of: victim).first)
        let name = try key(of: victim, in: before)
        let other = try key(of: servers.servers[1], in: before)
        let commands = batch(["SET", name, "1"], ["WAIT", "1", "5000"])
        #expect(try await cluster.attempt(name, commands).get() == [.simpleString("OK"), .integer(1)])

        // Both that were on the way to it are lost, the third is not.
        async let sent = cluster.send([
            ClusterBatch(slot: HashSlot(of: name), commands: batch(["BLPOP", "{\(name)}none", "60"])),
            ClusterBatch(slot: HashSlot(of: other), commands: batch(["SET", other, "1"])),
            ClusterBatch(slot: HashSlot(of: name), commands: batch(["SET", name, "never"])),
        ])
        try await Task.sleep(for: .milliseconds(200))
        let clock = ContinuousClock()
        let start = clock.now
        victim.kill()
        let outcomes = await sent
        let codes = outcomes.map { $0.error?.code }
        #expect(codes == [.connectionLost(.connectionClosed), nil, .connectionLost(.connectionClosed)])
        #expect(outcomes[0].node == victim.address && outcomes[0].connection == outcomes[2].connection)
        let lost = try await cluster.attempt(name, batch(["SET", name, "3"]))
        #expect(lost.error != nil && lost.replies.isEmpty)
        #expect(try await cluster.send("INCR", name, key: name, deadline: .now + .seconds(25)) == .integer(2))
        print("a replica took over, and was found, \(clock.now - start) after its master was killed")
        #expect(clock.now - start < .seconds(25))
        #expect(cluster.topology?.master(of: HashSlot(of: name))?.address == replica.address)

        // The old master comes back as a replica.
        try await victim.restart()
        try await servers.waitUntilHealthy()
        #expect(try await cluster.send("INCR", name, key: name, deadline: soon) == .integer(3))
        let returned = try await cluster.attempt(name, batch(["INCR", name]), .asking(victim.address))
        #expect(returned.error?.code == .moved(to: replica.address))
        try await servers.failOver(to: victim)
        #expect(try await cluster.send("INCR", name, key: name, deadline: soon) == .integer(4))
        try await servers.failOver(to: replica, "TAKEOVER")
        #expect(try await cluster.send("INCR", name, key: name, deadline: soon) == .integer(5))
        await cluster.close()
        await servers.stop()
    }

    @Test func clusterThatIsDown() async throws {
        let servers = try await RedisClusterServers.start(nodeTimeout: 1_000)
        let cluster = try servers.client()
        let topology = try await cluster.refreshTopology()
        let (victim, witness) = (servers.servers[0], servers.servers[1])
        let name = try key(of: victim, in: topology)
        let other = try key(of: witness, in: topology)
        victim.kill()
        // Nobody takes over: first its own slots fail, then healthy masters refuse theirs.
        var codes: [RedisClusterError.Code] = []
        let patience = soon
        while !codes.contains(.clusterDown), .now < patience {
            if let code = try await cluster.attempt(other, batch(["GET", other])).error?.code {
                codes.append(code)
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(codes == [.clusterDown])
        let missing = try await cluster.attempt(name, batch(["GET", name])).error?.code
        #expect(missing == .unreachable(.connectionFailed) || missing == .notCovered)
        let still = await clusterCode {
            _ = try await cluster.send("GET", other, key: other, deadline: .now + .milliseconds(300))
        }
        #expect(still == .clusterDown)
        // Who waits gets through when it is back.
        async let later = cluster.send("SET", name, "1", key: name, deadline: .now + .seconds(30))
        async let same = cluster.send("SET", other, "1", key: other, deadline: .now + .seconds(30))
        try await victim.restart()
        #expect(try await later == .simpleString("OK"))
        #expect(try await same == .simpleString("OK"))
        await cluster.close()
        await servers.stop()
    }

    /// What was asked on a connection that ended is not asked again by itself, and what has to follow it on the
    /// same connection does not go out on another.
    @Test func lostConnections() async throws {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        let server = try servers.owner(of: HashSlot(of: "foo").number)
        let watched = try await cluster.attempt("foo", batch(["WATCH", "foo"], ["GET", "foo"]))
        #expect(try watched.get() == [.simpleString("OK"), .null])
        let transaction = batch(["MULTI"], ["SET", "foo", "1"], ["EXEC"])
        let done = try await cluster.attempt("foo", transaction, on: watched.connection)
        #expect(try done.get().count == 3 && done.connection == watched.connection)

        async let lost = clusterCode {
            _ = try await cluster.send(
                batch(["INCR", "foo"], ["BLPOP", "{foo}list", "60"]), to: HashSlot(of: "foo"), deadline: soon)
        }
        while try server.cli("GET", "foo") != "2" {}
        try server.cli("CLIENT", "KILL", "TYPE", "normal")
        #expect(await lost == .connectionLost(.connectionClosed))
        #expect(try await cluster.send("GET", "foo", key: "foo", deadline: soon) == bulk("2"))
        let late = try await cluster.attempt("foo", transaction, on: watched.connection)
        #expect(late.error?.code == .connectionChanged && late.connection != watched.connection)
        #expect(try await cluster.send("GET", "foo", key: "foo", deadline: soon) == bulk("2"))
        await cluster.close()
        await servers.stop()
    }

    /// A node that hangs holds up its own slots for the reply's time, and neither the others nor the map.
    @Test func nodeThatHangs() async throws {
        let servers = try await RedisClusterServers.start(nodeTimeout: 30_000)
        let cluster = try servers.client(connectTimeout: .seconds(2), replyTimeout: .seconds(2))
        let topology = try await cluster.refreshTopology()
        let victim = servers.servers[0]
        let name = try key(of: victim, in: topology)
        let other = try key(of: servers.servers[1], in: topology)
        _ = try await cluster.send("SET", name, "1", key: name, deadline: soon)
        victim.process.suspend()
        let clock = ContinuousClock()
        var start = clock.now
        async let stuck = cluster.attempt(name, batch(["GET", name]))
        for _ in 0..<10 {
            #expect(
                try await cluster.send("SET", other, "1", key: other, deadline: soon) == .simpleString("OK"))
        }
        #expect(clock.now - start < .milliseconds(1_900))
        #expect(try await stuck.error?.code == .connectionLost(.timeout))
        start = clock.now
        try await cluster.refreshTopology()
        #expect(clock.now - start < .milliseconds(1_900))
        let unreachable = try await cluster.attempt(name, batch(["GET", name])).error?.code
        #expect(unreachable == .unreachable(.timeout))
        victim.process.resume()
        #expect(try await cluster.send("GET", name, key: name, deadline: soon) == bulk("1"))
        await cluster.close()
        await servers.stop()
    }

    @Test func nodeThatLoads() async throws {
        let servers = try await RedisClusterServers.start(
            nodeTimeout: 30_000,
            extraConfiguration: [
                "key-load-delay 2000", "loading-process-events-interval-bytes 1024",
            ])
        let cluster = try servers.client()
        let topology = try await cluster.refreshTopology()
        let victim = servers.servers[0]
        let name = try key(of: victim, in: topology)
        _ = try await cluster.send("SET", name, "1", key: name, deadline: soon)
        var many = RedisCommandBatch()
        for number in 0..<2_000 { many.append("SET", "{\(name)}\(number)", "value") }
        #expect(try await cluster.attempt(name, many).error == nil)
        try victim.cli("SAVE")
        victim.kill()
        _ = try await victim.process.waitForExit(timeout: .seconds(5))
        let restarting = Task { try await victim.restart() }
        var codes: [RedisClusterError.Code] = []
        let patience = soon
        while .now < patience {
            guard let code = try await cluster.attempt(name, batch(["GET", name])).error?.code else { break }
            if codes.last != code { codes.append(code) }
        }
        #expect(codes.contains(.loading), "\(codes)")
        #expect(try await cluster.send("GET", name, key: name, deadline: soon) == bulk("1"))
        try await restarting.value
        await cluster.close()
        await servers.stop()
    }

    /// Many who ask for the map at the same time cause one question.
    @Test func askersShareOneAnswer() async throws {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        func questions() throws -> Int {
            try servers.servers.reduce(0) { sum, server in
                let line = try server.cli("INFO", "commandstats").split(whereSeparator: \.isNewline)
                    .first { $0.hasPrefix("cmdstat_cluster|slots:calls=") }
                let count = line?.split(separator: "=")[1].prefix { $0.isNumber }
                return sum + (count.flatMap { Int($0) } ?? 0)
            }
        }
        let before = try questions()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 { group.addTask { try await cluster.refreshTopology() } }
            for _ in 0..<50 {
                group.addTask { _ = try await cluster.attempt("a", batch(["GET", "a"])).get() }
            }
            try await group.waitForAll()
        }
        // Each question goes to three nodes. A task that comes late asks anew, a second later.
        #expect(try questions() - before <= 6)
        let clock = ContinuousClock()
        let time = try await clock.measure {
            for _ in 0..<3 { try await cluster.refreshTopology() }
        }
        #expect(time > .milliseconds(1_900))
        await cluster.close()
        await servers.stop()
    }
}
