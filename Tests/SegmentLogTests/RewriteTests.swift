import SegmentLog
import SystemPackage
import Testing

/// Content that is taken out of a log.
@Suite(.serialized) struct RewriteTests {
    private func replace(_ scratch: Scratch, _ text: String) throws {
        try LogRewrite.replace(in: scratch.path) { record in
            record.payload.elementsEqual(text.utf8) ? LogRewrite.Replacement(type: 2) : nil
        }
    }

    private func records(_ scratch: Scratch) throws -> [(offset: Int64, type: UInt8, text: String)] {
        var reader = try LogReader(scratch.path, from: 0)
        var found: [(Int64, UInt8, String)] = []
        while let batch = try reader.next() {
            batch.forEach { found.append(($0.offset, $0.type, String(decoding: $0.payload, as: UTF8.self))) }
        }
        return found
    }

    @Test func offsetsTimesAndGenerationsStay() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 4096, generation: 3)
        for index in 0..<200 {
            let random = (0..<4).map { _ in String(UInt64.random(in: 0...UInt64.max), radix: 36) }.joined()
            try writer.append(
                ["a\(index)", "b\(index) " + random], at: Int64(index), position: [UInt8(index)])
        }
        try writer.close()
        let names = try scratch.segments
        #expect(names.count > 2)
        let untouched = try scratch.bytes(names[1])
        try replace(scratch, "a0")
        try replace(scratch, "a199")
        #expect(try scratch.bytes(names[1]) == untouched && scratch.segments == names)
        let found = try records(scratch)
        #expect(found.map(\.offset) == Array(0..<400))
        #expect(found[0].type == 2 && found[0].text.isEmpty && found[398].type == 2)
        #expect(found[2].text == "a1" && found[399].text.hasPrefix("b199"))

        let again = try scratch.open(segmentBytes: 4096)
        #expect(again.recovery.wasClean && again.nextOffset == 400 && again.lastPosition == [199])
        #expect(again.generations == [Generation(number: 3, firstOffset: 0)])
        try again.append(["after"], at: 500)
        try again.close()
        #expect(try records(scratch).count == 401)
    }

    @Test func aLogThatIsWrittenIsLeftAlone() throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        try writer.append(["a"])
        #expect(throws: LogError.self) { try replace(scratch, "a") }
        try writer.close()
        #expect(throws: LogError.self) {
            try LogRewrite.replace(in: scratch.path) { _ in LogRewrite.Replacement(type: 0x80) }
        }
        #expect(try records(scratch).map(\.text) == ["a"])
    }
}
