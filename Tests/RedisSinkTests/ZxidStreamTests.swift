import ChangeModel
import Engine
import Logging
import Mapping
import RedisClient
import SegmentLog
import TestServers
import Testing

@testable import RedisSink

/// `id: zxid` against a real Redis.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ZxidStreamTests {
    /// Without its checkpoint an entry is known by its ID alone, and none is written twice.
    @Test func aLostCheckpointDoublesNothing() async throws {
        let redis = try await RedisServer.start()
        let first = try makeSink(redis)
        _ = try await first.start(observed())
        #expect(try await first.deliver(batch(0..<6)).refused.isEmpty)
        await first.close()
        #expect(
            try redis.cli("XRANGE", "stream", "-", "+", "COUNT", "3").split(separator: "\n").filter {
                $0.contains("-")
            } == ["1000-0", "1000-1024", "1001-0"])
        try redis.cli("DEL", "millrace:p:s")
        let second = try makeSink(redis)
        _ = try await second.start(observed())
        #expect(try await second.deliver(batch(0..<9)).refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "9")
        // The same where the older ones have been trimmed away meanwhile.
        await second.close()
        try redis.cli("DEL", "millrace:p:s")
        try redis.cli("XTRIM", "stream", "MAXLEN", "2")
        let third = try makeSink(redis)
        _ = try await third.start(observed())
        #expect(try await third.deliver(batch(0..<11)).refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "4")
        await third.close()
        await redis.stop()
    }

    @Test func aForeignEntryStopsTheSink() async throws {
        let redis = try await RedisServer.start()
        try redis.cli("XADD", "stream", "*", "a", "b")
        let sink = try makeSink(redis)
        _ = try await sink.start(observed())
        let error = await #expect(throws: PipelineError.self) { try await sink.deliver(batch(0..<5)) }
        #expect(error?.message.contains("which this pipeline did not write") == true)
        await sink.close()
        await redis.stop()
    }

    /// Captured by watches, or before there was an order.
    @Test func aChangeWithoutAPlaceStopsTheSinkBeforeAnythingIsWritten() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        _ = try await sink.start(observed())
        var batch = batch(0..<3)
        batch.changes[2].change.session = nil
        let error = await #expect(throws: PipelineError.self) { try await sink.deliver(batch) }
        #expect(
            error?.message.contains("the change at offset 2 (/a) was not captured by an observer") == true)
        #expect(try redis.cli("EXISTS", "stream") == "0")
        await sink.close()
        await redis.stop()
    }

    /// An age is the ID of the first change that is younger.
    @Test func anAgeIsTurnedIntoAnID() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis, StreamOptions(id: .zxid, trim: .age(milliseconds: 1)))
        var context = observed()
        context.offset = { _ in 150 }
        _ = try await sink.start(context)
        #expect(try await sink.deliver(batch(0..<200)).refused.isEmpty)
        // MINID ~ removes whole nodes of a stream only.
        let left = Int(try redis.cli("XLEN", "stream")) ?? 0
        #expect(left >= 50 && left < 150)
        await sink.close()
        await redis.stop()
    }

    /// Dead letters into a stream that has no entry yet come before all that the log has for it.
    @Test func replayedLettersTakeFreeIDs() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        _ = try await sink.start(observed())
        var replay = batch(3..<4)
        replay.isReplay = true
        replay.letters = [0]
        #expect(try await sink.deliver(replay).refused.isEmpty)
        #expect(try await sink.deliver(batch(0..<2)).refused.isEmpty)
        replay.letters = [1]
        #expect(try await sink.deliver(replay).refused.isEmpty)
        #expect(
            try redis.cli("XRANGE", "stream", "-", "+").split(separator: "\n").filter { $0.contains("-") }
                == [
                    "0-1", "1000-0", "1000-1024", "1000-1025",
                ])
        await sink.close()
        await redis.stop()
    }

    private func makeSink(
        _ redis: RedisServer, _ options: StreamOptions = StreamOptions(id: .zxid)
    ) throws -> RedisSink {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var settings = try settings(url: redis.url)
        settings.stream = options
        return RedisSink(settings, logger: logger)
    }

    private func observed() -> SinkContext {
        var context = context(end: 1000)
        context.change = { ZxidStreamTests.change($0) }
        return context
    }

    /// Two changes a transaction.
    private static func change(_ offset: Int64) -> Change {
        Change(
            operation: .update, path: "/a", data: [], zxid: Zxid(1000 + offset / 2), index: Int32(offset % 2),
            timestamp: 1, session: 1)
    }

    private func batch(_ offsets: Range<Int64>) -> MappedBatch {
        let changes = offsets.map { offset in
            MappedChange(
                ZxidStreamTests.change(offset), offset: offset, generation: 0,
                writes: [
                    .streamAdd(
                        key: Array("stream".utf8),
                        fields: [Field(name: "n", value: Array("\(offset)".utf8))])
                ])
        }
        return MappedBatch(
            offsets: offsets, changes: changes, settled: Zxid(1000 + offsets.upperBound / 2), generation: 0)
    }
}
