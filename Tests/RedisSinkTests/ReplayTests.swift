import ChangeModel
import Engine
import Logging
import Mapping
import RedisClient
import TestServers
import Testing

@testable import RedisSink

/// Dead letters that come back, against a real Redis.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ReplayTests {
    private func makeSink(_ redis: RedisServer) async throws -> RedisSink {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let sink = RedisSink(try settings(url: redis.url), logger: logger)
        _ = try await sink.start(context(end: 100))
        return sink
    }

    private func batch(_ offsets: [Int64], letters: [Int64] = []) -> MappedBatch {
        let changes = offsets.map { offset in
            let value = Bytes("\(offset)".utf8)
            let fields: FieldList = [Field(name: letters.isEmpty ? "n" : "replayed_offset", value: value)]
            return MappedChange(
                Change(operation: .update, path: "/a", data: [], zxid: Zxid(offset), timestamp: 1),
                offset: offset, generation: 0,
                writes: [.streamAdd(key: Bytes("stream".utf8), fields: fields)])
        }
        let end = letters.isEmpty ? (offsets.last ?? -1) + 1 : 0
        var batch = MappedBatch(offsets: 0..<end, changes: changes, settled: .none, generation: 0)
        batch.isReplay = !letters.isEmpty
        batch.letters = letters
        return batch
    }

    private func deliver(_ batch: MappedBatch, _ sink: RedisSink) async throws -> [Rejection] {
        guard case .delivered(let refused) = try await sink.deliver(batch) else {
            Issue.record("rewound")
            return []
        }
        return refused
    }

    /// An answer that is lost makes the sink send the same again; then the entries are there.
    @Test func aBatchSentTwiceIsStoredOnce() async throws {
        let redis = try await RedisServer.start()
        let sink = try await makeSink(redis)
        _ = try await deliver(batch([0, 1, 4]), sink)
        await sink.confirm(5)
        _ = try await sink.idle()
        let before = try redis.cli("HMGET", "millrace:p:s", "p", "c", "e", "g")
        #expect(try await sink.replayedLetters().isEmpty)
        for _ in 0..<2 {
            #expect(try await deliver(batch([2, 3], letters: [0, 1]), sink).isEmpty)
        }
        #expect(try redis.cli("HMGET", "millrace:p:s", "p", "c", "e", "g") == before)
        #expect(try redis.cli("XLEN", "stream") == "5")
        #expect(try redis.cli("XRANGE", "stream", "5-1", "5-2").contains("replayed_offset"))
        await sink.close()

        // Another process learns of it, as long as the entries are there.
        let second = try await makeSink(redis)
        let known = try await second.replayedLetters().sorted { $0.number < $1.number }
        #expect(known == [ReplayedLetter(number: 0, offset: 2), ReplayedLetter(number: 1, offset: 3)])
        try redis.cli("XDEL", "stream", "5-2")
        #expect(try await second.replayedLetters().map(\.number) == [0])
        #expect(try await deliver(batch([5]), second).isEmpty)
        #expect(try redis.cli("XINFO", "STREAM", "stream").contains("6-0"))
        await second.close()
        await redis.stop()
    }

    /// What was sent and not confirmed is sent again by the next run: a replay into a stream that was removed takes
    /// no ID above it.
    @Test func whatIsStillToBeConfirmedFitsBehindAReplay() async throws {
        let redis = try await RedisServer.start()
        let first = try await makeSink(redis)
        _ = try await deliver(batch([0, 1]), first)
        await first.confirm(2)
        _ = try await deliver(batch([2, 3]), first)
        await first.close()
        try redis.cli("DEL", "stream")
        let replaying = try await makeSink(redis)
        #expect(try await deliver(batch([0], letters: [0]), replaying).isEmpty)
        await replaying.close()
        let next = try await makeSink(redis)
        #expect(try await deliver(batch([2, 3]), next).isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "3")
        await next.close()
        await redis.stop()
    }

    @Test func aRefusedOneIsToldApart() async throws {
        let redis = try await RedisServer.start()
        let sink = try await makeSink(redis)
        try redis.cli("SET", "stream", "x")
        let refused = try await deliver(batch([2], letters: [0]), sink)
        #expect(refused.first?.reason.contains("WRONGTYPE") == true)
        #expect(try await sink.replayedLetters().isEmpty)
        await sink.close()
        await redis.stop()
    }
}
