import ChangeModel
import Engine
import Logging
import Mapping
import RedisClient
import SegmentLog
import TestServers
import Testing

@testable import RedisSink

/// Keys, members and fields that the path does not decide, against a real Redis.
@Suite(.serialized, .timeLimit(.minutes(2))) struct OwnedKeyTests {
    /// A sink, and how far it has been driven.
    private final class Driver {
        let redis: RedisServer
        private(set) var sink: RedisSink
        private var offset: Int64 = 0
        private let maxRemembered: Int64?
        private let name: String
        private var last: MappedBatch?

        init(_ redis: RedisServer, maxRemembered: Int64? = 1000, name: String = "s") async throws {
            self.name = name
            self.redis = redis
            self.maxRemembered = maxRemembered
            sink = try Driver.make(redis, maxRemembered, name)
            _ = try await sink.start(Driver.context)
        }

        private static var context: SinkContext {
            SinkContext(
                logID: "log", generations: [Generation(number: 0, firstOffset: 0)], startOffset: 0,
                endOffset: 1000, takeOver: false, lookup: NoChanges(), offset: { _ in 0 },
                startGeneration: { $0 + 1 },
                repeatSnapshot: {})
        }

        private static func make(_ redis: RedisServer, _ maxRemembered: Int64?, _ name: String) throws
            -> RedisSink
        {
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            var configuration = RedisSink.Configuration(
                pipeline: "p", sink: name,
                redis: RedisConfiguration(endpoint: try RedisEndpoint(parsing: redis.url)),
                onMissingCheckpoint: .earliest, owner: "host process 1")
            configuration.maxRemembered = maxRemembered
            return RedisSink(configuration, logger: logger)
        }

        /// As a batch of its own: what each path writes.
        @discardableResult
        func deliver(_ changes: (path: String, writes: [SinkWrite])...) async throws -> [String] {
            let mapped = changes.enumerated().map { index, change in
                MappedChange(
                    Change(operation: .update, path: change.path, data: [], zxid: Zxid(1), timestamp: 1),
                    offset: offset + Int64(index), generation: 0, writes: change.writes)
            }
            let end = offset + Int64(changes.count)
            let batch = MappedBatch(offsets: offset..<end, changes: mapped, settled: .none, generation: 0)
            offset = end
            last = batch
            return try await sink.deliver(batch).refused.map { "\($0.change.path): \($0.reason)" }
        }

        /// As behind a lost answer: by a new sink, which begins at what was confirmed.
        func deliverAgain() async throws {
            try await restart()
            if let last { _ = try await sink.deliver(last) }
        }

        func restart() async throws {
            await sink.close()
            sink = try Driver.make(redis, maxRemembered, name)
            _ = try await sink.start(Driver.context)
        }

        func words(_ command: String...) throws -> String {
            try redis.cli(command).split(separator: "\n").sorted().joined(separator: " ")
        }
    }

    private func with(maxRemembered: Int64? = 1000, _ body: (Driver) async throws -> Void) async throws {
        let redis = try await RedisServer.start()
        let driver = try await Driver(redis, maxRemembered: maxRemembered)
        do {
            try await body(driver)
        } catch {
            await redis.stop()
            throw error
        }
        await driver.sink.close()
        await redis.stop()
    }

    private func string(_ key: String, _ value: String = "v") -> SinkWrite {
        .setString(key: Bytes(key.utf8), value: Bytes(value.utf8))
    }

    private func member(_ name: String) -> SinkWrite {
        .addMember(key: Bytes("s".utf8), member: Bytes(name.utf8))
    }

    private func item(_ name: String, _ key: String = "list") -> SinkWrite {
        .addListItem(key: Bytes(key.utf8), item: Bytes(name.utf8))
    }

    @Test func aKeyThatMovesLeavesNothingBehind() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [string("k:1")]))
            try await driver.deliver(("/a", [string("k:2")]))
            #expect(try driver.words("KEYS", "k:*") == "k:2")
            try await driver.restart()
            // Several moves in one batch, and one back.
            try await driver.deliver(
                ("/a", [string("k:3")]), ("/a", [string("k:2", "w")]), ("/b", [string("k:9")]))
            #expect(try driver.words("KEYS", "k:*") == "k:2 k:9")
            #expect(try driver.redis.cli("GET", "k:2") == "w")
            try await driver.deliver(("/a", [.release]), ("/c", [.release]))
            #expect(try driver.words("KEYS", "k:*") == "k:9")
            #expect(try driver.redis.cli("HKEYS", "millrace:p:s:paths") == "/b")
            #expect(try driver.redis.cli("HVALS", "millrace:p:s:owners") == "1")
        }
    }

    /// Two ephemerals with the same host: it stays until both are gone.
    @Test func aMemberGoesWithItsLastOwner() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [member("h")]), ("/b", [member("h")]), ("/b", [member("h")]))
            try await driver.deliver(("/a", [.release]))
            #expect(try driver.words("SMEMBERS", "s") == "h")
            try await driver.restart()
            try await driver.deliver(("/c", [member("h"), member("i")]), ("/b", [member("j")]))
            #expect(try driver.words("SMEMBERS", "s") == "h i j")
            try await driver.deliver(("/c", [member("i")]))
            #expect(try driver.words("SMEMBERS", "s") == "i j")
            try await driver.deliver(("/c", [.release]), ("/b", [.release]))
            #expect(try driver.words("KEYS", "*") == "millrace:p:s")
        }
    }

    @Test func fieldsAndScoredMembersAreReleased() async throws {
        try await with { driver in
            let hash = Bytes("h".utf8)
            let sorted = Bytes("z".utf8)
            func writes(_ name: String) -> [SinkWrite] {
                [
                    .setHashField(key: hash, field: Bytes(name.utf8), value: [0x31]),
                    .expiring(
                        .addScoredMember(key: sorted, member: Bytes(name.utf8), score: [0x31]),
                        milliseconds: 100_000),
                ]
            }
            try await driver.deliver(("/a", writes("x")), ("/b", writes("y")))
            try await driver.deliver(("/a", writes("z")))
            #expect(try driver.words("HKEYS", "h") == "y z")
            #expect(try driver.words("ZRANGE", "z", "0", "-1") == "y z")
        }
    }

    /// A lost reply, or a restart before the confirmation: the same batch comes again.
    @Test func aBatchThatComesAgainChangesNothing() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [member("h")]), ("/b", [member("h")]), ("/c", [member("i")]))
            try await driver.deliverAgain()
            #expect(try driver.words("HVALS", "millrace:p:s:owners") == "1 2")
            // One of two owners goes, one moves, one comes and goes.
            try await driver.deliver(
                ("/a", [.release]), ("/c", [member("j")]), ("/d", [member("k")]), ("/d", [.release]))
            let before = try driver.words("HGETALL", "millrace:p:s:owners")
            try await driver.deliverAgain()
            #expect(try driver.words("SMEMBERS", "s") == "h j")
            #expect(try driver.words("HGETALL", "millrace:p:s:owners") == before)
            #expect(try driver.words("HKEYS", "millrace:p:s:paths") == "/b /c")
        }
    }

    @Test func whatIsWrittenTwiceCountsOnce() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [member("h")]))
            try await driver.deliver(("/a", [member("h")]))
            try await driver.deliver(("/a", [.release]))
            try await driver.deliver(("/a", [.release]))
            #expect(try driver.words("KEYS", "*") == "millrace:p:s")
        }
    }

    @Test func theBoundStopsTheSinkAndForgetsNothing() async throws {
        try await with(maxRemembered: 2) { driver in
            try await driver.deliver(("/a", [member("1")]), ("/b", [member("2")]))
            try await driver.deliver(("/a", [.release]), ("/c", [member("3")]))
            let error = await #expect(throws: PipelineError.self) {
                try await driver.deliver(("/d", [member("4")]))
            }
            #expect(error?.message.contains("max_remembered") == true)
            #expect(try driver.words("SMEMBERS", "s") == "2 3")
        }
    }

    /// Two sinks at once, each with items of its own.
    @Test func sinksShareAList() async throws {
        try await with(maxRemembered: nil) { driver in
            let count = 100
            let redis = driver.redis
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let other = try await Driver(redis, maxRemembered: nil, name: "t")
                    for number in 0..<count { try await other.deliver(("/t\(number)", [item("t\(number)")])) }
                    await other.sink.close()
                }
                for number in 0..<count { try await driver.deliver(("/s\(number)", [item("s\(number)")])) }
                try await group.waitForAll()
            }
            let list = try driver.redis.cli("GET", "list")
            #expect(list.split(separator: ",").count == 2 * count)
        }
    }

    @Test func childrenAreASortedList() async throws {
        try await with(maxRemembered: nil) { driver in
            let removal = SinkWrite.removeListItem(key: Bytes("list".utf8), item: Bytes("b".utf8))
            try await driver.deliver(
                ("/p/b", [item("b")]), ("/p/a", [item("a\"/")]), ("/q/x", [item("x", "other")]))
            #expect(try driver.redis.cli("GET", "list") == #"["a\"/","b"]"#)
            try await driver.restart()
            try await driver.deliver(("/p/c", [item("c")]), ("/p/b", [removal]))
            #expect(try driver.redis.cli("GET", "list") == #"["a\"/","c"]"#)
            try await driver.deliver(("/p/b", [.expiring(item("b"), milliseconds: 100_000)]))
            #expect((Int(try driver.redis.cli("PTTL", "list")) ?? 0) > 0)
            // What goes leaves the others their time.
            try await driver.deliver(
                ("/p/c", [.removeListItem(key: Bytes("list".utf8), item: Bytes("c".utf8))]))
            #expect(try driver.redis.cli("GET", "list") == #"["a\"/","b"]"#)
            #expect((Int(try driver.redis.cli("PTTL", "list")) ?? 0) > 0)
            try driver.redis.cli("SET", "list", #"["b"]"#)
            try await driver.deliver(("/p/b", [removal]))
            #expect(try driver.words("KEYS", "*") == "millrace:p:s other")
        }
    }

    @Test func aListThatIsSomethingElseRefusesItsChangesOnly() async throws {
        try await with { driver in
            try driver.redis.cli("SET", "list", "text")
            try driver.redis.cli("LPUSH", "wrong", "x")
            let refused = try await driver.deliver(
                ("/a", [item("a")]), ("/b", [item("b", "wrong")]), ("/c", [item("c", "good")]))
            #expect(refused.count == 2)
            #expect(refused.first == "/a: Redis: the key holds no list of children")
            #expect(refused.last?.contains("WRONGTYPE") == true)
            #expect(try driver.redis.cli("GET", "good") == #"["c"]"#)
            #expect(try driver.redis.cli("HKEYS", "millrace:p:s:paths") == "/c")
        }
    }

    @Test func recordsAreReadBackAndDamageIsSeen() {
        let addresses = [
            OwnedAddress(kind: .key, key: [1, 2]), OwnedAddress(kind: .member, key: [], part: [0]),
        ]
        let record = OwnedAddress.record(addresses)
        #expect(OwnedAddress.parse(record) == addresses)
        #expect(OwnedAddress.parse([]) == [])
        for count in 1..<record.count where OwnedAddress.parse(Array(record[..<count])) != nil {
            #expect(count == OwnedAddress.record([addresses[0]]).count)
        }
        #expect(OwnedAddress.parse([9] + record) == nil)
    }
}
