import Testing

@testable import RedisClient

private let asked = RedisEndpoint.Address.host("10.0.0.1", port: 7_000)

private func node(_ host: RESPValue, _ port: Int64, _ id: String, _ names: [String] = []) -> RESPValue {
    .array([host, .integer(port), bulk(id), .array(names.map(bulk))])
}

private func range(_ first: Int64, _ last: Int64, _ nodes: RESPValue...) -> RESPValue {
    .array([.integer(first), .integer(last)] + nodes)
}

private func parse(_ ranges: RESPValue...) throws(RedisError) -> ClusterTopology {
    try ClusterTopology(parsing: .array(ranges), asked: asked)
}

private func slot(_ number: Int) throws -> HashSlot { try #require(HashSlot(number)) }

@Suite struct ClusterTopologyTests {
    @Test func mastersAndReplicas() throws {
        let topology = try parse(
            range(0, 99, node(bulk("10.0.0.2"), 1, "b"), node(bulk("10.0.0.3"), 2, "c")),
            range(200, 300, node(bulk("10.0.0.2"), 1, "b"), node(bulk("10.0.0.3"), 2, "c")),
            range(16_383, 16_383, node(bulk("10.0.0.1"), 3, "a")))
        #expect(topology.masters.map(\.id) == ["a", "b"])
        #expect(topology.coveredSlots == 202)
        #expect(try topology.master(of: slot(99))?.address == .host("10.0.0.2", port: 1))
        #expect(try topology.master(of: slot(100)) == nil)
        #expect(try topology.master(of: slot(200))?.id == "b")
        #expect(try topology.master(of: slot(16_383))?.id == "a")
        #expect(topology.replicas(of: topology.masters[1]).map(\.id) == ["c"])
        #expect(topology.replicas(of: topology.masters[0]).isEmpty)
        #expect(topology.slots(of: topology.masters[0]).map(\.number) == [16_383])
        #expect(topology.slots(of: topology.masters[1]).count == 201)
    }

    /// In the form of the wire: what Redis 7 and what Redis before 4 sends.
    @Test func wire() throws {
        let new = try reply(
            "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:30001\r\n$2\r\nid\r\n"
                + "*2\r\n$8\r\nhostname\r\n$1\r\nh\r\n"
        )
        let topology = try ClusterTopology(parsing: new, asked: asked)
        #expect(topology.coveredSlots == 16_384)
        #expect(topology.masters == [.init(address: .host("127.0.0.1", port: 30_001), id: "id")])
        let old = try reply("*1\r\n*3\r\n:5\r\n:5\r\n*2\r\n$1\r\nh\r\n:1\r\n")
        #expect(
            try ClusterTopology(parsing: old, asked: asked).masters == [.init(address: .host("h", port: 1))])
    }

    @Test func hosts() throws {
        // Null and empty: the one that was asked.
        #expect(try parse(range(0, 1, node(.null, 5, "a"))).masters[0].address == .host("10.0.0.1", port: 5))
        #expect(
            try parse(range(0, 1, node(bulk(""), 5, "a"))).masters[0].address == .host("10.0.0.1", port: 5))
        #expect(try parse(range(0, 1, node(bulk("::1"), 5, "a"))).masters[0].address.description == "[::1]:5")
        let named = try parse(range(0, 1, node(bulk("redis.example"), 5, "a", ["ip", "10.0.0.9"])))
        #expect(named.masters[0].address == .host("redis.example", port: 5))
        // A name is wanted, and the node has none.
        let nameless = try parse(range(0, 1, node(bulk("?"), 5, "a", ["ip", "10.0.0.9"])))
        #expect(nameless.masters[0].address == .host("10.0.0.9", port: 5))
        let lost = try parse(range(0, 1, node(bulk("?"), 5, "a")), range(2, 2, node(bulk("h"), 5, "b")))
        #expect(lost.coveredSlots == 1)
        let socket = try ClusterTopology(
            parsing: .array([range(0, 1, node(.null, 5, "a"))]), asked: .unixSocket(path: "/s"))
        #expect(socket.masters.isEmpty)
        // Everyone behind one address, as behind a proxy.
        let one = try parse(range(0, 1, node(.null, 5, "a")), range(2, 3, node(.null, 5, "b")))
        #expect(one.masters.count == 1 && one.coveredSlots == 4)
    }

    @Test(
        arguments: [
            .null, .integer(1), .simpleString("OK"), .bulkString([]), .array([.null]), .array([.array([])]),
            .array([range(0, 1)]), .array([range(1, 0, node(bulk("h"), 1, "a"))]),
            .array([range(-1, 0, node(bulk("h"), 1, "a"))]),
            .array([range(0, 16_384, node(bulk("h"), 1, "a"))]),
            .array([range(.min, .max, node(bulk("h"), 1, "a"))]),
            .array([range(0, 5, node(bulk("h"), 1, "a")), range(5, 6, node(bulk("i"), 1, "b"))]),
            .array([range(0, 5, .null)]), .array([range(0, 5, .array([]))]),
            .array([range(0, 5, .array([bulk("h")]))]), .array([range(0, 5, node(bulk("h"), 0, "a"))]),
            .array([range(0, 5, node(bulk("h"), 65_536, "a"))]),
            .array([range(0, 5, node(bulk("h"), -1, "a"))]),
            .array([range(0, 5, node(bulk("a b"), 1, "a"))]),
            .array([range(0, 5, node(bulk("a\r\nb"), 1, "a"))]),
            .array([range(0, 5, node(.bulkString([0xff]), 1, "a"))]),
            .array([range(0, 5, node(.integer(1), 1, "a"))]),
            .array([range(0, 5, node(bulk(String(repeating: "h", count: 256)), 1, "a"))]),
            .array([range(0, 5, node(bulk("h"), 1, ""))]), .array([range(0, 5, node(bulk("h"), 1, "a b"))]),
            .array([range(0, 5, node(bulk("h"), 1, "a"), .integer(3))]),
            .array([.array([bulk("0"), bulk("5"), node(bulk("h"), 1, "a")])]),
        ] as [RESPValue])
    func malformed(_ value: RESPValue) async {
        #expect(
            await code { _ = try ClusterTopology(parsing: value, asked: asked) } == .protocolViolation)
    }

    @Test func emptyIsNobody() throws {
        let empty = try parse()
        #expect(empty.coveredSlots == 0 && empty.masters.isEmpty)
        #expect(try empty.master(of: slot(0)) == nil)
        let many = RESPValue.array((0...16_384).map { _ in .null })
        #expect(throws: RedisError.self) { try ClusterTopology(parsing: many, asked: asked) }
        let replicas = (0...1_001).map { node(bulk("h\($0)"), 1, "\($0)") }
        let crowd = RESPValue.array([.array([.integer(0), .integer(1)] + replicas)])
        #expect(throws: RedisError.self) { try ClusterTopology(parsing: crowd, asked: asked) }
        let fewer = RESPValue.array([.array([.integer(0), .integer(1)] + replicas.dropLast())])
        let topology = try ClusterTopology(parsing: fewer, asked: asked)
        #expect(topology.replicas(of: topology.masters[0]).count == 1_000)
    }

    @Test func moves() throws {
        var topology = try parse(
            range(0, 99, node(bulk("a"), 1, "A"), node(bulk("r"), 1, "R")),
            range(100, 199, node(bulk("b"), 1, "B")))
        let before = topology
        topology.move(try slot(5), to: .host("a", port: 1))
        #expect(topology == before)
        topology.move(try slot(5), to: .host("b", port: 1))
        #expect(try topology.master(of: slot(5))?.id == "B")
        #expect(try topology.master(of: slot(4))?.id == "A")
        #expect(topology.slots(changedSince: before) == [try slot(5)])
        // Somebody new, of whom no id is known, for a slot that nobody had.
        topology.move(try slot(16_000), to: .host("c", port: 1))
        #expect(try topology.master(of: slot(16_000)) == .init(address: .host("c", port: 1)))
        #expect(topology.slots(changedSince: before).map(\.number) == [5, 16_000])
        #expect(topology.replicas(of: before.masters[0]).count == 1)
        // A replica that has taken over is known by its id, and no replica any more.
        topology.move(try slot(6), to: .host("r", port: 1))
        #expect(try topology.master(of: slot(6))?.id == "R")
        #expect(topology.replicas(of: before.masters[0]).isEmpty)
        topology.move(try slot(5), to: .host("a", port: 1))
        #expect(topology.slots(changedSince: before).map(\.number) == [6, 16_000])
    }

    /// However it has come about, the same owners are the same map.
    @Test func equality() throws {
        let one = try parse(range(0, 5, node(bulk("b"), 1, "B")), range(6, 9, node(bulk("a"), 1, "A")))
        var other = try parse(range(6, 9, node(bulk("a"), 1, "A")), range(0, 4, node(bulk("b"), 1, "B")))
        #expect(one != other && other.slots(changedSince: one).map(\.number) == [5])
        other.move(try slot(5), to: .host("b", port: 1))
        #expect(one == other && one.slots(changedSince: other).isEmpty)
        // Another node at the same address.
        let replaced = try parse(range(0, 5, node(bulk("b"), 1, "X")), range(6, 9, node(bulk("a"), 1, "A")))
        #expect(replaced.slots(changedSince: one).map(\.number) == [0, 1, 2, 3, 4, 5])
        // The last slot of a master goes, and it with it.
        for number in 6...9 { other.move(try slot(number), to: .host("b", port: 1)) }
        #expect(other.masters.map(\.id) == ["B"])
    }

    @Test func redirections() {
        func address(_ text: String) -> String? {
            RedisEndpoint.Address(redirection: text, by: asked)?.description
        }
        #expect(address("h:1") == "h:1")
        #expect(address(":1") == "10.0.0.1:1")
        #expect(address("::1:6379") == "[::1]:6379")
        #expect(address("[::1]:6379") == "[::1]:6379")
        for text in ["", "h", "h:", "h:0", "h:65536", "h:x", "h:-1", "h:+1", "?:1", "a b:1", "h:123456"] {
            #expect(address(text) == nil, "\(text)")
        }
    }

    @Test func theBestAnswer() throws {
        let a = try parse(range(0, 5, node(bulk("a"), 1, "A")))
        let b = try parse(range(0, 5, node(bulk("b"), 1, "B")))
        func best(_ answers: (ClusterTopology, Bool, Int64)...) -> ClusterTopology? {
            TopologyAnswer.best(
                of: answers.map { TopologyAnswer(topology: $0.0, isHealthy: $0.1, epoch: $0.2) })
        }
        #expect(best() == nil)
        #expect(best((a, false, 9), (b, true, 1)) == b)
        #expect(best((a, true, 1), (a, true, 1), (b, true, 2)) == b)
        #expect(best((a, true, 1), (b, true, 1), (b, true, 1)) == b)
        let info = bulk("cluster_state:fail\r\ncluster_current_epoch:7\r\n")
        let slots = RESPValue.array([range(0, 5, node(bulk("a"), 1, "A"))])
        let answer = try TopologyAnswer([slots, info], asked: asked)
        #expect(!answer.isHealthy && answer.epoch == 7)
        // Least rights do not cover CLUSTER INFO.
        let refused = RESPValue.error(RedisServerError(message: "NOPERM no"))
        let partial = try TopologyAnswer([slots, refused], asked: asked)
        #expect(partial.isHealthy && partial.epoch == 0)
    }

    @Test func answersThatAreNone() async {
        func code(_ replies: RESPValue...) async -> RedisError.Code? {
            await RedisClientTests.code { _ = try TopologyAnswer(replies, asked: asked) }
        }
        let alone = RedisServerError(message: "ERR This instance has cluster support disabled")
        #expect(await code(.error(alone), .error(alone)) == .notSupported)
        let denied = RedisServerError(message: "NOPERM no")
        #expect(await code(.error(denied), .null) == .server(denied))
        #expect(await code(.array([]), bulk("")) == .connectionFailed)
        #expect(await code(.array([])) == .protocolViolation)
    }
}
