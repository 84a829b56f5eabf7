import ChangeModel
import Engine
import Logging
import Mapping
import RedisClient
import SegmentLog
import TestServers
import Testing

@testable import RedisSink

/// The sink against a real Redis: what it promises when things go wrong.
@Suite(.serialized, .timeLimit(.minutes(2))) struct RedisSinkTests {
    @Test func dataAndCheckpointMoveTogether() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        #expect(try await sink.start(context(end: 100)) == 0)
        let refused = try await sink.deliver(batch(0..<3)).refused
        #expect(refused.isEmpty)
        #expect(try redis.cli("HMGET", "millrace:p:s", "p", "c", "e") == "3\n0\n1")
        await sink.confirm(3)
        #expect(try await sink.idle() == nil)
        #expect(try redis.cli("HMGET", "millrace:p:s", "p", "c", "l") == "3\n3\nlog")
        #expect(try redis.cli("XLEN", "stream") == "3")
        #expect(try redis.cli("GET", "key") == "2")
        await sink.close()
        await redis.stop()
    }

    @Test func whatWasSentAndNotConfirmedIsSentAgainWithoutDuplicates() async throws {
        let redis = try await RedisServer.start()
        let first = try makeSink(redis)
        _ = try await first.start(context(end: 100))
        _ = try await first.deliver(batch(0..<5))
        await first.close()
        let second = try makeSink(redis)
        #expect(try await second.start(context(end: 100)) == 0)
        let refused = try await second.deliver(batch(0..<8)).refused
        #expect(refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "8")
        #expect(try redis.cli("HGET", "millrace:p:s", "e") == "2")
        await second.close()
        await redis.stop()
    }

    @Test func aRefusedChangeIsNamedAndTheRestGoesOn() async throws {
        let redis = try await RedisServer.start()
        try redis.cli("LPUSH", "list", "x")
        let sink = try makeSink(redis)
        _ = try await sink.start(context(end: 100))
        let changes = [
            change(0, [.setString(key: bytes("a"), value: bytes("1"))]),
            change(1, [.addMember(key: bytes("list"), member: bytes("m"))]),
            change(2, [.setString(key: bytes("b"), value: bytes("2"))]),
        ]
        guard
            case .delivered(let refused) = try await sink.deliver(
                MappedBatch(offsets: 0..<3, changes: changes, settled: Zxid(9), generation: 0))
        else {
            Issue.record("rewound")
            return
        }
        #expect(refused.map(\.offset) == [1])
        #expect(refused.first?.reason.contains("WRONGTYPE") == true)
        #expect(try redis.cli("MGET", "a", "b") == "1\n2")
        await sink.close()
        await redis.stop()
    }

    @Test func aLifetimeIsSetWithTheDataAndTakenAwayWithout() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        _ = try await sink.start(context(end: 100))
        let writes: [SinkWrite] = [
            .setString(key: bytes("string"), value: bytes("1")),
            .replaceHash(key: bytes("hash"), fields: [Field(name: "a", value: bytes("1"))]),
            .setHashField(key: bytes("field"), field: bytes("f"), value: bytes("1")),
            .addMember(key: bytes("set"), member: bytes("m")),
            .addScoredMember(key: bytes("sorted"), member: bytes("m"), score: bytes("1")),
        ]
        let names = ["string", "hash", "field", "set", "sorted"]
        func deliver(_ offset: Int64, _ writes: [SinkWrite]) async throws {
            let one = change(offset, writes)
            let refused = try await sink.deliver(
                MappedBatch(offsets: offset..<offset + 1, changes: [one], settled: .none, generation: 0)
            ).refused
            #expect(refused.isEmpty)
        }
        try await deliver(0, writes.map { .expiring($0, milliseconds: 100_000) })
        for name in names {
            let left = Int(try redis.cli("PTTL", name)) ?? 0
            #expect(left > 0 && left <= 100_000, "\(name)")
        }
        try await deliver(1, writes)
        for name in ["string", "hash"] { #expect(try redis.cli("PTTL", name) == "-1") }
        await sink.close()
        await redis.stop()
    }

    /// The watch on the checkpoint is broken when it goes, so the first attempt to write it anew is refused.
    @Test func aCheckpointThatIsGoneIsNotWrittenBackAsItWas() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        _ = try await sink.start(context(end: 100))
        _ = try await sink.deliver(batch(0..<5))
        await sink.confirm(5)
        #expect(try await sink.idle() == nil)
        try redis.cli("FLUSHALL")
        var rewound: Int64?
        let deadline = ContinuousClock.now + .seconds(10)
        while rewound == nil, ContinuousClock.now < deadline {
            rewound = try await sink.idle()
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(rewound == 0)
        #expect(try redis.cli("HMGET", "millrace:p:s", "p", "c") == "0\n0")
        _ = try await sink.deliver(batch(0..<2))
        #expect(try redis.cli("HMGET", "millrace:p:s", "p", "c") == "2\n0")
        await sink.close()
        await redis.stop()
    }

    @Test func aLimitPassedBeforeEXECPasses() {
        func kind(_ message: String) -> ErrorClass { ErrorClass(RedisServerError(message: message)) }
        #expect(kind("EXECABORT Transaction discarded because of: OOM command not allowed") == .passing)
        #expect(kind("EXECABORT Transaction discarded because of: READONLY You can't write") == .reconnect)
        // A server may say what it likes, but not have us follow it for ever.
        #expect(kind(String(repeating: "EXECABORT because of: ", count: 100_000)) == .record)
    }

    /// As after a failover that has lost acknowledged writes, long after the start.
    @Test func aCheckpointThatWentBackIsFollowedNoFurther() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        let end = Watermark(0)
        _ = try await sink.start(
            SinkContext(
                logID: "log", generations: [Generation(number: 0, firstOffset: 0)], startOffset: 0,
                endOffset: end.value, takeOver: false, lookup: NoChanges(), offset: { _ in 0 },
                startGeneration: { $0 + 1 },
                repeatSnapshot: {}))
        end.set(8)
        for offsets: Range<Int64> in [0..<5, 5..<8] {
            _ = try await sink.deliver(batch(offsets))
            await sink.confirm(offsets.upperBound)
        }
        try redis.cli("HSET", "millrace:p:s", "p", "5", "c", "5")
        guard case .rewound(5) = try await sink.deliver(batch(8..<9)) else {
            Issue.record("not rewound to 5")
            return
        }
        await sink.close()
        await redis.stop()
    }

    @Test func anotherProcessFencesThisOneOff() async throws {
        let redis = try await RedisServer.start()
        let first = try makeSink(redis)
        _ = try await first.start(context(end: 100))
        _ = try await first.deliver(batch(0..<2))
        let second = try makeSink(redis)
        _ = try await second.start(context(end: 100))
        await #expect(throws: PipelineError.self) { try await first.deliver(batch(2..<4)) }
        #expect(try redis.cli("XLEN", "stream") == "2")
        await first.close()
        await second.close()
        await redis.stop()
    }

    @Test func aRedisThatHasLostEverythingIsFilledAgain() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        _ = try await sink.start(context(end: 100))
        _ = try await sink.deliver(batch(0..<5))
        try redis.cli("FLUSHALL")
        guard case .rewound(let offset) = try await sink.deliver(batch(5..<8)) else {
            Issue.record("delivered")
            return
        }
        #expect(offset == 0)
        _ = try await sink.deliver(batch(0..<8))
        #expect(try redis.cli("XLEN", "stream") == "8")
        redis.kill()
        try await redis.restart()
        guard case .rewound(let again) = try await sink.deliver(batch(8..<9)) else {
            Issue.record("delivered")
            return
        }
        #expect(again == 0)
        await sink.close()
        await redis.stop()
    }

    /// Sent, not confirmed, and trimmed by the time that it is sent again: there is nothing to refuse.
    @Test func whatWasTrimmedIsNotRefusedWhenItIsSentAgain() async throws {
        let redis = try await RedisServer.start()
        let first = try makeSink(redis)
        _ = try await first.start(context(end: 100))
        _ = try await first.deliver(batch(0..<5))
        await first.close()
        try redis.cli("XTRIM", "stream", "MAXLEN", "1")
        let second = try makeSink(redis)
        #expect(try await second.start(context(end: 100)) == 0)
        let refused = try await second.deliver(batch(0..<8)).refused
        #expect(refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "4")
        await second.close()
        await redis.stop()
    }

    /// Streams of a log that has given itself a higher generation keep what is younger than `minid`.
    @Test func aRaisedGenerationTrimsNothing() async throws {
        let redis = try await RedisServer.start()
        var options = try settings(url: redis.url)
        options.stream = StreamOptions(trim: .age(milliseconds: 86_400_000))
        let logger = Logger(label: "test")
        let first = RedisSink(options, logger: logger)
        _ = try await first.start(context(end: 100))
        _ = try await first.deliver(batch(0..<200))
        await first.close()
        try redis.cli("DEL", "millrace:p:s")
        let second = RedisSink(options, logger: logger)
        _ = try await second.start(context(end: 100))
        _ = try await second.deliver(batch(0..<200))
        #expect(try redis.cli("HGET", "millrace:p:s", "f") == "1")
        #expect(try redis.cli("XLEN", "stream") == "400")
        await second.close()
        await redis.stop()
    }

    /// While Redis takes nothing, every attempt to start finds the same: what it asks of the log it asks once.
    @Test func aStartThatHasToWaitAsksTheLogOnce() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        var other = ["HSET", "millrace:p:s"]
        for (field, value) in [
            ("e", "1"), ("p", "5"), ("c", "5"), ("g", "3"), ("l", "other"), ("z", "0"), ("f", "0"),
            ("o", "x"),
            ("t", "1"),
        ] { other += [field, value] }
        try redis.cli(other)
        try redis.cli("CONFIG", "SET", "maxmemory", "1")
        let generations = Watermark(0)
        let snapshots = Watermark(0)
        let context = SinkContext(
            logID: "log", generations: [Generation(number: 0, firstOffset: 0)], startOffset: 10,
            endOffset: 100, takeOver: true, lookup: NoChanges(), offset: { _ in 0 },
            startGeneration: {
                generations.set(generations.value + 1)
                return $0 + 1
            },
            repeatSnapshot: { snapshots.set(snapshots.value + 1) })
        async let start = sink.start(context)
        try await Task.sleep(for: .seconds(2))
        try redis.cli("CONFIG", "SET", "maxmemory", "0")
        #expect(try await start == 10)
        #expect(generations.value == 1 && snapshots.value == 1)
        #expect(try redis.cli("HGET", "millrace:p:s", "f") == "4")
        await sink.close()
        await redis.stop()
    }

    /// Redis ends a WAIT with an error when its server becomes a replica.
    @Test func aMasterDemotedDuringWAITIsSurvived() async throws {
        let redis = try await RedisServer.start()
        var configuration = try settings(url: redis.url)
        configuration.wait = ReplicaWait(replicas: 1, timeoutMilliseconds: 3000)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let sink = RedisSink(configuration, logger: logger)
        let replica = try await RedisServer.start()
        async let started = sink.start(context(end: 100))
        try replica.cli("REPLICAOF", "127.0.0.1", "\(redis.port)")
        _ = try await started
        replica.process.suspend()
        async let outcome = sink.deliver(batch(0..<1))
        try await Task.sleep(for: .milliseconds(800))
        try redis.cli("REPLICAOF", "127.0.0.1", "1")
        try await Task.sleep(for: .seconds(1))
        try redis.cli("REPLICAOF", "NO", "ONE")
        replica.process.resume()
        let refused = try await outcome.refused
        #expect(refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "1")
        await sink.close()
        await replica.stop()
        await redis.stop()
    }

    /// A failover can lose a claim; the next process then takes the same epoch.
    @Test func anotherOwnerOfTheSameEpochFencesThisOneOff() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        _ = try await sink.start(context(end: 100))
        _ = try await sink.deliver(batch(0..<2))
        try redis.cli("HSET", "millrace:p:s", "o", "another process")
        let error = await #expect(throws: PipelineError.self) { try await sink.deliver(batch(2..<4)) }
        #expect(error?.message.contains("another process") == true)
        #expect(try redis.cli("XLEN", "stream") == "2")
        await sink.close()
        await redis.stop()
    }

    @Test func numbersAtTheirEndAreRefused() async throws {
        let redis = try await RedisServer.start()
        var hash = ["HSET", "millrace:p:s", "e", "9223372036854775807"]
        for field in ["p", "c", "g", "z", "f", "t"] { hash += [field, "0"] }
        try redis.cli(hash + ["l", "log", "o", "x"])
        let sink = try makeSink(redis)
        await #expect(throws: PipelineError.self) { try await sink.start(context(end: 100)) }
        await sink.close()
        await redis.stop()
        #expect(StreamID("5-18446744073709551615")?.next.text == "6-0")
        #expect(
            StreamID("18446744073709551615-18446744073709551615")?.next.text
                == "18446744073709551615-18446744073709551615")
    }

    @Test func aFullRedisIsWaitedFor() async throws {
        let redis = try await RedisServer.start(["maxmemory 100mb", "maxmemory-policy noeviction"])
        let sink = try makeSink(redis)
        _ = try await sink.start(context(end: 100))
        try redis.cli("CONFIG", "SET", "maxmemory", "1")
        async let outcome = sink.deliver(batch(0..<5))
        try await Task.sleep(for: .milliseconds(200))
        #expect(try redis.cli("EXISTS", "stream") == "0")
        try redis.cli("CONFIG", "SET", "maxmemory", "0")
        let refused = try await outcome.refused
        #expect(refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "5")
        await sink.close()
        await redis.stop()
    }

    @Test func aForeignEntryInAStreamStopsTheSink() async throws {
        let redis = try await RedisServer.start()
        try redis.cli("XADD", "stream", "*", "a", "b")
        let sink = try makeSink(redis)
        _ = try await sink.start(context(end: 100))
        let error = await #expect(throws: PipelineError.self) { try await sink.deliver(batch(0..<5)) }
        #expect(error?.message.contains("stream") == true)
        await sink.close()
        await redis.stop()
    }

    @Test func aStreamAheadOfALostCheckpointGetsANewGeneration() async throws {
        let redis = try await RedisServer.start()
        let first = try makeSink(redis)
        _ = try await first.start(context(end: 100))
        _ = try await first.deliver(batch(0..<5))
        await first.close()
        try redis.cli("DEL", "millrace:p:s")
        let second = try makeSink(redis)
        #expect(try await second.start(context(end: 100)) == 0)
        let refused = try await second.deliver(batch(0..<5)).refused
        #expect(refused.isEmpty)
        // Delivered again, above what is there: nothing lost, and no entry refused.
        #expect(try redis.cli("XLEN", "stream") == "10")
        #expect(try redis.cli("HGET", "millrace:p:s", "f") == "1")
        await second.close()
        await redis.stop()
    }

    private func makeSink(_ redis: RedisServer) throws -> RedisSink {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return RedisSink(try settings(url: redis.url), logger: logger)
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func change(_ offset: Int64, _ writes: [SinkWrite]) -> MappedChange {
        MappedChange(
            Change(operation: .update, path: "/a", data: [], zxid: Zxid(offset), timestamp: 1),
            offset: offset,
            generation: 0, writes: writes)
    }

    private func batch(_ offsets: Range<Int64>) -> MappedBatch {
        let changes = offsets.map { offset in
            change(
                offset,
                [
                    .streamAdd(key: bytes("stream"), fields: [Field(name: "n", value: bytes("\(offset)"))]),
                    .setString(key: bytes("key"), value: bytes("\(offset)")),
                ])
        }
        return MappedBatch(
            offsets: offsets, changes: changes, settled: Zxid(offsets.upperBound), generation: 0)
    }
}

extension DeliveryOutcome {
    /// The changes that were refused; the test fails where the sink went back instead.
    var refused: [Rejection] {
        get throws {
            guard case .delivered(let refused) = self else { throw PipelineError.failed("rewound: \(self)") }
            return refused
        }
    }
}
