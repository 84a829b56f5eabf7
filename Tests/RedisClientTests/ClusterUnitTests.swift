import NIOCore
import Testing

@testable import RedisClient

private let here = RedisEndpoint.Address.host("here", port: 1)
private let there = RedisEndpoint.Address.host("there", port: 2)

private func text(_ batch: RedisCommandBatch) -> String {
    String(decoding: batch.buffer.readableBytesView, as: UTF8.self)
}

private func failure(_ message: String) -> RESPValue { .error(RedisServerError(message: message)) }

/// What needs no server.
@Suite struct ClusterUnitTests {
    @Test func unitsOfABatch() {
        let commands = batch(
            ["SET", "a", "*1\r\n$4\r\nEXEC\r\n"], ["multi"], ["SET", "a", ""], ["Exec"], ["EXECUTE"],
            ["MULTI"],
            ["DISCARD"], ["GET", "a"])
        let units = commands.units()
        #expect(units.map(\.count) == [1, 3, 1, 2, 1])
        #expect(units.map(text).joined() == text(commands))
        #expect(text(units[1]) == text(batch(["multi"], ["SET", "a", ""], ["Exec"])))
        #expect(RedisCommandBatch().units().isEmpty)
    }

    /// One ASKING covers a transaction; outside of one each command needs its own.
    @Test func askingGoesBeforeEachUnit() throws {
        let slot = try #require(HashSlot(7))
        let transaction = batch(["MULTI"], ["SET", "a", "1"], ["EXEC"], ["WATCH", "a"], ["GET", "a"])
        var write = NodeWrite()
        write.add(ClusterBatch(slot: slot, commands: batch(["GET", "b"])), index: 4)
        write.add(ClusterBatch(slot: slot, commands: transaction, target: .asking(there)), index: 2)
        write.add(ClusterBatch(slot: slot, commands: batch(["GET", "c"], ["GET", "d"])), index: 9)
        let expected = batch(
            ["GET", "b"], ["ASKING"], ["MULTI"], ["SET", "a", "1"], ["EXEC"], ["ASKING"], ["WATCH", "a"],
            ["ASKING"], ["GET", "a"], ["GET", "c"], ["GET", "d"])
        #expect(text(write.commands) == text(expected) && write.commands.count == 11)
        let parts = write.split((0..<11).map { .integer($0) })
        #expect(parts.map(\.index) == [4, 2, 9] && write.indices == [4, 2, 9])
        #expect(parts[0].replies == [.integer(0)])
        #expect(parts[1].replies == [2, 3, 4, 6, 8].map { .integer($0) })
        #expect(parts[2].replies == [.integer(9), .integer(10)])
    }

    private func obstacle(_ replies: RESPValue...) throws -> RedisClusterError.Code? {
        ClusterObstacle(in: replies, slot: try #require(HashSlot(7)), node: here).error?.code
    }

    @Test func repliesOfTheCluster() throws {
        #expect(try obstacle(.simpleString("OK"), .array([failure("MOVED 7 there:2")])) == nil)
        #expect(try obstacle(failure("WRONGTYPE x"), failure("OOM x"), failure("ERR x")) == nil)
        #expect(try obstacle(failure("MOVED 7 there:2")) == .moved(to: there))
        #expect(try obstacle(failure("MOVED 7 :2")) == .moved(to: .host("here", port: 2)))
        #expect(try obstacle(failure("ASK 7 there:2"), failure("EXECABORT x")) == .ask(to: there))
        #expect(try obstacle(failure("MOVED 7 ?:2")) == .tryAgain)
        #expect(try obstacle(failure("MOVED 99999 h:2")) == .tryAgain)
        #expect(try obstacle(failure("MOVED")) == .tryAgain)
        #expect(try obstacle(failure("TRYAGAIN x")) == .tryAgain)
        #expect(try obstacle(failure("CLUSTERDOWN x")) == .clusterDown)
        #expect(try obstacle(failure("LOADING x")) == .loading)
        #expect(try obstacle(failure("MASTERDOWN x")) == .masterDown)
        #expect(try obstacle(failure("READONLY x")) == .readOnly)
        #expect(try obstacle(failure("CROSSSLOT x")) == .crossSlot)
        // Another slot than the caller said: sending it again would help nobody.
        #expect(try obstacle(failure("MOVED 8 there:2")) == .crossSlot)
        // The owner is known for certain: that counts more.
        #expect(try obstacle(failure("TRYAGAIN x"), failure("MOVED 7 there:2")) == .moved(to: there))
        #expect(try obstacle(failure("CLUSTERDOWN x"), failure("TRYAGAIN x")) == .clusterDown)
        let wrapped = "EXECABORT Transaction discarded because of: READONLY You can't write"
        #expect(try obstacle(.simpleString("OK"), failure(wrapped)) == .readOnly)
        #expect(try obstacle(failure("EXECABORT Transaction discarded because of previous errors.")) == nil)
        let both = ClusterObstacle(
            in: [failure("MOVED 7 there:2"), failure("MOVED 8 there:2")], slot: try #require(HashSlot(7)),
            node: here)
        #expect(both.moves.map(\.slot.number) == [7, 8])
    }

    @Test func theMapIsAskedForOnceASecond() {
        let start = ContinuousClock.now
        var gate = RefreshGate()
        #expect(gate.step(start) == .ask)
        #expect(gate.step(start) == .wait(until: start + RefreshGate.lookInterval))
        gate.want()
        gate.end(succeeded: true)
        #expect(gate.step(start) == .none && gate.rounds == 1)
        gate.doubt()
        #expect(gate.step(start + .milliseconds(300)) == .wait(until: start + .seconds(1)))
        #expect(gate.step(start + .seconds(1)) == .ask)
        // A doubt that comes up meanwhile is not answered by this.
        gate.doubt()
        gate.end(succeeded: true)
        #expect(gate.step(start + .seconds(2)) == .ask)
        gate.end(succeeded: false)
        #expect(gate.step(start + .milliseconds(2_500)) == .wait(until: start + .seconds(3)))
        #expect(gate.step(start + .seconds(3)) == .ask)
        gate.abandon()
        #expect(gate.rounds == 3 && gate.step(start + .seconds(3)) == .ask)
    }
}
