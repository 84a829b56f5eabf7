import ChangeModel
import Foundation
import Mapping
import SegmentLog
import SystemPackage
import Testing

@testable import Engine

/// The sink that prints.
@Suite struct StandardOutputSinkTests {
    /// A backlog that is never idle is not printed from its start again after a kill.
    @Test func itsCheckpointFollowsABacklog() async throws {
        let directory = FilePath(
            FileManager.default.temporaryDirectory.appendingPathComponent("out-\(UUID().uuidString)").path)
        defer { try? FileManager.default.removeItem(atPath: directory.string) }
        let store = FileCheckpointStore(log: directory, sink: "console")
        let output = try FileDescriptor.open("/dev/null", .writeOnly)
        let sink = StandardOutputSink(
            pipeline: "p", store: store, onMissingCheckpoint: .earliest, output: output)
        let context = SinkContext(
            logID: "log", generations: [Generation(number: 0, firstOffset: 0)], startOffset: 0, endOffset: 9,
            takeOver: false, lookup: NoChanges(), offset: { _ in 0 }, startGeneration: { $0 + 1 },
            repeatSnapshot: {})
        #expect(try await sink.start(context) == 0)
        let change = Change(operation: .create, path: "/a", data: [], zxid: Zxid(1), timestamp: 1)
        for offset in Int64(0)..<3 {
            let mapped = MappedChange(change, offset: offset, generation: 0, writes: [.envelope])
            _ = try await sink.deliver(
                MappedBatch(offsets: offset..<offset + 1, changes: [mapped], settled: .none, generation: 0))
            await sink.confirm(offset + 1)
            try await Task.sleep(for: .milliseconds(600))
        }
        #expect(try store.read()?.confirmed ?? 0 >= 2)
        #expect(try await sink.idle() == nil)
        #expect(try store.read()?.confirmed == 3)
        try output.close()
    }
}

private struct NoChanges: ChangeLookup {
    func change(atOrBehind offset: Int64) -> Change? { nil }
    func hasChange(
        of zxid: Zxid, atOrBehind offset: Int64, where isWanted: (Change, UInt16, () -> [SinkWrite]) -> Bool
    ) -> Bool { false }
}
