import Foundation
import SegmentLog
import Testing

/// The format does not change unnoticed: a segment written by an earlier version is read back, and what is
/// written today has the same headers. Anew with UPDATE_GOLDEN=1.
@Suite struct GoldenTests {
    private static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Golden/segment-v1.lz4")
    private static let name = "00000000000000000000.lz4"

    private static func write(_ scratch: Scratch) throws {
        let writer = try scratch.open(generation: 7)
        var batch = RecordBatchBuilder()
        batch.append(type: 0x81) { $0.append(contentsOf: [1, 2, 3]) }
        for text in ["first", "", "third, and a little longer than the others"] {
            batch.append(type: 1) { $0.append(contentsOf: text.utf8) }
        }
        batch.append(type: 0x82) { _ in }
        _ = try writer.append(batch, position: Array(1...18), timestampMilliseconds: 1_700_000_000_000)
        try writer.append(["fourth"], at: 1_700_000_000_123, position: [9])
        try writer.close()
    }

    @Test func aSegmentOfVersion1() throws {
        let scratch = try Scratch()
        try GoldenTests.write(scratch)
        let written = try scratch.bytes(GoldenTests.name)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try Data(written).write(to: GoldenTests.file)
        }
        let golden = Array(try Data(contentsOf: GoldenTests.file))
        // Behind it come lengths and checksums of the compressed frame, which depend on the version of liblz4.
        #expect(written.prefix(40) == golden.prefix(40))
        #expect(written[44..<124] == golden[44..<124])

        try scratch.write(golden, to: GoldenTests.name)
        var reader = try LogReader(scratch.path, from: 0)
        var seen: [String] = []
        while let batch = try reader.next() {
            seen.append("\(batch.generation) \(batch.firstTimestamp) \(batch.position.count)")
            batch.forEach { seen.append("\($0.offset) \($0.type) \(Array($0.payload).count)") }
        }
        #expect(
            seen == [
                "7 1700000000000 18", "0 129 3", "0 1 5", "1 1 0", "2 1 42", "3 130 0", "7 1700000000123 1",
                "3 1 6",
            ])
    }
}
