import ChangeModel
import Engine
import Mapping
import RedisClient
import SegmentLog
import Testing

@testable import RedisSink

@Suite struct ClaimTests {
    @Test func withoutACheckpointThePolicyDecides() throws {
        let earliest = try Claim(
            nil, context: context(start: 5, end: 90), configuration: settings(.earliest), key: "k")
        #expect(
            earliest.checkpoint.confirmed == 5 && earliest.checkpoint.sent == 5
                && earliest.checkpoint.epoch == 1)
        let latest = try Claim(nil, context: context(end: 90), configuration: settings(.latest), key: "k")
        #expect(latest.checkpoint.confirmed == 90)
        #expect(throws: PipelineError.self) {
            try Claim(nil, context: context(end: 90), configuration: settings(.stop), key: "k")
        }
    }

    @Test func aCheckpointIsContinuedWithTheNextEpoch() throws {
        let claim = try Claim(
            checkpoint(sent: 20, confirmed: 10), context: context(end: 90), configuration: settings(),
            key: "k")
        #expect(claim.checkpoint.epoch == 8)
        #expect(claim.checkpoint.sent == 20 && claim.checkpoint.confirmed == 10)
        #expect(claim.message == nil)
    }

    @Test func whatTheLogHasLostIsNotVouchedFor() throws {
        let generations = [Generation(number: 0, firstOffset: 0), Generation(number: 1, firstOffset: 15)]
        let claim = try Claim(
            checkpoint(sent: 20, confirmed: 18), context: context(end: 90, generations: generations),
            configuration: settings(), key: "k")
        #expect(claim.checkpoint.sent == 15 && claim.checkpoint.confirmed == 15)
        #expect(claim.message != nil)
    }

    @Test func anotherLogsCheckpointIsRefused() throws {
        let other = checkpoint(sent: 20, confirmed: 20, log: "other")
        #expect(throws: PipelineError.self) {
            try Claim(other, context: context(end: 90), configuration: settings(), key: "k")
        }
        let forced = try Claim(
            other, context: context(end: 90, takeOver: true), configuration: settings(), key: "k")
        #expect(forced.checkpoint.confirmed == 0 && forced.generationAbove == 0)
        // A log that was begun in the knowledge of that checkpoint needs no force.
        let successor = try Claim(
            other, context: context(end: 90, generations: [Generation(number: 1, firstOffset: 0)]),
            configuration: settings(), key: "k")
        #expect(successor.checkpoint.epoch == 8 && successor.generationAbove == nil)
    }

    @Test func retentionThatHasPassedACheckpointIsSaid() throws {
        let claim = try Claim(
            checkpoint(sent: 20, confirmed: 20), context: context(start: 50, end: 90),
            configuration: settings(),
            key: "k")
        #expect(claim.checkpoint.confirmed == 50)
        #expect(claim.message?.contains("20 to 49") == true)
    }

    @Test func streamIDs() {
        #expect(StreamID(generation: 0, offset: 0, index: 0).text == "1-0")
        #expect(StreamID(generation: 1, offset: 41, index: 2).text == "281474976710698-2")
        let id = StreamID("281474976710698-2")
        #expect(id == StreamID(generation: 1, offset: 41, index: 2) && id?.generation == 1)
        var change = Change(
            operation: .update, path: "/a", data: [], zxid: Zxid(0x1_0000_0002), index: 3, timestamp: 1,
            session: 1)
        let live = StreamID(zxidOf: change, generation: 7, index: 0)
        #expect(live.text == "4294967298-3072" && !live.isPlaced)
        #expect(StreamID(zxidOf: change, generation: 7, index: 5).text == "4294967298-3077")
        change.placed = CommitOrder(zxid: Zxid(0x1_0000_0002), index: 0)
        let placed = StreamID(zxidOf: change, generation: 0, index: 0)
        #expect(placed.text == "4294967298-281474976710656" && placed.isPlaced && placed > live)
        #expect(placed.isOfSameChange(as: StreamID(zxidOf: change, generation: 0, index: 9)))
        #expect(!placed.isOfSameChange(as: StreamID(zxidOf: change, generation: 1, index: 0)))
        change.placed = CommitOrder(zxid: Zxid(.max), index: .max)
        #expect(
            StreamID(zxidOf: change, generation: .max, index: .max).text
                == "9223372036854775807-18446744073709551615")
        for wrong in ["", "1", "1-", "-1", "a-b", "1-2-3", "99999999999999999999-0"] {
            #expect(StreamID(wrong) == nil)
        }
    }
}

func context(
    start: Int64 = 0, end: Int64, generations: [Generation] = [Generation(number: 0, firstOffset: 0)],
    takeOver: Bool = false
) -> SinkContext {
    SinkContext(
        logID: "log", generations: generations, startOffset: start, endOffset: end, takeOver: takeOver,
        lookup: NoChanges(), offset: { _ in 0 }, startGeneration: { $0 + 1 }, repeatSnapshot: {})
}

func settings(_ missing: MissingCheckpoint = .earliest, url: String = "redis://127.0.0.1:1/0") throws
    -> RedisSink.Configuration
{
    RedisSink.Configuration(
        pipeline: "p", sink: "s", redis: RedisConfiguration(endpoint: try RedisEndpoint(parsing: url)),
        onMissingCheckpoint: missing, stream: StreamOptions(), owner: "test")
}

func checkpoint(sent: Int64, confirmed: Int64, log: String = "log") -> Checkpoint {
    Checkpoint(
        epoch: 7, sent: sent, confirmed: confirmed, generation: 0, logID: log, settled: .none, floor: 0,
        owner: "somebody", written: 1)
}
