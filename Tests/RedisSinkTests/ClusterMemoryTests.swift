import ChangeModel
import Engine
import Logging
import Mapping
import RedisClient
import TestServers
import Testing

@testable import RedisSink

/// Keys, members and fields that the path does not decide, and lists, in a real cluster of three masters.
@Suite(.serialized, .timeLimit(.minutes(3))) struct ClusterMemoryTests {
    /// A sink, and how far it has been driven.
    private final class Driver {
        let servers: RedisClusterServers
        private(set) var sink: RedisClusterSink
        private let context: SinkContext
        private let maxRemembered: Int64?
        private let name: String
        private var offset: Int64 = 0
        private var last: MappedBatch?

        init(_ servers: RedisClusterServers, maxRemembered: Int64? = 1000, name: String = "s") async throws {
            self.servers = servers
            self.maxRemembered = maxRemembered
            self.name = name
            let log = ClusterMemoryDriver(servers)
            log.end.set(1_000)
            context = log.context()
            sink = try ClusterMemoryDriver.sink(servers, name: name, maxRemembered: maxRemembered)
            _ = try await sink.start(context)
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

        /// As behind a process that ended before it could confirm.
        func deliverAgain() async throws {
            try await restart()
            if let last { _ = try await sink.deliver(last).refused }
        }

        func restart() async throws {
            await sink.close()
            sink = try ClusterMemoryDriver.sink(servers, name: name, maxRemembered: maxRemembered)
            _ = try await sink.start(context)
        }

        /// Answers to a command about a key, sorted.
        func words(_ command: String, _ key: String, _ more: String...) throws -> String {
            try servers.owner(of: HashSlot(of: key).number).cli([command, key] + more)
                .split(separator: "\n").sorted().joined(separator: " ")
        }

        /// All keys but the sink's markers.
        func keys(_ pattern: String = "*") throws -> String {
            try servers.servers.flatMap { try servers.keys(of: $0, matching: pattern) }
                .filter { !$0.hasSuffix(":marker") && !$0.hasSuffix(":memory") }.sorted().joined(
                    separator: " ")
        }

        /// By path how many things it has.
        func remembered() async throws -> [String: Int] {
            let reader = try RedisSinkReader(
                RedisConfiguration(endpoint: try RedisEndpoint(parsing: servers.url)), pipeline: "p",
                sink: name, logger: Logger(label: "test"))
            var found: [String: Int] = [:]
            for kind in [SinkItem.Kind.string, .member, .listItem] {
                try await reader.remembered(kind) { portion in
                    for (path, items) in portion { found[path, default: 0] += items.count }
                }
            }
            await reader.close()
            return found
        }
    }

    private func with(maxRemembered: Int64? = 1000, _ body: (Driver) async throws -> Void) async throws {
        try await ClusterDriver.with(replicas: 0) { servers in
            let driver = try await Driver(servers, maxRemembered: maxRemembered)
            try await body(driver)
            await driver.sink.close()
        }
    }

    private func string(_ key: String, _ value: String = "v") -> SinkWrite {
        .setString(key: Bytes(key.utf8), value: Bytes(value.utf8))
    }

    private func member(_ name: String, _ key: String = "s") -> SinkWrite {
        .addMember(key: Bytes(key.utf8), member: Bytes(name.utf8))
    }

    private func item(_ name: String, _ key: String = "list") -> SinkWrite {
        .addListItem(key: Bytes(key.utf8), item: Bytes(name.utf8))
    }

    @Test func aKeyThatMovesLeavesNothingBehind() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [string("k:1")]))
            try await driver.deliver(("/a", [string("k:2")]))
            #expect(try driver.keys("k:*") == "k:2")
            try await driver.restart()
            // Several moves in one batch, and one back.
            try await driver.deliver(
                ("/a", [string("k:3")]), ("/a", [string("k:2", "w")]), ("/b", [string("k:9")]))
            #expect(try driver.keys("k:*") == "k:2 k:9")
            #expect(try driver.words("GET", "k:2") == "w")
            #expect(try await driver.remembered() == ["/a": 1, "/b": 1])
            try await driver.deliver(("/a", [.release]), ("/c", [.release]))
            #expect(try driver.keys("k:*") == "k:9")
            try await driver.deliver(("/b", [.release]))
            #expect(try driver.keys() == "")
        }
    }

    @Test func aMemberGoesWithItsLastOwner() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [member("h")]), ("/b", [member("h")]), ("/b", [member("h")]))
            try await driver.deliver(("/a", [.release]))
            #expect(try driver.words("SMEMBERS", "s") == "h")
            try await driver.restart()
            try await driver.deliver(("/c", [member("h"), member("i")]), ("/b", [member("j")]))
            #expect(try driver.words("SMEMBERS", "s") == "h i j")
            try await driver.deliver(("/c", [member("i", "t")]))
            #expect(try driver.words("SMEMBERS", "s") == "j")
            try await driver.deliver(("/c", [.release]), ("/b", [.release]))
            #expect(try driver.keys() == "")
        }
    }

    @Test func aBatchThatComesAgainChangesNothing() async throws {
        try await with { driver in
            try await driver.deliver(
                ("/a", [member("h")]), ("/b", [member("h")]), ("/c", [item("i")]), ("/d", [string("k:1")]))
            try await driver.deliverAgain()
            // One of two owners goes, one moves, one comes and goes.
            try await driver.deliver(
                ("/a", [.release]), ("/c", [item("j", "other")]), ("/d", [string("k:2")]),
                ("/e", [member("k")]),
                ("/e", [.release]))
            let keys = try driver.keys()
            for _ in 0..<2 {
                try await driver.deliverAgain()
                #expect(try driver.keys() == keys)
                #expect(try driver.keys("k:*") == "k:2")
                #expect(try driver.words("SMEMBERS", "s") == "h")
                #expect(try driver.words("GET", "other") == #"["j"]"#)
                #expect(try await driver.remembered() == ["/b": 1, "/c": 1, "/d": 1])
            }
            try await driver.deliver(("/b", [.release]), ("/c", [.release]), ("/d", [.release]))
            #expect(try driver.keys() == "")
        }
    }

    @Test func theBoundStopsTheSinkAndForgetsNothing() async throws {
        try await with(maxRemembered: 2) { driver in
            try await driver.deliver(("/a", [member("1")]), ("/b", [member("2")]))
            try await driver.deliver(("/a", [.release]), ("/c", [member("3")]))
            try await driver.restart()
            let error = await #expect(throws: PipelineError.self) {
                try await driver.deliver(("/d", [member("4")]))
            }
            #expect(error?.message.contains("max_remembered") == true)
            #expect(try driver.words("SMEMBERS", "s") == "2 3")
            try await driver.deliver(("/b", [.release]), ("/d", [member("4")]))
            #expect(try driver.words("SMEMBERS", "s") == "3 4")
        }
    }

    @Test(arguments: [nil, 1000] as [Int64?]) func childrenAreASortedList(maxRemembered: Int64?) async throws
    {
        try await with(maxRemembered: maxRemembered) { driver in
            func removal(_ name: String) -> SinkWrite {
                maxRemembered == nil
                    ? .removeListItem(key: Bytes("list".utf8), item: Bytes(name.utf8)) : .release
            }
            try await driver.deliver(
                ("/p/b", [item("b")]), ("/p/a", [item("a\"/")]), ("/q/x", [item("x", "other")]))
            #expect(try driver.words("GET", "list") == #"["a\"/","b"]"#)
            try await driver.restart()
            try await driver.deliver(("/p/c", [item("c")]), ("/p/b", [removal("b")]))
            #expect(try driver.words("GET", "list") == #"["a\"/","c"]"#)
            try await driver.deliver(("/p/b", [.expiring(item("b"), milliseconds: 100_000)]))
            #expect((Int(try driver.words("PTTL", "list")) ?? 0) > 0)
            // What goes leaves the others their time.
            try await driver.deliver(("/p/c", [removal("c")]))
            #expect(try driver.words("GET", "list") == #"["a\"/","b"]"#)
            #expect((Int(try driver.words("PTTL", "list")) ?? 0) > 0)
            try await driver.deliver(("/p/b", [removal("b")]), ("/p/a", [removal("a\"/")]))
            #expect(try driver.words("EXISTS", "list") == "0")
        }
    }

    /// Two sinks at once, each with items of its own.
    @Test func sinksShareAList() async throws {
        try await with { driver in
            let count = 60
            let servers = driver.servers
            let other = try await Driver(servers, maxRemembered: nil, name: "t")
            async let others: Void = { (other: sending Driver) in
                for number in 0..<count { try await other.deliver(("/t\(number)", [item("t\(number)")])) }
                await other.sink.close()
            }(other)
            for number in 0..<count { try await driver.deliver(("/s\(number)", [item("s\(number)")])) }
            try await others
            #expect(try driver.words("GET", "list").split(separator: ",").count == 2 * count)
        }
    }

    @Test func whatIsRefusedIsNamedAndTheRestArrives() async throws {
        try await with { driver in
            func owner(_ key: String) throws -> RedisServer {
                try driver.servers.owner(of: HashSlot(of: key).number)
            }
            try owner("{l}text").cli("SET", "{l}text", "text")
            try owner("{l}wrong").cli("LPUSH", "{l}wrong", "x")
            let refused = try await driver.deliver(
                ("/a", [item("a", "{l}text")]), ("/b", [item("b", "{l}wrong")]),
                ("/c", [item("c", "{l}good")]),
                ("/d", [member("d", "{l}wrong")]))
            #expect(refused.count == 3)
            #expect(refused.first == "/a: Redis: the key holds no list of children")
            #expect(refused.dropFirst().allSatisfy { $0.contains("WRONGTYPE") })
            #expect(try driver.words("GET", "{l}good") == #"["c"]"#)
            for server in driver.servers.servers {
                try server.cli(
                    "ACL", "SETUSER", "default", "resetkeys", "~millrace:*", "~{l}*", "~s", "%R~{a}no")
            }
            let notPermitted = try await driver.deliver(
                ("/e", [member("e", "{l}set")]), ("/f", [member("f", "{a}no")]), ("/g", [member("g")]))
            #expect(notPermitted.count == 1)
            #expect(notPermitted.first?.hasPrefix("/f: Redis: NOPERM") == true)
            #expect(try driver.words("SMEMBERS", "{l}set") == "e")
            #expect(try driver.words("SMEMBERS", "s") == "g")
        }
    }

    /// A type that has changed with the definition: the old key goes first.
    @Test func aKeyBecomesOneOfAnotherType() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [string("s")]), ("/b", [item("b")]))
            try await driver.deliver(("/a", [member("a")]), ("/b", [member("b", "list")]))
            #expect(try driver.words("SMEMBERS", "s") == "a")
            try await driver.deliver(("/a", [string("s", "w")]))
            #expect(try driver.words("GET", "s") == "w")
        }
    }

    /// As after a failover of the slot that `k:1` lies in, which has lost that `/a` has given it up, while nobody ran.
    @Test func whatASlotHoldsAgainIsFound() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [string("k:1")]))
            let slot = HashSlot(of: "k:1")
            let server = try driver.servers.owner(of: slot.number)
            let memory = ClusterMemory(pipeline: "p", sink: "s")
            let keys = [memory.holds(slot), memory.owners(slot), "k:1"]
            func copy(_ index: Int) -> String { "{\(HashSlot.tag(for: slot))}copy\(index)" }
            for (index, key) in keys.enumerated() {
                #expect(try server.cli("COPY", key, copy(index)) == "1")
            }
            try await driver.deliver(("/a", [string("k:2")]))
            #expect(try driver.words("EXISTS", "k:1") == "0")
            for (index, key) in keys.enumerated() { try server.cli("RENAME", copy(index), key) }
            let proof = try driver.servers.owner(of: HashSlot(of: memory.proof).number)
            try proof.cli("SET", memory.proof, "of other data")
            try await driver.deliverAgain()
            #expect(try driver.keys("k:*") == "k:2")
            #expect(try await driver.remembered() == ["/a": 1])
            #expect(try proof.cli("GET", memory.proof).contains("0-5460="))
        }
    }

    @Test func nothingOfADiscardedSinkIsLeft() async throws {
        try await with { driver in
            try await driver.deliver(("/a", [member("a")]), ("/b", [string("k:1")]))
            try await driver.sink.discard()
            #expect(
                try driver.servers.servers.flatMap { try driver.servers.keys(of: $0, matching: "millrace:*") }
                    == [])
        }
    }

    @Test func holdsAreReadBack() {
        let hold = Hold(address: OwnedAddress(kind: .member, key: [1], part: [2, 0]), path: "/a b/ü")
        #expect(Hold(record: hold.record) == hold)
        #expect(Hold(record: [9]) == nil)
    }
}
