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

    /// Streams at once, by the script; keys when the next marker is read.
    @Test(arguments: [false, true]) func aLaterProcessTakesTheSink(isStream: Bool) async throws {
        try await with { servers in
            let first = try ClusterDriver(servers, isStream: isStream)
            _ = try await first.sink.start(first.context())
            _ = try await first.sink.deliver(first.batch(0..<100)).refused
            let second = try ClusterDriver(servers, isStream: isStream, owner: "other process 1")
            _ = try await second.sink.start(second.context())
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
                let fields = (0..<fields).map { Field(name: "f\($0)", value: bytes("v")) }
                return ClusterDriver.change(offset, .streamAdd(key: bytes(key), fields: fields))
            }
            let changes = [
                entry(0, "{a}one"), entry(1, "{a}list"), entry(2, "{a}two"), entry(3, "{a}one"),
                entry(4, "{a}one", fields: 4_000), entry(5, "{a}one", fields: 3_000),
            ]
            let refused = try await driver.sink.deliver(
                MappedBatch(offsets: 0..<6, changes: changes, settled: .none, generation: 0)
            ).refused
            #expect(refused.map(\.offset) == [1, 4])
            let owner = try servers.owner(of: HashSlot(of: "{a}one").number)
            #expect(try owner.cli("XLEN", "{a}one") == "3")
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
