import ChangeModel
import Engine
import Mapping
import RedisClient
import TestServers
import Testing

@testable import RedisSink

/// The sink against a real cluster of three masters: what it writes where, and what it does with answers.
@Suite(.serialized, .timeLimit(.minutes(3))) struct ClusterSinkTests {
    @Test(arguments: [false, true]) func aLogArrivesAndARestartGoesOn(isStream: Bool) async throws {
        try await with { servers in
            let first = try ClusterDriver(servers, isStream: isStream)
            try await first.underLoad { try await Task.sleep(for: .seconds(1)) }
            #expect(try await first.problems(servers) == [])
            #expect(first.rewinds == [])
            let second = try ClusterDriver(servers, isStream: isStream, owner: "host process 2")
            second.end.set(first.end.value)
            #expect(try await second.sink.start(second.context()) == first.end.value)
            try await second.underLoad { try await Task.sleep(for: .milliseconds(500)) }
            #expect(try await second.problems(servers) == [])
            #expect(second.delivered == Int(second.end.value - first.end.value))
        }
    }

    @Test func everyKeyLiesInItsSlot() async throws {
        try await with { servers in
            let keys = try ClusterDriver(servers, isStream: false)
            try await keys.underLoad { try await Task.sleep(for: .milliseconds(300)) }
            var slots: [Int] = []
            for server in servers.servers {
                let owned = try servers.view(of: server)[0].slots
                for key in try server.cli("KEYS", "*").split(separator: "\n") {
                    let slot = HashSlot(of: String(key)).number
                    #expect(owned.contains { $0.contains(slot) })
                    if key.hasSuffix(":marker") { slots.append(slot) }
                }
                #expect(try !server.cli("INFO", "errorstats").contains("MOVED"))
                #expect(try !server.cli("INFO", "errorstats").contains("CROSSSLOT"))
            }
            #expect(slots.count == 3)
        }
    }

    @Test func checkpointsTellHowFarEachNodeHasCome() async throws {
        try await with { servers in
            let streams = try ClusterDriver(servers, isStream: true)
            try await streams.underLoad { try await Task.sleep(for: .milliseconds(300)) }
            let store = RedisClusterCheckpointStore(
                RedisConfiguration(endpoint: try RedisEndpoint(parsing: servers.url)), pipeline: "p",
                sink: "s", writesStreams: true)
            let (checkpoint, nodes) = try await store.readNodes(timeout: .seconds(5))
            #expect(checkpoint?.confirmed == streams.end.value)
            #expect(nodes.map(\.slots).sorted() == ["0-5460", "10922-16383", "5461-10921"])
            #expect(nodes.allSatisfy { $0.checkpoint?.confirmed == streams.end.value })
            let key = CheckpointRecord.key(
                pipeline: "p", sink: "s", slot: HashSlot(of: ClusterDriver.stream(3)))
            let owner = try servers.owner(of: HashSlot(of: key).number)
            #expect(HashSlot(of: key) == HashSlot(of: ClusterDriver.stream(3)))
            #expect(try owner.cli("HMGET", key, "e", "p", "l") == "1\n\(streams.end.value)\nlog")
        }
    }

    /// What it has open is ended, and on a new connection it finds who has the sink.
    @Test(arguments: [false, true]) func aLaterProcessTakesTheSink(isStream: Bool) async throws {
        try await with { servers in
            let first = try ClusterDriver(servers, isStream: isStream)
            _ = try await first.sink.start(first.context())
            _ = try await first.sink.deliver(first.batch(0..<100)).refused
            let second = try ClusterDriver(servers, isStream: isStream, owner: "other process 1")
            _ = try await second.sink.start(second.context())
            for server in servers.servers {
                let names = try server.cli("CLIENT", "LIST").split(separator: "\n").filter {
                    $0.contains("name=millrace:p:s ")
                }
                #expect(names.count == 1)
            }
            await #expect(throws: PipelineError.self) { try await first.sink.deliver(first.batch(100..<200)) }
            if isStream {
                second.end.set(100)
                second.end.finish()
                #expect(try await second.problems(servers) == [])
            }
            await first.sink.close()
            await second.sink.close()
        }
    }

    /// Then it notices by its marker, or by what the checkpoint was; no entry is there twice.
    @Test(arguments: [false, true]) func connectionsThatMayNotBeEnded(isStream: Bool) async throws {
        try await with { servers in
            for server in servers.servers {
                try server.cli("ACL", "SETUSER", "default", "-client|kill")
            }
            let first = try ClusterDriver(servers, isStream: isStream)
            _ = try await first.sink.start(first.context())
            _ = try await first.sink.deliver(first.batch(0..<100)).refused
            let second = try ClusterDriver(servers, isStream: isStream, owner: "other process 1")
            _ = try await second.sink.start(second.context())
            await #expect(throws: PipelineError.self) {
                while true { _ = try await first.sink.deliver(first.batch(100..<200)) }
            }
            await first.sink.close()
            second.end.set(200)
            try await second.underLoad {}
            #expect(try await second.problems(servers) == [])
        }
    }

    @Test func aRemovedStreamStartsAgain() async throws {
        try await with { servers in
            let driver = try ClusterDriver(servers, isStream: true)
            _ = try await driver.sink.start(driver.context())
            _ = try await driver.sink.deliver(driver.batch(0..<160)).refused
            let owner = try servers.owner(of: HashSlot(of: "s:3").number)
            #expect(try owner.cli("DEL", "s:3") == "1")
            #expect(try await driver.sink.deliver(driver.batch(160..<320)).refused.isEmpty)
            #expect(try owner.cli("XLEN", "s:3") == "10")
            let other = try servers.owner(of: HashSlot(of: "s:4").number)
            #expect(try other.cli("XLEN", "s:4") == "20")
            await driver.sink.close()
        }
    }

    /// What is not even queued discards the whole transaction; the rest of the slot goes without it.
    @Test func anEntryThatIsNotPermittedIsNamed() async throws {
        try await with { servers in
            for server in servers.servers {
                try server.cli(
                    "ACL", "SETUSER", "default", "resetkeys", "~millrace:*", "~{a}one", "%R~{a}other")
            }
            let driver = try ClusterDriver(servers, isStream: true)
            _ = try await driver.sink.start(driver.context())
            let changes = (0..<6).map { (offset: Int64) in
                ClusterDriver.change(
                    offset,
                    .streamAdd(
                        key: bytes(offset == 2 ? "{a}other" : "{a}one"),
                        fields: [Field(name: "n", value: bytes("\(offset)"))]))
            }
            let refused = try await driver.sink.deliver(
                MappedBatch(offsets: 0..<6, changes: changes, settled: .none, generation: 0)
            ).refused
            #expect(refused.map(\.offset) == [2])
            #expect(refused.allSatisfy { $0.reason.contains("NOPERM") })
            #expect(try servers.owner(of: HashSlot(of: "{a}one").number).cli("XLEN", "{a}one") == "5")
            await driver.sink.close()
        }
    }

    @Test func anotherLogIsRefusedUnlessItIsMeant() async throws {
        try await with { servers in
            let first = try ClusterDriver(servers, isStream: true)
            _ = try await first.sink.start(first.context())
            _ = try await first.sink.deliver(first.batch(0..<100)).refused
            await first.sink.close()
            let other = try ClusterDriver(servers, isStream: true, owner: "other process 1")
            await #expect(throws: PipelineError.self) {
                try await other.sink.start(other.context(logID: "b"))
            }
            #expect(try await other.sink.start(other.context(logID: "b", takeOver: true)) == 0)
            // Its entries lie above those of the other log.
            #expect(try await other.sink.deliver(other.batch(0..<100)).refused.isEmpty)
            await other.sink.close()
        }
    }

    @Test func aLifetimeIsSetWithTheDataAndTakenAwayWithout() async throws {
        try await with { servers in
            let driver = try ClusterDriver(servers, isStream: false)
            _ = try await driver.sink.start(driver.context())
            let writes: [SinkWrite] = [
                .setString(key: bytes("{t}s"), value: bytes("1")),
                .replaceHash(key: bytes("{t}h"), fields: [Field(name: "a", value: bytes("1"))]),
                .addMember(key: bytes("{t}m"), member: bytes("m")),
            ]
            let owner = try servers.owner(of: HashSlot(of: "{t}").number)
            func deliver(_ offset: Int64, _ writes: [SinkWrite]) async throws {
                var change = ClusterDriver.change(offset, .envelope)
                change.writes = writes
                let batch = MappedBatch(
                    offsets: offset..<offset + 1, changes: [change], settled: .none, generation: 0)
                #expect(try await driver.sink.deliver(batch).refused.isEmpty)
            }
            try await deliver(0, writes)
            try await deliver(1, writes.map { .expiring($0, milliseconds: 100_000) })
            for name in ["{t}s", "{t}h", "{t}m"] {
                let left = Int(try owner.cli("PTTL", name)) ?? 0
                #expect(left > 0 && left <= 100_000, "\(name)")
            }
            try await deliver(2, writes)
            for name in ["{t}s", "{t}h"] { #expect(try owner.cli("PTTL", name) == "-1") }
            await driver.sink.close()
        }
    }

    /// Whether it is replaced as a whole, or given new values because it is known to have these fields.
    @Test func aHashHasItsFieldsAndNoOther() async throws {
        try await with { servers in
            let driver = try ClusterDriver(servers, isStream: false)
            _ = try await driver.sink.start(driver.context())
            let owner = try servers.owner(of: HashSlot(of: "h").number)
            var offset: Int64 = 0
            func deliver(_ names: String...) async throws -> String {
                let fields = FieldList(names.map { Field(name: $0, value: bytes("\(offset)")) })
                let change = ClusterDriver.change(offset, .replaceHash(key: bytes("h"), fields: fields))
                let batch = MappedBatch(
                    offsets: offset..<offset + 1, changes: [change], settled: .none, generation: 0)
                #expect(try await driver.sink.deliver(batch).refused.isEmpty)
                offset += 1
                return try owner.cli("HGETALL", "h").split(separator: "\n").joined(separator: " ")
            }
            #expect(try await deliver("a", "b") == "a 0 b 0")
            #expect(try await deliver("a", "b") == "a 1 b 1")
            #expect(try owner.cli("INFO", "commandstats").contains("cmdstat_hlen:calls=1,"))
            try owner.cli("HSET", "h", "another", "x")
            #expect(try await deliver("a", "b") == "a 2 b 2")
            #expect(try await deliver("a") == "a 3")
            try owner.cli("DEL", "h")
            try owner.cli("HSET", "h", "b", "x")
            #expect(try await deliver("a") == "a 4")
            try owner.cli("DEL", "h")
            try owner.cli("LPUSH", "h", "x")
            #expect(try await deliver("a") == "a 5")
            await driver.sink.close()
        }
    }

    @Test func aRefusedChangeIsNamedAndTheOneBeforeItHolds() async throws {
        try await with { servers in
            let driver = try ClusterDriver(servers, isStream: false)
            _ = try await driver.sink.start(driver.context())
            let list = try servers.owner(of: HashSlot(of: "list").number)
            try list.cli("LPUSH", "list", "x")
            func field(_ value: String) -> SinkWrite {
                .setHashField(key: bytes("h"), field: bytes("f"), value: bytes(value))
            }
            let changes = [
                ClusterDriver.change(0, field("1")), ClusterDriver.change(1, field("2")),
                ClusterDriver.change(2, .addMember(key: bytes("list"), member: bytes("m"))),
                ClusterDriver.change(
                    3, .replaceHash(key: bytes("whole"), fields: [Field(name: "a", value: bytes("1"))])),
                ClusterDriver.change(4, .replaceHash(key: bytes("list"), fields: [])),
                ClusterDriver.change(
                    5, .addScoredMember(key: bytes("whole"), member: bytes("m"), score: bytes("1"))),
            ]
            let refused = try await driver.sink.deliver(
                MappedBatch(offsets: 0..<6, changes: changes, settled: .none, generation: 0)
            ).refused
            #expect(refused.map(\.offset) == [2, 5])
            #expect(refused.allSatisfy { $0.reason.contains("WRONGTYPE") })
            #expect(try servers.owner(of: HashSlot(of: "h").number).cli("HGET", "h", "f") == "2")
            #expect(try servers.owner(of: HashSlot(of: "whole").number).cli("HGET", "whole", "a") == "1")
            await driver.sink.close()
        }
    }

    @Test func aRefusedEntryIsNamedAndTheRestOfItsSlotArrives() async throws {
        try await with { servers in
            let driver = try ClusterDriver(servers, isStream: true)
            _ = try await driver.sink.start(driver.context())
            try servers.owner(of: HashSlot(of: "{a}list").number).cli("LPUSH", "{a}list", "x")
            func entry(_ offset: Int64, _ key: String, fields: Int = 1) -> MappedChange {
                let fields = FieldList((0..<fields).map { Field(name: "f\($0)", value: bytes("v")) })
                return ClusterDriver.change(offset, .streamAdd(key: bytes(key), fields: fields))
            }
            let changes = [
                entry(0, "{a}one"), entry(1, "{a}list"), entry(2, "{a}two"), entry(3, "{a}one"),
                entry(4, "{a}one", fields: 4_000), entry(5, "{a}one", fields: 3_000),
            ]
            let refused = try await driver.sink.deliver(
                MappedBatch(offsets: 0..<6, changes: changes, settled: .none, generation: 0)
            ).refused
            #expect(refused.map(\.offset) == [1])
            let owner = try servers.owner(of: HashSlot(of: "{a}one").number)
            #expect(try owner.cli("XLEN", "{a}one") == "4")
            #expect(try owner.cli("XLEN", "{a}two") == "1")
            await driver.sink.close()
        }
    }

    @Test func deadLettersAreReplayedOnce() async throws {
        try await with { servers in
            let driver = try ClusterDriver(servers, isStream: true)
            _ = try await driver.sink.start(driver.context())
            _ = try await driver.sink.deliver(driver.batch(0..<64)).refused
            await driver.sink.confirm(64)
            func entry(_ offset: Int64) -> MappedChange {
                ClusterDriver.change(
                    offset,
                    .streamAdd(
                        key: bytes(ClusterDriver.stream(offset)),
                        fields: [Field(name: "replayed_offset", value: bytes("\(offset)"))]))
            }
            var replay = MappedBatch(
                offsets: 0..<0, changes: [entry(3), entry(4)], settled: .none, generation: 0)
            replay.isReplay = true
            replay.letters = [0, 1]
            for _ in 0..<2 { #expect(try await driver.sink.deliver(replay).refused.isEmpty) }
            for number: Int64 in [3, 4] {
                let key = ClusterDriver.stream(number)
                let owner = try servers.owner(of: HashSlot(of: key).number)
                #expect(try owner.cli("XLEN", key) == "5")
            }
            #expect(Set(try await driver.sink.replayedLetters().map(\.number)) == [0, 1])
            await driver.sink.close()
        }
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func with(_ body: (RedisClusterServers) async throws -> Void) async throws {
        try await ClusterDriver.with(replicas: 0, [], body)
    }
}

extension ClusterDriver {
    static func with(
        replicas: Int, _ configuration: [String] = [], _ body: (RedisClusterServers) async throws -> Void
    ) async throws {
        let servers = try await RedisClusterServers.start(
            replicas: replicas, extraConfiguration: configuration)
        do {
            try await body(servers)
        } catch {
            await servers.stop()
            throw error
        }
        await servers.stop()
    }
}
