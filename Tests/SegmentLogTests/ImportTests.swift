import SegmentLog
import SystemPackage
import Testing

/// Logs that are made of the batches of others.
@Suite struct ImportTests {
    private func copy(
        _ from: FilePath, to: FilePath, start: Int64, id: String, generations: [Generation]? = nil
    )
        throws
    {
        let importer = try LogImporter(
            to, logID: id, generations: try generations ?? LogDirectory.generations(from), gaps: [],
            startOffset: start,
            segmentBytes: 1000)
        var reader = try LogReader(from, from: start)
        while let batch = try reader.next() {
            var builder = RecordBatchBuilder()
            batch.forEach { record in builder.append(type: record.type) { $0 += record.payload } }
            try importer.append(
                builder, baseOffset: batch.baseOffset, generation: batch.generation,
                firstTimestamp: batch.firstTimestamp, lastTimestamp: batch.lastTimestamp,
                position: batch.position)
        }
        try importer.finish()
    }

    private func batches(_ path: FilePath, from start: Int64) throws -> [String] {
        var reader = try LogReader(path, from: start)
        var found: [String] = []
        while let batch = try reader.next() {
            found.append(
                "\(batch.baseOffset) \(batch.lastOffset) \(batch.generation) \(batch.firstTimestamp) \(batch.position)"
            )
            batch.forEach { found.append("\($0.offset) \($0.type) \(Array($0.payload))") }
        }
        return found
    }

    @Test func aCopyIsTheSameLog() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(
            segmentBytes: 700, retention: Retention(bytes: 2500, ageMilliseconds: nil), generation: 3)
        for index in 0..<40 {
            if index == 30 { try writer.startGeneration(5) }
            try writer.append(["a\(index)", "b\(index)"], at: Int64(index), position: [UInt8(index)])
        }
        var control = RecordBatchBuilder()
        control.append(type: 0x81) { $0.append(1) }
        _ = try writer.append(control, position: [], timestampMilliseconds: 50)
        _ = try writer.enforceRetention(nowMilliseconds: 0, keeping: nil)
        let start = writer.startOffset
        #expect(start > 0)
        try writer.close()
        let target = try Scratch()
        try copy(scratch.path, to: target.path, start: start, id: writer.logID)
        #expect(try batches(target.path, from: start) == batches(scratch.path, from: start))
        #expect(try LogDirectory.logID(target.path) == writer.logID)
        #expect(try LogVerification.run(target.path, inspect: { _ in nil }).allDamage.isEmpty)
        let again = try target.open()
        #expect(again.nextOffset == 80 && again.recovery.wasClean && again.currentGeneration == 5)
        #expect(again.recovery.rebuiltIndexes == 0)
        try again.close()
        #expect(throws: LogError.self) {
            try copy(scratch.path, to: target.path, start: start, id: writer.logID)
        }
    }

    /// A checkpoint counts up to where the next generation begins: a list that is not the batches' own would move it.
    @Test(arguments: [
        [(0, 0)], [(0, 0), (2, 6)], [(2, 0), (0, 4)], [(0, 0), (2, 4), (2, 6)], [(0, -1), (2, 4)],
    ])
    func generationsAreThoseOfTheBatches(_ listed: [(number: UInt16, firstOffset: Int64)]) throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        for index in 0..<4 {
            if index == 2 { try writer.startGeneration(2) }
            try writer.append(["a", "b"], at: Int64(index))
        }
        try writer.close()
        #expect(writer.generations == [.init(number: 0, firstOffset: 0), .init(number: 2, firstOffset: 4)])
        let generations = listed.map { Generation(number: $0.number, firstOffset: $0.firstOffset) }
        let target = try Scratch()
        #expect(throws: LogError.self) {
            try copy(scratch.path, to: target.path, start: 0, id: writer.logID, generations: generations)
        }
    }

    @Test func statisticsOfClosedSegmentsComeFromTheirIndexes() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 900)
        for index in 0..<40 { try writer.append(["a\(index)", "b\(index)"], at: Int64(index)) }
        try writer.close()
        let fast = try LogDirectory.statistics(scratch.path)
        #expect(fast.oldestTimestamp == 0 && fast.segments.allSatisfy { $0.records == $0.batches * 2 })
        for name in try scratch.names() where name.hasSuffix("index") { try scratch.remove(name) }
        #expect(try LogDirectory.statistics(scratch.path) == fast)
    }
}
