import Foundation
import SegmentLog
import SystemPackage
import Testing

/// What is left after crashes and damage: exactly what was whole, or an error that names the place.
@Suite struct CrashTests {
    @Test func tornAtEveryByteOfTheLastBatch() throws {
        let scratch = try Scratch()
        let segment = "00000000000000000000.lz4"
        let writer = try scratch.open()
        try writer.append(["a", "b"])
        let whole = try scratch.bytes(segment).count
        try writer.append(["c", "d", "e"])
        let all = try scratch.bytes(segment)
        for length in whole..<all.count {
            let crashed = try scratch.copy()
            try crashed.write(Array(all.prefix(length)), to: segment)
            #expect(try read(crashed.path) == [0: "a", 1: "b"])
            let reopened = try crashed.open()
            #expect(reopened.nextOffset == 2)
            #expect(reopened.recovery.truncatedBytes == Int64(length - whole))
            #expect(reopened.recovery.warnings.isEmpty == (length == whole))
            #expect(try reopened.append(["new"]) == 2..<3)
            #expect(try read(crashed.path) == [0: "a", 1: "b", 2: "new"])
            try reopened.close()
        }
        try writer.close()
    }

    @Test func noFlippedByteGivesWrongRecords() throws {
        let scratch = try Scratch()
        let segment = "00000000000000000000.lz4"
        let writer = try scratch.open()
        for index in 0..<4 { try writer.append(["record \(index)", "other \(index)"]) }
        try writer.close()
        let good = try read(scratch.path)
        let bytes = try scratch.bytes(segment)
        for position in bytes.indices {
            let damaged = try scratch.copy()
            var changed = bytes
            changed[position] ^= 0x40
            try damaged.write(changed, to: segment)
            do {
                let found = try read(damaged.path)
                // The last batch may look like one that is being written.
                #expect(found.allSatisfy { good[$0.key] == $0.value }, "byte \(position)")
                #expect(found.count >= 6, "byte \(position)")
            } catch {
                #expect(
                    (error as? LogError)?.code == .corrupt
                        || (error as? LogError)?.code == .unsupportedVersion)
                #expect((error as? LogError)?.file?.hasSuffix(segment) == true)
            }
        }
    }

    @Test func damageBeforeTheTailIsRefusedByTheWriter() throws {
        let scratch = try Scratch()
        let segment = "00000000000000000000.lz4"
        let writer = try scratch.open()
        for index in 0..<4 { try writer.append(["record \(index)"]) }
        try writer.close()
        var bytes = try scratch.bytes(segment)
        bytes[bytes.count / 2] ^= 1
        let damaged = try scratch.copy()
        try damaged.write(bytes, to: segment)
        let error = #expect(throws: LogError.self) { try damaged.open() }
        #expect(error?.code == .corrupt && error?.position != nil)
        #expect(try damaged.bytes(segment) == bytes, "nothing may be cut off")
    }

    @Test func randomHistoriesAreReadBackExactly() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Numbers(seed)
        for _ in 0..<30 {
            let scratch = try Scratch()
            var expected: [String] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let writer = try scratch.open(segmentBytes: Int.random(in: 300...5000, using: &random))
                #expect(writer.nextOffset == Int64(expected.count))
                for _ in 0..<Int.random(in: 0...40, using: &random) {
                    let texts = (0..<Int.random(in: 0...5, using: &random)).map { _ in
                        String(repeating: "x", count: Int.random(in: 0...300, using: &random))
                            + "\(random.next())"
                    }
                    #expect(
                        try writer.append(texts) == Int64(
                            expected.count)..<Int64(expected.count + texts.count))
                    expected += texts
                }
                if Bool.random(using: &random) {
                    try writer.close()
                } else if let last = try scratch.segments.last, Bool.random(using: &random) {
                    // A torn write behind the last whole batch.
                    let torn = (0..<Int.random(in: 1...200, using: &random)).map { _ in
                        UInt8.random(in: 0...255, using: &random)
                    }
                    try scratch.write(try scratch.bytes(last) + torn, to: last)
                }
            }
            let found = try read(scratch.path)
            #expect(found.count == expected.count)
            for (offset, text) in expected.enumerated() where found[Int64(offset)] != text {
                Issue.record("offset \(offset) differs")
            }
            let start = Int64.random(in: 0...Int64(expected.count), using: &random)
            #expect(try read(scratch.path, from: start).count == expected.count - Int(start))
        }
    }

    @Test func aReaderOnAnotherThreadSeesAPrefix() async throws {
        let scratch = try Scratch()
        let path = scratch.path
        let writer = try scratch.open(segmentBytes: 20_000)
        try writer.append(["0"])
        async let reading = Task.detached {
            var reader = try LogReader(path, from: 0)
            var next = 0
            let deadline = ContinuousClock.now + .seconds(20)
            while next < 5000, ContinuousClock.now < deadline {
                guard let batch = try reader.next() else { continue }
                batch.forEach { record in
                    if String(decoding: record.payload, as: UTF8.self) == "\(next)" { next += 1 }
                }
            }
            return next
        }.value
        for index in 1..<5000 { try writer.append(["\(index)"]) }
        #expect(try await reading == 5000)
        try writer.close()
    }

    @Test func aFullDiskIsSurvived() throws {
        // /dev/full refuses every write with ENOSPC: a segment that links to it is a full disk.
        let scratch = try Scratch()
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path.appending("00000000000000000000.lz4").string,
            withDestinationPath: "/dev/full")
        let error = #expect(throws: LogError.self) {
            let writer = try scratch.open()
            try writer.append(["a"])
        }
        #expect(error != nil)
    }
}
