import ChangeModel
import Foundation
import SegmentLog
import SystemPackage
import Testing

@testable import Engine

/// The file of what is known of the tree.
@Suite struct KnownStateStoreTests {
    private static func change(_ path: String, _ zxid: Int64) -> Change {
        let stat = NodeStat(czxid: Zxid(zxid), mzxid: Zxid(zxid))
        return Change(operation: .create, path: path, data: [], zxid: Zxid(zxid), timestamp: 1, stat: stat)
    }

    /// A log that has lost its end grows past an old state's offset: the state must not be believed then.
    @Test func aStateOfALostHistoryIsThrownAway() async throws {
        let directory = FilePath(
            FileManager.default.temporaryDirectory.appendingPathComponent("known-\(UUID().uuidString)").path)
        defer { try? FileManager.default.removeItem(atPath: directory.string) }
        func open() throws -> PipelineLog {
            try PipelineLog(directory: directory, configuration: LogConfiguration(), initialGeneration: 0)
        }
        func append(_ paths: [String], known: KnownState? = nil, _ log: PipelineLog) async throws {
            let entries = paths.enumerated().map { number, path in
                CaptureEntry.change(KnownStateStoreTests.change(path, Int64(number) + 1))
            }
            _ = try await log.append([CaptureBatch(entries: entries, position: .start, known: known)])
        }
        let first = try open()
        try await append(["/a"], first)
        let segment = directory.appending("00000000000000000000.lz4").string
        let size = try Data(contentsOf: URL(fileURLWithPath: segment)).count
        var known = KnownState()
        for path in ["/a", "/b"] { known.apply(KnownStateStoreTests.change(path, 9)) }
        try await append(["/b"], known: known, first)
        try await first.close()
        // The second batch is lost; another one takes its offset.
        try FileHandle(forUpdating: URL(fileURLWithPath: segment)).truncate(atOffset: UInt64(size))
        let second = try open()
        #expect(await second.takeRecovered().known.nodes.keys.sorted() == ["/a"])
        try await append(["/c"], second)
        try await second.close()
        let third = try open()
        #expect(await third.takeRecovered().known.nodes.keys.sorted() == ["/a", "/c"])
        try await third.close()
    }
}
