import Foundation
import SegmentLog
import SystemPackage
import Testing

@Suite struct LogTests {
    @Test func whatIsAppendedIsRead() throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        #expect(writer.wasCreated && writer.nextOffset == 0 && writer.recovery.wasClean)
        #expect(try writer.append(["a", "b", "c"], position: [1, 2]) == 0..<3)
        #expect(try writer.append(["d"]) == 3..<4)
        #expect(try read(scratch.path) == [0: "a", 1: "b", 2: "c", 3: "d"])
        #expect(try read(scratch.path, from: 2) == [2: "c", 3: "d"])
        #expect(try read(scratch.path, from: 4) == [:])
        try writer.close()
    }

    @Test func controlRecordsTakeNoOffset() throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        var batch = RecordBatchBuilder()
        batch.append(type: 0x81) { $0.append(1) }
        #expect(try writer.append(batch, position: [], timestampMilliseconds: 1) == 0..<0)
        batch.append(type: 1) { $0.append(2) }
        batch.append(type: 0x82) { $0.append(3) }
        batch.append(type: 1) { $0.append(4) }
        #expect(try writer.append(batch, position: [9], timestampMilliseconds: 1) == 0..<2)
        batch.removeAll()
        #expect(try writer.append(batch, position: [7], timestampMilliseconds: 1) == 2..<2)
        #expect(writer.lastPosition == [7])
        var reader = try LogReader(scratch.path, from: 0)
        var seen: [String] = []
        while let batch = try reader.next() {
            batch.forEach { seen.append("\($0.offset):\($0.type):\($0.payload.first ?? 0)") }
            seen.append("\(batch.baseOffset)-\(batch.lastOffset)")
        }
        #expect(seen == ["0:129:1", "0--1", "0:129:1", "0:1:2", "1:130:3", "1:1:4", "0-1", "2-1"])
        try writer.close()
    }

    @Test func aReaderFollowsTheWriterOverSegments() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 1000)
        var reader = try LogReader(scratch.path, from: 0)
        #expect(try reader.next() == nil)
        var seen: [String] = []
        for index in 0..<100 {
            try writer.append(["record \(index)"])
            while let batch = try reader.next() {
                batch.forEach { seen.append(String(decoding: $0.payload, as: UTF8.self)) }
            }
        }
        #expect(seen == (0..<100).map { "record \($0)" })
        #expect(try scratch.segments.count > 5)
        for offset: Int64 in [0, 1, 37, 99] {
            #expect(try read(scratch.path, from: offset).count == 100 - Int(offset))
        }
        try writer.close()
    }

    @Test func theLimitHoldsBackWholeBatches() throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        try writer.append(["a", "b"])
        try writer.append(["c"])
        var reader = try LogReader(scratch.path, from: 0)
        #expect(try reader.next(below: 1) == nil)
        #expect(try reader.next(below: 2)?.lastOffset == 1)
        #expect(try reader.next(below: 2) == nil)
        #expect(try reader.next(below: 3)?.lastOffset == 2)
        try writer.close()
    }

    @Test func theLz4ProgramReadsEverySegment() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 2000)
        for index in 0..<100 { try writer.append(["record number \(index)"]) }
        _ = try writer.append(RecordBatchBuilder(), position: [1], timestampMilliseconds: 5)
        try writer.close()
        var text = ""
        for name in try scratch.segments {
            #expect(try run("lz4", "-t", scratch.path.appending(name).string).status == 0)
            text += try run("lz4", "-dc", scratch.path.appending(name).string).output
        }
        for index in 0..<100 { #expect(text.contains("record number \(index)")) }
    }

    @Test func oneWriter() throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        let error = #expect(throws: LogError.self) { try scratch.open(patience: .zero) }
        #expect(error?.code == .locked && error?.message.contains("\(getpid())") == true)
        #expect(LogDirectory.writerProcess(scratch.path) == getpid())
        try writer.close()
    }

    @Test func generations() throws {
        let scratch = try Scratch()
        do {
            let writer = try scratch.open(generation: 3)
            try writer.append(["a"])
            try writer.close()
        }
        do {
            let writer = try scratch.open()
            #expect(writer.recovery.wasClean)
            #expect(writer.generations == [Generation(number: 3, firstOffset: 0)])
            try writer.append(["b"])
            // No close: as a kill.
        }
        let writer = try scratch.open()
        #expect(!writer.recovery.wasClean)
        #expect(
            writer.generations == [
                Generation(number: 3, firstOffset: 0), Generation(number: 4, firstOffset: 2),
            ])
        try writer.startGeneration(9)
        #expect(writer.currentGeneration == 9 && writer.generations.count == 2)
        #expect(throws: LogError.self) { try writer.startGeneration(9) }
        try writer.append(["c"])
        var reader = try LogReader(scratch.path, from: 2)
        #expect(try reader.next()?.generation == 9)
        #expect(try LogDirectory.generations(scratch.path) == writer.generations)
        try writer.close()
    }

    @Test func retention() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(
            segmentBytes: 1000, retention: Retention(bytes: 3000, ageMilliseconds: nil))
        for index in 0..<100 { try writer.append(["record \(index)"], at: Int64(index)) }
        let before = try scratch.segments.count
        #expect(try writer.enforceRetention(nowMilliseconds: 100, keeping: 0).isEmpty)
        let some = try writer.enforceRetention(nowMilliseconds: 100, keeping: 20)
        #expect(!some.isEmpty && writer.startOffset <= 20)
        _ = try writer.enforceRetention(nowMilliseconds: 100, keeping: nil)
        #expect(try scratch.segments.count < before)
        #expect(writer.startOffset > 20)
        #expect(try read(scratch.path, from: writer.startOffset).count == 100 - Int(writer.startOffset))
        let error = #expect(throws: LogError.self) { try LogReader(scratch.path, from: 0) }
        #expect(error?.code == .trimmed && error?.message.contains("\(writer.startOffset)") == true)
        try writer.close()
    }

    @Test func retentionByAge() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(
            segmentBytes: 1000, retention: Retention(bytes: nil, ageMilliseconds: 50))
        for index in 0..<100 { try writer.append(["record \(index)"], at: Int64(index)) }
        #expect(try writer.enforceRetention(nowMilliseconds: 40, keeping: nil).isEmpty)
        #expect(try !writer.enforceRetention(nowMilliseconds: 100, keeping: nil).isEmpty)
        #expect(writer.startOffset > 0 && writer.startOffset <= 50)
        try writer.close()
    }

    @Test func timesAreFound() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 1000)
        // The clock steps back in the middle.
        for index in 0..<50 { try writer.append(["x"], at: Int64(1000 + index * 10)) }
        for index in 0..<50 { try writer.append(["y"], at: Int64(1200 + index * 10)) }
        #expect(try LogDirectory.offset(scratch.path, atOrAfter: 0) == 0)
        #expect(try LogDirectory.offset(scratch.path, atOrAfter: 1005) == 1)
        #expect(try LogDirectory.offset(scratch.path, atOrAfter: 1490) == 49)
        #expect(try LogDirectory.offset(scratch.path, atOrAfter: 1500) == 80)
        #expect(try LogDirectory.offset(scratch.path, atOrAfter: 9999) == 100)
        #expect(try LogDirectory.endOffset(scratch.path) == 100)
        try writer.close()
    }

    @Test func ranksAreFound() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 1000)
        func append(_ ranks: some Sequence<UInt8>) throws {
            for rank in ranks { try writer.append(["a record of rank \(rank)"], position: [rank]) }
        }
        func offset(atOrAbove rank: Int64) throws -> Int64 {
            try LogDirectory.offset(scratch.path, atOrAbove: rank) { $0.first.map(Int64.init) }
        }
        try append(10..<60)
        #expect(try LogDirectory.statistics(scratch.path).segments.count > 3)
        #expect(try offset(atOrAbove: 0) == 0)
        for rank: Int64 in 10..<60 { #expect(try offset(atOrAbove: rank) == rank - 10) }
        #expect(try offset(atOrAbove: 60) == 50)
        // Another ensemble begins anew: what is in its predecessor's part is found all the same.
        try writer.startGeneration(writer.currentGeneration + 1)
        try append(0..<40)
        for rank: Int64 in 41..<60 { #expect(try offset(atOrAbove: rank) == rank - 10) }
        #expect(try offset(atOrAbove: 60) == 90)
        // Within a segment, too, and where it has come further than the predecessor's head when the next one begins.
        try append(50..<55)
        try writer.startGeneration(writer.currentGeneration + 1)
        try append(51..<90)
        #expect(try offset(atOrAbove: 54) == 44)
        for rank: Int64 in 60..<90 { #expect(try offset(atOrAbove: rank) == rank + 44) }
        // A batch without one may hold anything.
        try writer.append(["of no rank"])
        #expect(try offset(atOrAbove: 95) == 134)
        try writer.close()
    }

    @Test func anIndexIsDisposable() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 4000)
        for index in 0..<200 { try writer.append(["record \(index)"]) }
        try writer.close()
        let expected = try read(scratch.path, from: 77)
        let indexes = try scratch.names().filter { $0.hasSuffix("index") }
        #expect(!indexes.isEmpty)
        for name in indexes { try scratch.write([1, 2, 3], to: name) }
        #expect(try read(scratch.path, from: 77) == expected)
        for name in indexes { try scratch.remove(name) }
        #expect(try read(scratch.path, from: 77) == expected)
        let reopened = try scratch.open()
        #expect(reopened.nextOffset == 200)
        #expect(reopened.recovery.rebuiltIndexes == indexes.count)
        try reopened.close()
        #expect(try scratch.names().filter { $0.hasSuffix("index") } == indexes)
        #expect(try read(scratch.path, from: 77) == expected)
    }

    @Test func timesAreFoundWithAndWithoutIndexes() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 8000)
        for index in 0..<300 { try writer.append(["record \(index)"], at: Int64(index * 10)) }
        try writer.close()
        func offsets() throws -> [Int64] {
            try stride(from: -5, through: 3000, by: 35).map {
                try LogDirectory.offset(scratch.path, atOrAfter: Int64($0))
            }
        }
        let found = try offsets()
        let expected: [Int64] = stride(from: -5, through: 3000, by: 35).map { max(0, Int64($0) + 9) / 10 }
        #expect(found == expected)
        for name in try scratch.names() where name.hasSuffix("index") { try scratch.remove(name) }
        #expect(try offsets() == found)
    }

    @Test func thePositionSurvivesASegmentThatHasJustBegun() throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        try writer.append(["a"], position: [4, 2])
        try writer.close()
        // Killed between the making of the next segment and its first batch.
        try scratch.write([], to: "00000000000000000001.lz4")
        let reopened = try scratch.open()
        #expect(reopened.lastPosition == [4, 2])
        #expect(try reopened.append(["b"]) == 1..<2)
        #expect(try read(scratch.path) == [0: "a", 1: "b"])
        try reopened.close()
    }

    @Test func statistics() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 1000)
        for index in 0..<30 { try writer.append(["a\(index)", "b"], at: Int64(index)) }
        let statistics = try LogDirectory.statistics(scratch.path)
        #expect(statistics.endOffset == 60 && statistics.startOffset == 0)
        #expect(statistics.segments.reduce(0) { $0 + $1.records } == 60)
        #expect(statistics.segments.reduce(0) { $0 + $1.batches } == 30)
        #expect(statistics.segments.dropLast().allSatisfy { $0.isClosed })
        #expect(statistics.writerProcess == getpid())
        try writer.close()
    }

    private func run(_ arguments: String...) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }
}
