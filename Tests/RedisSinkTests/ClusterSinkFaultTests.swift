import Engine
import Mapping
import RedisClient
import TestServers
import Testing

@testable import RedisSink

/// The sink while the cluster changes under it: nothing is lost, streams get each change once.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClusterSinkFaultTests {
    @Test(arguments: [false, true]) func slotsMoveUnderLoad(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 0) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            let names = isStream ? (0..<16).map { "s:\($0)" } : (0..<40).map { "k:\($0)" }
            let slots = Set(names.map { HashSlot(of: $0).number }).sorted()
            try await driver.underLoad {
                for round in 0..<2 {
                    for slot in slots {
                        let owner = try servers.owner(of: slot)
                        let others = servers.servers.filter { $0 !== owner }
                        let target = others[(slot + round) % others.count]
                        try servers.beginMove(slot, to: target)
                        try await Task.sleep(for: .milliseconds(10))
                        try servers.moveKeys(of: slot, to: target, atMost: 1)
                        try await Task.sleep(for: .milliseconds(10))
                        try servers.moveKeys(of: slot, to: target)
                        try servers.endMove(slot, to: target)
                    }
                }
            }
            #expect(try await driver.problems(servers) == [])
            #expect(driver.rewinds == [])
            #expect(driver.delivered == Int(driver.end.value))
        }
    }

    /// The slot with its marker, too, and every slot of a node.
    @Test(arguments: [false, true]) func aNodeIsEmptiedAndRemoved(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 0) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            try await driver.underLoad(perSecond: 2_000) {
                try await Task.sleep(for: .milliseconds(300))
                let added = try await servers.addNode()
                let from = try servers.owner(of: 0)
                try await servers.reshard(5_461, from: from, to: added)
                try await servers.waitUntilHealthy()
                // Before it goes, the sink has to hear from it that it has given its last slots away.
                try await Task.sleep(for: .seconds(3))
                try await servers.remove(from)
            }
            #expect(try await driver.problems(servers) == [])
            #expect(driver.rewinds == [])
            // And nothing is told again by the next start.
            let next = try ClusterDriver(servers, isStream: isStream, owner: "host process 2")
            next.end.set(driver.end.value)
            #expect(try await next.sink.start(next.context()) == driver.end.value)
            await next.sink.close()
        }
    }

    /// A resharding that stops before the last slot of a node has arrived, with the node's marker on the way.
    @Test(arguments: [false, true]) func everySlotOfANodeIsOnItsWay(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 0) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            let slot = HashSlot(of: isStream ? "s:3" : "k:3").number
            try await driver.underLoad(perSecond: 2_000) {
                let first = try servers.owner(of: slot)
                let added = try await servers.addNode()
                try servers.beginMove(slot, to: added)
                try servers.moveKeys(of: slot, to: added)
                try servers.endMove(slot, to: added)
                try await Task.sleep(for: .seconds(3))
                #expect(try servers.keys(of: added, matching: "*:marker").count == 1)
                try servers.beginMove(slot, to: first)
                try servers.moveKeys(of: slot, to: first)
                try await Task.sleep(for: .seconds(1))
                let before = driver.delivered
                try await Task.sleep(for: .seconds(2))
                #expect(driver.delivered > before)
                try servers.endMove(slot, to: first)
                try await Task.sleep(for: .seconds(2))
            }
            #expect(try await driver.problems(servers) == [])
            #expect(driver.rewinds == [])
        }
    }

    /// The replica lacks what the master has acknowledged last: that master's slots alone go back.
    @Test(arguments: [false, true]) func aFailoverThatLosesWrites(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 1) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            try await driver.underLoad(perSecond: 2_000) {
                for _ in 0..<2 {
                    try await Task.sleep(for: .milliseconds(500))
                    let master = try servers.owner(of: HashSlot(of: isStream ? "s:3" : "k:3").number)
                    let replica = try servers.replicas(of: master)[0]
                    replica.process.suspend()
                    // Else what is in the sockets arrives after all.
                    try master.cli("CLIENT", "KILL", "TYPE", "replica")
                    try await Task.sleep(for: .milliseconds(300))
                    master.kill()
                    replica.process.resume()
                    try await servers.waitUntilHealthy()
                    try await master.restart()
                    try await servers.waitUntilHealthy()
                }
            }
            #expect(try await driver.problems(servers) == [])
            #expect(!driver.rewinds.isEmpty)
        }
    }

    @Test(arguments: [false, true]) func mastersTakeTurns(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 1) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            try await driver.underLoad {
                for option in [nil, "TAKEOVER", "FORCE", nil] {
                    for number in 0..<3 {
                        let master = try servers.owner(of: number * 5_461 + 5)
                        try await servers.failOver(to: servers.replicas(of: master)[0], option)
                        try await servers.waitUntilHealthy()
                    }
                }
            }
            #expect(try await driver.problems(servers) == [])
        }
    }

    @Test(arguments: [false, true]) func aNodeThatLosesEverything(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 0) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            try await driver.underLoad(perSecond: 2_000) {
                try await Task.sleep(for: .milliseconds(500))
                let victim = try servers.owner(of: HashSlot(of: isStream ? "s:3" : "k:3").number)
                try victim.cli("FLUSHALL")
                try await Task.sleep(for: .seconds(1))
                victim.kill()
                try await victim.restart()
                try await servers.waitUntilHealthy()
            }
            #expect(try await driver.problems(servers) == [])
            #expect(driver.rewinds.contains(0))
        }
    }

    /// IDs that the log's generations have no part in, through moved slots, failovers that lose writes and a node emptied.
    @Test func streamsNumberedByZxidsArriveOnceToo() async throws {
        try await ClusterDriver.with(replicas: 1) { servers in
            let driver = try ClusterDriver(servers, isStream: true, numbering: .zxid)
            try await driver.underLoad(perSecond: 2_000) {
                let slots = [HashSlot(of: "s:3").number, HashSlot(of: "s:4").number]
                for slot in slots {
                    let owner = try servers.owner(of: slot)
                    let other = try #require(servers.masters().first { $0 !== owner })
                    try servers.move(slot, to: other)
                }
                for option in [nil, "TAKEOVER"] {
                    let master = try servers.owner(of: slots[0])
                    try await servers.failOver(to: servers.replicas(of: master)[0], option)
                    try await servers.waitUntilHealthy()
                }
                try servers.owner(of: slots[1]).cli("FLUSHALL")
                try await Task.sleep(for: .seconds(1))
            }
            #expect(try await driver.problems(servers) == [])
            #expect(driver.rewinds.contains(0))
        }
    }

    @Test(arguments: [false, true]) func persistenceKeepsWhatIsThere(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 0, ["appendonly yes", "appendfsync everysec"]) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            try await driver.underLoad(perSecond: 2_000) {
                for server in servers.servers {
                    try await Task.sleep(for: .milliseconds(300))
                    server.kill()
                    try await server.restart()
                    try await servers.waitUntilHealthy()
                }
            }
            #expect(try await driver.problems(servers) == [])
            #expect(!driver.rewinds.contains(0))
        }
    }

    /// A server that hangs executes what it has received when it goes on: not over what came after.
    @Test(arguments: [false, true]) func aNodeThatHangs(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 0) { servers in
            let driver = try ClusterDriver(
                servers, isStream: isStream, replyTimeout: .milliseconds(300))
            try await driver.underLoad(perSecond: 20_000) {
                for server in servers.servers {
                    try await Task.sleep(for: .milliseconds(300))
                    server.process.suspend()
                    try await Task.sleep(for: .seconds(1))
                    server.process.resume()
                }
                try await servers.waitUntilHealthy()
            }
            #expect(try await driver.problems(servers) == [])
        }
    }

    @Test(arguments: [false, true]) func connectionsAreCutAndMemoryIsFull(isStream: Bool) async throws {
        try await ClusterDriver.with(replicas: 0) { servers in
            let driver = try ClusterDriver(servers, isStream: isStream)
            try await driver.underLoad {
                for round in 0..<20 {
                    let server = servers.servers[round % 3]
                    try server.cli("CLIENT", "KILL", "TYPE", "normal")
                    try await Task.sleep(for: .milliseconds(50))
                    try server.cli("CONFIG", "SET", "maxmemory", "1")
                    try await Task.sleep(for: .milliseconds(50))
                    try server.cli("CONFIG", "SET", "maxmemory", "0")
                    try server.cli("SCRIPT", "FLUSH")
                }
            }
            #expect(try await driver.problems(servers) == [])
            #expect(driver.rewinds == [])
        }
    }

    @Test func replicasAreWaitedFor() async throws {
        try await ClusterDriver.with(replicas: 1) { servers in
            let driver = try ClusterDriver(
                servers, isStream: false, wait: ReplicaWait(replicas: 1, timeoutMilliseconds: 100))
            try await driver.underLoad(perSecond: 2_000) {
                let replica = try servers.replicas(of: servers.owner(of: 0))[0]
                replica.process.suspend()
                try await Task.sleep(for: .milliseconds(500))
                replica.process.resume()
                try await Task.sleep(for: .milliseconds(500))
                let master = try servers.owner(of: 16_000)
                master.kill()
                try await servers.waitUntilHealthy()
                try await master.restart()
                try await servers.waitUntilHealthy()
            }
            #expect(try await driver.problems(servers) == [])
        }
    }
}
