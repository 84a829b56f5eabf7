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
        try await fill(redis, 200)
        #expect(
            try ids(redis).prefix(3) == ["1000-0", "1000-1024", "1001-0"])
        let sink = try makeSink(redis)
        _ = try await sink.start(observed())
        #expect(try await sink.deliver(batch(0..<210)).refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "210")
        // The same where the older ones have been trimmed away meanwhile.
        await sink.close()
        try redis.cli("DEL", "millrace:p:s")
        try redis.cli("XTRIM", "stream", "MAXLEN", "2")
        let third = try makeSink(redis)
        _ = try await third.start(observed())
        #expect(try await third.deliver(batch(0..<212)).refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "4")
        await third.close()
        await redis.stop()
    }

    /// However often the sink starts: nothing counts as delivered.
    @Test func aForeignEntryStopsTheSink() async throws {
        let redis = try await RedisServer.start()
        try redis.cli("XADD", "stream", "*", "a", "b")
        for _ in 0..<2 {
            let sink = try makeSink(redis)
            _ = try await sink.start(observed())
            let error = await #expect(throws: PipelineError.self) { try await sink.deliver(batch(0..<5)) }
            #expect(error?.message.contains("which this pipeline did not write") == true)
            #expect(try redis.cli("HMGET", "millrace:p:s", "p", "c") == "0\n0")
            await sink.close()
        }
        await redis.stop()
    }

    /// One that comes while the sink writes is found when an entry is refused: what was sent is not taken for delivered.
    @Test func aForeignEntryUnderWayStopsTheSinkToo() async throws {
        let redis = try await RedisServer.start()
        let sink = try makeSink(redis)
        _ = try await sink.start(observed())
        #expect(try await sink.deliver(batch(0..<4)).refused.isEmpty)
        await sink.confirm(4)
        try redis.cli("XADD", "stream", "9999999999999-0", "a", "b")
        await #expect(throws: PipelineError.self) { try await sink.deliver(batch(4..<8)) }
        await sink.close()
        for _ in 0..<2 {
            let again = try makeSink(redis)
            #expect(try await again.start(observed()) == 4)
            await #expect(throws: PipelineError.self) { try await again.deliver(batch(4..<8)) }
            await again.close()
        }
        try redis.cli("DEL", "stream")
        let last = try makeSink(redis)
        _ = try await last.start(observed())
        #expect(try await last.deliver(batch(4..<8)).refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "4")
        await last.close()
        await redis.stop()
    }

    /// The ensemble was restored from a backup: the same zxids are other transactions.
    @Test func anotherHistoryIsNotTakenForThisOne() async throws {
        let redis = try await RedisServer.start()
        try await fill(redis, 20)
        let sink = try makeSink(redis)
        var context = observed()
        context.lookup = ObservedChanges { ZxidStreamTests.change($0, path: "/other") }
        _ = try await sink.start(context)
        await #expect(throws: PipelineError.self) { try await sink.deliver(batch(10..<20, path: "/other")) }
        #expect(try redis.cli("HMGET", "millrace:p:s", "p", "c") == "0\n0")
        await sink.close()
        await redis.stop()
    }

    /// A log that began later tells the tree as it was: the stream has been told before. An entry that somebody has removed is a
    /// dead letter, and no reason to stop.
    @Test func aLaterLogOfTheSameEnsembleGoesOn() async throws {
        let redis = try await RedisServer.start()
        try await fill(redis, 20)
        try redis.cli("XDEL", "stream", "1007-1024")
        let sink = try makeSink(redis)
        // Three nodes told by a snapshot at 1005, then what followed.
        let log: @Sendable (Int64) -> Change = { offset in
            guard offset < 3 else { return ZxidStreamTests.change(offset + 9) }
            var change = ZxidStreamTests.change(1)
            change.session = nil
            change.placed = CommitOrder(zxid: Zxid(1005), index: offset)
            return change
        }
        var context = observed()
        context.lookup = ObservedChanges(log)
        let asked = Watermark(0)
        context.repeatSnapshot = { asked.set(asked.value + 1) }
        _ = try await sink.start(context)
        let refused = try await sink.deliver(batch(0..<21, of: log)).refused
        #expect(refused.map(\.offset) == [6])
        #expect(try redis.cli("XLEN", "stream") == "29")
        // Whatever the first log's snapshot lacked is told behind it.
        #expect(asked.value == 1)
        await sink.close()
        await redis.stop()
    }

    /// `run --new-ensemble`: the log has the stream's entries, but not behind what is to be written.
    @Test func anotherEnsembleInTheSameLogStopsTheSink() async throws {
        let redis = try await RedisServer.start()
        try await fill(redis, 20)
        let log: @Sendable (Int64) -> Change = { offset in
            var change = ZxidStreamTests.change(offset)
            if offset >= 20 { change.zxid = Zxid(500 + offset / 2) }
            return change
        }
        let sink = try makeSink(redis)
        var context = observed()
        context.lookup = ObservedChanges(count: 1000, log)
        _ = try await sink.start(context)
        await #expect(throws: PipelineError.self) { try await sink.deliver(batch(20..<25, of: log)) }
        #expect(try redis.cli("XLEN", "stream") == "20")
        await sink.close()
        await redis.stop()
    }

    /// What a stream has and the log has not captured yet is waited for.
    @Test func aLogThatLagsIsWaitedFor() async throws {
        let redis = try await RedisServer.start()
        try await fill(redis, 20)
        let sink = try makeSink(redis, patience: .seconds(10))
        var context = observed()
        let begin = ContinuousClock.now
        context.lookup = LaggingChanges(until: begin + .seconds(1), ZxidStreamTests.log)
        _ = try await sink.start(context)
        #expect(try await sink.deliver(batch(0..<4)).refused.isEmpty)
        #expect(try redis.cli("XLEN", "stream") == "20")
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
            error?.message.contains("the change at offset 2 (/a/2) was not captured by an observer") == true)
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
        for letter in [0, 7] as [Int64] {
            replay.letters = [letter]
            #expect(try await sink.deliver(replay).refused.isEmpty)
        }
        #expect(try await sink.deliver(batch(0..<2)).refused.isEmpty)
        replay.letters = [1]
        #expect(try await sink.deliver(replay).refused.isEmpty)
        #expect(
            try ids(redis)
                == [
                    "0-1", "0-2", "1000-0", "1000-1024", "1000-1025",
                ])
        await sink.close()
        await redis.stop()
    }

    private func ids(_ redis: RedisServer) throws -> [Substring] {
        try redis.cli("XRANGE", "stream", "-", "+").split(separator: "\n").filter {
            $0.contains("-") && !$0.hasPrefix("-")
        }
    }

    /// Delivers so many changes, and loses the checkpoint.
    private func fill(_ redis: RedisServer, _ count: Int64) async throws {
        let sink = try makeSink(redis)
        _ = try await sink.start(observed())
        #expect(try await sink.deliver(batch(0..<count)).refused.isEmpty)
        await sink.close()
        try redis.cli("DEL", "millrace:p:s")
    }

    private func makeSink(
        _ redis: RedisServer, _ options: StreamOptions = StreamOptions(id: .zxid),
        patience: Duration = .milliseconds(100)
    ) throws -> RedisSink {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var settings = try settings(url: redis.url)
        settings.stream = options
        settings.lagPatience = patience
        return RedisSink(settings, logger: logger)
    }

    private func observed() -> SinkContext {
        var context = context(end: 1000)
        context.lookup = ZxidStreamTests.log
        return context
    }

    private static let log = ObservedChanges(count: 1000) { change($0) }

    /// Two changes a transaction.
    private static func change(_ offset: Int64, path: String = "/a") -> Change {
        Change(
            operation: .update, path: "\(path)/\(offset)", data: [], zxid: Zxid(1000 + offset / 2),
            index: Int32(offset % 2), timestamp: 5000 + offset, session: 1)
    }

    private func batch(_ offsets: Range<Int64>, path: String = "/a") -> MappedBatch {
        batch(offsets) { ZxidStreamTests.change($0, path: path) }
    }

    private func batch(_ offsets: Range<Int64>, of log: (Int64) -> Change) -> MappedBatch {
        let changes = offsets.map { offset in
            let change = log(offset)
            let fields = [
                ("op", change.operation.letter), ("path", change.path),
                ("version", "\(change.version)"), ("ts_ms", "\(change.timestamp)"), ("n", "\(offset)"),
            ]
            return MappedChange(
                change, offset: offset, generation: 0,
                writes: [
                    .streamAdd(
                        key: Array("stream".utf8),
                        fields: FieldList(fields.map { Field(name: $0.0, value: Array($0.1.utf8)) }))
                ])
        }
        return MappedBatch(
            offsets: offsets, changes: changes, settled: Zxid(1000 + offsets.upperBound / 2), generation: 0)
    }
}

/// A log that has captured nothing until a moment.
private struct LaggingChanges: ChangeLookup {
    let until: ContinuousClock.Instant
    let changes: ObservedChanges

    init(until: ContinuousClock.Instant, _ changes: ObservedChanges) {
        self.until = until
        self.changes = changes
    }

    private var visible: any ChangeLookup { .now < until ? NoChanges() : changes }

    func change(atOrBehind offset: Int64) async throws -> Change? {
        try await visible.change(atOrBehind: offset)
    }

    func hasChange(
        of zxid: Zxid, atOrBehind offset: Int64,
        where isWanted: @Sendable (Change, UInt16, () -> [SinkWrite]) -> Bool
    ) async throws -> Bool {
        try await visible.hasChange(of: zxid, atOrBehind: offset, where: isWanted)
    }
}
