import Engine
import RedisClient
import TestServers
import Testing

@testable import RedisSink

/// A sink that remembers what it has written, while the cluster changes under it: in the end everything is as the log says,
/// and so is what is remembered.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClusterMemoryFaultTests {
    private func with(
        replicas: Int = 0, replyTimeout: Duration = .seconds(30),
        _ body: (RedisClusterServers, ClusterMemoryDriver) async throws -> Void
    ) async throws {
        try await ClusterDriver.with(replicas: replicas) { servers in
            let driver = ClusterMemoryDriver(servers, replyTimeout: replyTimeout)
            try await body(servers, driver)
            #expect(try await driver.problems() == [])
        }
    }

    @Test func nothingHappens() async throws {
        try await with { _, driver in
            try await driver.underLoad { try await Task.sleep(for: .seconds(2)) }
            #expect(driver.end.value > 1_000)
            #expect(driver.rewinds == [])
        }
    }

    @Test func theProcessIsKilledAgainAndAgain() async throws {
        try await with { _, driver in
            try await driver.underLoad {
                for round in 0..<12 {
                    try await driver.progress(by: 300)
                    try await Task.sleep(for: .milliseconds(37 * (round % 7)))
                    driver.kill()
                }
            }
            #expect(driver.starts > 10)
        }
    }

    @Test func slotsMove() async throws {
        try await with { servers, driver in
            let names = (0..<12).map { "k:\($0)" } + ["set:1", "list:2", "hash:3", "/n4", "/n5", "/n6"]
            let slots = Set(names.map { HashSlot(of: $0).number }).sorted()
            try await driver.underLoad {
                try await driver.progress(by: 500)
                for slot in slots {
                    let owner = try servers.owner(of: slot)
                    let others = servers.servers.filter { $0 !== owner }
                    let target = others[slot % others.count]
                    try servers.beginMove(slot, to: target)
                    try await Task.sleep(for: .milliseconds(10))
                    try servers.moveKeys(of: slot, to: target, atMost: 1)
                    try await Task.sleep(for: .milliseconds(30))
                    try servers.moveKeys(of: slot, to: target)
                    try servers.endMove(slot, to: target)
                }
            }
            #expect(driver.rewinds == [])
        }
    }

    /// And the process is killed meanwhile.
    @Test func aNodeIsEmptiedAndRemoved() async throws {
        try await with { servers, driver in
            try await driver.underLoad(perSecond: 500) {
                try await driver.progress(by: 300)
                let added = try await servers.addNode()
                let from = try servers.owner(of: 0)
                driver.kill()
                try await servers.reshard(5_461, from: from, to: added)
                try await servers.waitUntilHealthy()
                try await Task.sleep(for: .seconds(3))
                try await servers.remove(from)
                driver.kill()
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// Each master in turn: what was remembered and what was written lie on different ones.
    @Test(arguments: [false, true]) func failoversThatLoseWrites(killsProcess: Bool) async throws {
        try await with(replicas: 1) { servers, driver in
            try await driver.underLoad(perSecond: 500) {
                for number in [5, 6_000, 16_000, 5] {
                    try await driver.progress(by: 1_500)
                    let master = try servers.owner(of: number)
                    let replica = try servers.replicas(of: master)[0]
                    replica.process.suspend()
                    // Else what is in the sockets arrives after all.
                    try master.cli("CLIENT", "KILL", "TYPE", "replica")
                    try await Task.sleep(for: .seconds(1))
                    master.kill()
                    if killsProcess { driver.kill() }
                    replica.process.resume()
                    try await servers.waitUntilHealthy()
                    if killsProcess { driver.kill() }
                    try await master.restart()
                    try await servers.waitUntilHealthy()
                }
            }
            if !killsProcess { #expect(!driver.rewinds.isEmpty) }
        }
    }

    @Test func nodesThatLoseEverything() async throws {
        try await with { servers, driver in
            try await driver.underLoad(perSecond: 500) {
                for server in servers.servers {
                    try await driver.progress(by: 1_000)
                    try server.cli("FLUSHALL")
                    try await driver.progress(by: 300)
                    server.kill()
                    try await server.restart()
                    try await servers.waitUntilHealthy()
                }
            }
            #expect(driver.rewinds.contains(0))
        }
    }

    @Test func mastersTakeTurns() async throws {
        try await with(replicas: 1) { servers, driver in
            try await driver.underLoad(perSecond: 500) {
                for option in ["TAKEOVER", nil] {
                    for number in 0..<3 {
                        try await driver.progress(by: 300)
                        let master = try servers.owner(of: number * 5_461 + 5)
                        try await servers.failOver(to: servers.replicas(of: master)[0], option)
                        try await servers.waitUntilHealthy()
                    }
                }
            }
        }
    }

    /// A server that hangs executes what it has received when it goes on.
    @Test func nodesThatHang() async throws {
        try await with(replyTimeout: .milliseconds(300)) { servers, driver in
            try await driver.underLoad {
                for server in servers.servers {
                    try await driver.progress(by: 300)
                    server.process.suspend()
                    try await Task.sleep(for: .seconds(1))
                    server.process.resume()
                }
                try await servers.waitUntilHealthy()
            }
        }
    }

    @Test func connectionsAreCutAndMemoryIsFull() async throws {
        try await with { servers, driver in
            try await driver.underLoad {
                try await driver.progress(by: 500)
                for round in 0..<15 {
                    let server = servers.servers[round % 3]
                    try server.cli("CLIENT", "KILL", "TYPE", "normal")
                    try await Task.sleep(for: .milliseconds(50))
                    try server.cli("CONFIG", "SET", "maxmemory", "1")
                    try await Task.sleep(for: .milliseconds(50))
                    try server.cli("CONFIG", "SET", "maxmemory", "0")
                    try server.cli("SCRIPT", "FLUSH")
                }
            }
        }
    }
}
