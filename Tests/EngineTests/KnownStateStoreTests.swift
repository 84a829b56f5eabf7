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

    /// The data of a node are kept for `before`: from one start to the next, and at the first start that asks for them as far
    /// as the log has them.
    @Test func dataAreKeptWhereTheyAreAskedFor() async throws {
        let directory = FilePath(
            FileManager.default.temporaryDirectory.appendingPathComponent("known-\(UUID().uuidString)").path)
        defer { try? FileManager.default.removeItem(atPath: directory.string) }
        func open(keepsData: Bool) throws -> PipelineLog {
            try PipelineLog(
                directory: directory, configuration: LogConfiguration(), initialGeneration: 0,
                keepsData: keepsData)
        }
        func change(_ path: String, _ zxid: Int64, _ data: [UInt8]) -> Change {
            var change = KnownStateStoreTests.change(path, zxid)
            change.data = data
            return change
        }
        var known = KnownState()
        // The last two in one transaction.
        let changes = [
            change("/a", 1, [1]), change("/b", 2, [2]), change("/a", 3, [0]), change("/a", 3, [3]),
        ]
        for change in changes { known.apply(change) }
        // Known, and told by no record.
        known.tell("/silent", NodeStat(czxid: Zxid(1), mzxid: Zxid(1)), [9])
        #expect(known.nodes.values.allSatisfy { $0.data == nil })
        let first = try open(keepsData: false)
        _ = try await first.append([
            CaptureBatch(entries: changes.map { .change($0) }, position: .start, known: known)
        ])
        try await first.close()

        let second = try open(keepsData: true)
        var recovered = await second.takeRecovered().known
        #expect(recovered.keepsData)
        #expect(recovered.nodes.mapValues(\.data) == ["/a": [3], "/b": [2], "/silent": nil])
        let later = change("/b", 5, [5])
        recovered.apply(later)
        recovered.tell("/silent", NodeStat(czxid: Zxid(1), mzxid: Zxid(1)), [9])
        let behind = change("/c", 6, [6])
        _ = try await second.append([
            CaptureBatch(entries: [.change(later)], position: .start, known: recovered),
            CaptureBatch(entries: [.change(behind)], position: .start),
        ])
        try await second.close()

        let third = try open(keepsData: true)
        recovered.apply(behind)
        #expect(await third.takeRecovered().known == recovered)
        #expect(recovered.nodes.mapValues(\.data) == ["/a": [3], "/b": [5], "/silent": [9], "/c": [6]])
        try await third.close()
        let plain = try open(keepsData: false)
        let without = await plain.takeRecovered().known
        #expect(without.nodes.keys.sorted() == ["/a", "/b", "/c", "/silent"])
        #expect(!without.keepsData && without.nodes.values.allSatisfy { $0.data == nil })
        try await plain.close()
    }
}
