import Logging
import TestServers
import Testing

@testable import RedisClient

/// Three masters without trouble, and what goes wrong from the start.
@Suite struct ClusterTests {
    @Test func everyKeyLandsOnItsOwnerWithoutRedirection() async throws {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        let topology = try await cluster.refreshTopology()
        #expect(topology.masters.count == 3 && topology.coveredSlots == HashSlot.count)
        var keys = (0..<1_500).map { Array("key:\($0)".utf8) }
        keys += (0..<500).map { Array("{tag\($0 % 50)}:\($0)".utf8) }
        keys += (0..<200).map { [0, UInt8($0), 0xff, 0x0d, 0x0a, UInt8($0 / 2)] }
        let outcomes = await cluster.send(
            keys.map { key in
                var commands = RedisCommandBatch()
                commands.append("MULTI")
                commands.begin(argumentCount: 3)
                commands.add("SET")
                commands.add(key)
                commands.add("value")
                commands.append("EXEC")
                return ClusterBatch(slot: HashSlot(of: key), commands: commands)
            })
        for outcome in outcomes { #expect(try outcome.get().last == .array([.simpleString("OK")])) }
        // One connection to each node, and nothing was redirected.
        #expect(Set(outcomes.map(\.connection)).count == 3)
        for key in ["key:1", "{tag7}:7", "{tag9}:9"] {
            #expect(try await cluster.send("GET", key, key: key, deadline: soon) == bulk("value"))
        }
        #expect(try servers.errors("MOVED") == 0)
        for server in servers.servers {
            let clients = try server.cli("CLIENT", "LIST").split(separator: "\n")
            #expect(clients.filter { $0.contains("name=cluster-tests") }.count == 1)
        }

        // What each node itself holds, and where it would look for it.
        var found = 0
        for server in servers.servers {
            let direct = try await server.connect()
            let held = try await direct.send(batch(["KEYS", "*"]))[0].array ?? []
            found += held.count
            var questions = RedisCommandBatch()
            for case .bulkString(let key) in held {
                #expect(topology.master(of: HashSlot(of: key))?.address == server.address)
                questions.begin(argumentCount: 3)
                questions.add("CLUSTER")
                questions.add("KEYSLOT")
                questions.add(key)
            }
            let slots = try await direct.send(questions)
            for case (.bulkString(let key), .integer(let slot)) in zip(held, slots) {
                #expect(HashSlot(of: key).number == Int(slot))
            }
            await direct.close()
        }
        #expect(found == keys.count)
        for key in ["key:0", "key:1", "key:2", "{tag3}:3"] {
            #expect(try servers.servers[0].cli("-c", "GET", key) == "value")
        }
        await cluster.close()
        await servers.stop()
    }

    @Test func keysOfSeveralSlots() async throws {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        let topology = try await cluster.refreshTopology()
        let server = servers.servers[0]
        // Two slots of one node.
        let a = try key(of: server, in: topology, "a")
        let b = try key(of: server, in: topology, "b")
        try #require(HashSlot(of: a) != HashSlot(of: b))
        let transaction = batch(["MULTI"], ["SET", a, "1"], ["SET", b, "1"], ["EXEC"])
        let refused = try await cluster.attempt(a, transaction)
        #expect(refused.error?.code == .crossSlot)
        #expect(try await cluster.attempt(a, batch(["MSET", a, "1", b, "1"])).error?.code == .crossSlot)
        #expect(try await cluster.attempt(a, batch(["MGET", a, b])).replies.count == 1)
        #expect(
            await clusterCode { _ = try await cluster.send(transaction, to: HashSlot(of: a), deadline: soon) }
                == .crossSlot)
        // A slot that is not the key's.
        let far = try key(of: servers.servers[1], in: topology)
        #expect(try await cluster.attempt(a, batch(["SET", far, "1"])).error?.code == .crossSlot)
        let commands = batch(["SET", far, "1"])
        #expect(
            await clusterCode { _ = try await cluster.send(commands, to: HashSlot(of: a), deadline: soon) }
                == .crossSlot)
        for name in [a, b, far] {
            #expect(try await cluster.send("EXISTS", name, key: name, deadline: soon) == .integer(0))
        }
        // The server's other errors are replies.
        _ = try await cluster.send("SET", a, "x", key: a, deadline: soon)
        let wrong = try await cluster.attempt(a, batch(["LPUSH", a, "1"], ["GET", a]))
        #expect(wrong.error == nil && wrong.replies[1] == bulk("x"))
        guard case .error(let error) = wrong.replies[0] else { throw TestServerError("\(wrong.replies)") }
        #expect(error.prefix == .wrongtype)
        await cluster.close()
        await servers.stop()
    }

    @Test func seeds() async throws {
        let servers = try await RedisClusterServers.start()
        let (dead, alsoDead, live) = (try freePort(), try freePort(), servers.servers[2].port)
        let cluster = try servers.client(
            "redis+cluster://127.0.0.1:\(dead),127.0.0.1:\(alsoDead),127.0.0.1:1,127.0.0.1:\(live)")
        #expect(try await cluster.send("SET", "a", "1", key: "a", deadline: soon) == .simpleString("OK"))
        #expect(cluster.topology?.masters.count == 3)
        await cluster.close()
        #expect(await clusterCode { try await cluster.refreshTopology() } == .closed)
        #expect(try await cluster.attempt("a", batch(["GET", "a"])).error?.code == .closed)
        #expect(
            await clusterCode { _ = try await cluster.send("GET", "a", key: "a", deadline: soon) } == .closed)

        let nobody = try servers.client("redis+cluster://127.0.0.1:\(dead),127.0.0.1:\(alsoDead)")
        let clock = ContinuousClock()
        let time = await clock.measure {
            #expect(
                await clusterCode { try await nobody.refreshTopology() } == .unreachable(.connectionFailed))
        }
        #expect(time < .seconds(10))
        // Until the next asking is due, the last answer holds.
        let outcome = try? await nobody.attempt("a", batch(["GET", "a"]))
        #expect(outcome?.error?.code == .unreachable(.connectionFailed))
        let start = clock.now
        let code = await clusterCode {
            _ = try await nobody.send("GET", "a", key: "a", deadline: .now + .seconds(1))
        }
        #expect(code == .unreachable(.connectionFailed) && clock.now - start < .seconds(10))
        await nobody.close()
        await servers.stop()
    }

    @Test func serversThatAreNoCluster() async throws {
        let server = try await RedisServer.start()
        let endpoint = try RedisEndpoint(parsing: "redis+cluster://127.0.0.1:\(server.port)")
        let alone = try RedisCluster(configuration: RedisConfiguration(endpoint: endpoint), logger: silent)
        #expect(await clusterCode { try await alone.refreshTopology() } == .unreachable(.notSupported))
        let code = await clusterCode { _ = try await alone.send("GET", "a", key: "a", deadline: soon) }
        #expect(code == .unreachable(.notSupported))
        await alone.close()
        do throws(RedisError) {
            _ = try await RedisConnection.connect(RedisConfiguration(endpoint: endpoint), logger: silent)
            Issue.record("connected")
        } catch {
            #expect(error.code == .notSupported && error.message.contains("RedisCluster"))
        }
        for url in ["redis://h/1", "redis+unix:///p", "redis+sentinel://h/m"] {
            let other = try RedisEndpoint(parsing: url)
            let error = await RedisClientTests.code {
                _ = try RedisCluster(configuration: RedisConfiguration(endpoint: other), logger: silent)
            }
            #expect(error == .notSupported)
        }
        await server.stop()
    }

    @Test func credentialsForEveryNode() async throws {
        let servers = try await RedisClusterServers.start()
        for server in servers.servers {
            // No CLUSTER INFO: the map is had without.
            try server.cli(
                "ACL", "SETUSER", "app", "reset", "on", ">hunter2", "~*", "-@all", "+hello", "+ping",
                "+acl|whoami",
                "+cluster|slots")
            try server.cli("CONFIG", "SET", "requirepass", "other")
        }
        let addresses = servers.servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        let cluster = try servers.client("redis+cluster://app:hunter2@\(addresses)")
        let topology = try await cluster.refreshTopology()
        let batches = try topology.masters.map { master in
            ClusterBatch(
                slot: try #require(topology.slots(of: master).first), commands: batch(["ACL", "WHOAMI"]))
        }
        let outcomes = await cluster.send(batches)
        #expect(Set(outcomes.map(\.node)).count == 3)
        for outcome in outcomes { #expect(try outcome.get() == [bulk("app")]) }
        #expect(!"\(cluster.configuration.endpoint)".contains("hunter2"))
        await cluster.close()
        for credentials in ["", "app:wrong@", ":hunter2@"] {
            let refused = try servers.client("redis+cluster://\(credentials)\(addresses)")
            let code = await clusterCode { _ = try await refused.send("GET", "a", key: "a", deadline: soon) }
            #expect(code == .unreachable(.authenticationFailed))
            await refused.close()
        }
        await servers.stop()
    }

    @Test(arguments: ["unknown-endpoint", "hostname"])
    func announcedHosts(_ kind: String) async throws {
        let servers = try await RedisClusterServers.start(
            extraConfiguration: [
                "cluster-preferred-endpoint-type \(kind)", "cluster-announce-hostname localhost",
            ])
        // Names spread by gossip.
        let host = kind == "hostname" ? "localhost" : "127.0.0.1"
        let cluster = try servers.client()
        var hosts: Set<String> = []
        let patience = soon
        while hosts != [host], .now < patience {
            hosts = Set(
                try await cluster.refreshTopology().masters.map { master in
                    if case .host(let host, _) = master.address { host } else { "" }
                })
        }
        #expect(hosts == [host])
        let target = servers.servers[2]
        try servers.move(HashSlot(of: "foo").number, to: servers.servers[0])
        let moved = try await cluster.attempt("foo", batch(["SET", "foo", "1"]))
        #expect(moved.error?.code == .moved(to: .host(host, port: servers.servers[0].port)))
        #expect(moved.node == .host(host, port: target.port))
        #expect(try await cluster.send("SET", "foo", "1", key: "foo", deadline: soon) == .simpleString("OK"))
        await cluster.close()
        await servers.stop()
    }

    @Test func cancellation() async throws {
        let servers = try await RedisClusterServers.start()
        let cluster = try servers.client()
        try await cluster.refreshTopology()
        let task = Task { try await cluster.attempt("a", batch(["BLPOP", "a", "60"])) }
        let patient = Task {
            await clusterCode {
                _ = try await cluster.send("BLPOP", "a", "60", key: "a", deadline: .now + .seconds(60))
            }
        }
        try await Task.sleep(for: .milliseconds(100))
        task.cancel()
        patient.cancel()
        #expect(try await task.value.error?.code == .cancelled)
        #expect(await patient.value == .cancelled)
        // The time is over before the reply is there.
        let late = await clusterCode {
            _ = try await cluster.send("BLPOP", "a", "60", key: "a", deadline: .now + .milliseconds(100))
        }
        #expect(late == .timeout)
        await cluster.close()
        await servers.stop()
    }
}
