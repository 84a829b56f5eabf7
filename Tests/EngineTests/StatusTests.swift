import ChangeModel
import Mapping
import Testing

@testable import Engine

/// What is counted, and how it is told.
@Suite struct StatusTests {
    @Test func aTroubleLastsFromItsFirstFailure() {
        let trouble = Trouble()
        #expect(trouble.current == nil)
        trouble.met("refused")
        let since = trouble.current?.since
        trouble.met("no answer")
        #expect(trouble.current?.reason == "no answer" && trouble.current?.since == since)
        trouble.passed()
        #expect(trouble.current == nil)
        let report = Trouble.Report(reason: "h:1: refused", since: .now)
        #expect(report.text(at: report.since + .milliseconds(12_900)) == "h:1: refused, for 12 s")
    }

    @Test func timesFallIntoTheirBounds() {
        var histogram = LatencyHistogram()
        for milliseconds in [-5, 0, 1, 2, 3, 300_000, 300_001] as [Int64] {
            histogram.add(milliseconds: milliseconds)
        }
        histogram.add(milliseconds: 40, changes: 100)
        #expect(histogram.counts[0] == 3 && histogram.counts[1] == 1 && histogram.counts[2] == 1)
        #expect(histogram.counts[5] == 100)
        #expect(histogram.counts.suffix(2) == [1, 1])
        #expect(histogram.total == 107)
        #expect(histogram.sum == 1 + 2 + 3 + 300_000 + 300_001 + 4000)
    }

    /// A batch is counted by its changes; what the server refused was not delivered.
    @Test func aBatchIsCountedByItsChanges() {
        let captured = wallClockMilliseconds() - 700
        let changes = (0..<10).map { index in
            var change = Change(operation: .create, path: "/a", data: [], zxid: Zxid(1), timestamp: 1)
            change.captured = captured - (index < 4 ? 0 : 100_000)
            return MappedChange(change, offset: Int64(index), generation: 0, writes: [.envelope])
        }
        let batch = MappedBatch(offsets: 0..<12, changes: changes, settled: .none, generation: 0)
        let progress = SinkProgress(name: "s")
        progress.delivered(batch, failed: 2, refused: [Rejection(changes[9], reason: "no")])
        let counts = progress.counts
        #expect(counts.delivered == 9 && counts.refused == 3)
        #expect(counts.latency.total == 9)
        // Some 700 ms, and 100 s more.
        #expect(counts.latency.counts[15] == 5)
        #expect(counts.latency.counts[0..<8].allSatisfy { $0 == 0 })
    }

    @Test func reconnectsAreConnectionsAfterTheFirst() {
        let progress = CaptureProgress()
        progress.disconnected("refused")
        #expect(progress.trouble.current != nil && progress.connection == nil)
        progress.connected(server: "a:1", session: 1)
        #expect(progress.trouble.current == nil && progress.reconnects == 0)
        progress.disconnected("reset")
        progress.connected(server: "b:1", session: 1)
        #expect(progress.reconnects == 1 && progress.connection?.server == "b:1")
    }

    @Test func stringsInArraysAreJSON() {
        var json = JSONBytes()
        json.open()
        json.openArray("a")
        json.item("x\"")
        json.item("y")
        json.closeArray()
        json.openArray("b")
        json.closeArray()
        json.close()
        #expect(json.text == #"{"a":["x\"","y"],"b":[]}"#)
    }
}
