import ChangeModel
import Foundation
import Mapping
import SegmentLog
import SystemPackage
import Testing

@testable import Engine

@Suite struct DeadLetterTests {
    private static let change = Change(
        operation: .update, path: "/t/n", data: Array("data".utf8), zxid: Zxid(7), timestamp: 1000,
        captured: 1001, stat: NodeStat(czxid: Zxid(3), mzxid: Zxid(7), version: 2))

    private static let letter = DeadLetter(
        number: 5, refused: 2000, stage: .delivery, offset: 41, sink: "keys", reason: "Redis: WRONGTYPE",
        change: change)

    private static var encoded: [UInt8] {
        var bytes: [UInt8] = []
        DeadLetterCodec.encode(
            stage: letter.stage, offset: letter.offset, sink: letter.sink, reason: letter.reason,
            change: letter.change, into: &bytes)
        return bytes
    }

    @Test func aLetterComesBackAsItWas() throws {
        let decoded = try DeadLetterCodec.decodeLetter(DeadLetterTests.encoded[...], number: 5, refused: 2000)
        #expect(decoded == DeadLetterTests.letter)
        let resolution = DeadLetterResolution(number: 5, outcome: .superseded, time: 9)
        var bytes: [UInt8] = []
        DeadLetterCodec.encode(resolution, into: &bytes)
        #expect(try DeadLetterCodec.decodeResolution(bytes[...]) == resolution)
    }

    @Test func whatIsCutOffOrChangedIsAnError() {
        let bytes = DeadLetterTests.encoded
        for count in bytes.indices {
            #expect(throws: ChangeCodecError.self) {
                try DeadLetterCodec.decodeLetter(bytes[..<count], number: 0, refused: 0)
            }
        }
        for wrong in [[2] + bytes.dropFirst(), [1, 9] + bytes.dropFirst(2), bytes + [0]] {
            #expect(throws: ChangeCodecError.self) {
                try DeadLetterCodec.decodeLetter(wrong[...], number: 0, refused: 0)
            }
        }
        // A length beyond the end.
        var long = bytes
        long[10...13] = [0xFF, 0xFF, 0xFF, 0x7F]
        #expect(throws: ChangeCodecError.self) {
            try DeadLetterCodec.decodeLetter(long[...], number: 0, refused: 0)
        }
        for wrong: [UInt8] in [[], [1], [1, 9] + [UInt8](repeating: 0, count: 16), [2, 1]] {
            #expect(throws: ChangeCodecError.self) { try DeadLetterCodec.decodeResolution(wrong[...]) }
        }
    }

    @Test func damagedBytesNeverTrap() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var bytes = DeadLetterTests.encoded
            for _ in 0..<3 {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            _ = try? DeadLetterCodec.decodeLetter(bytes[...], number: 0, refused: 0)
            _ = try? DeadLetterCodec.decodeResolution(bytes[...])
        }
    }

    @Test func recordsOfUnknownTypesAreSkippedAndResolutionsFound() throws {
        let directory = try Directory()
        #expect(try DeadLetterReader(logDirectory: directory.path) == nil)
        let writer = try LogWriter.open(
            directory.path.appending("dead-letters"), configuration: LogConfiguration(), initialGeneration: 0)
        var builder = RecordBatchBuilder()
        for type: UInt8 in [0x01, 0x55, 0x02, 0x01] {
            builder.append(type: type) { if type == 0x01 { $0 += DeadLetterTests.encoded } }
        }
        builder.append(type: 0xF0) { $0 += [1, 2, 3] }
        _ = try writer.append(builder, position: [], timestampMilliseconds: 77)
        builder.removeAll()
        builder.append(type: DeadLetterCodec.resolvedType) {
            DeadLetterCodec.encode(DeadLetterResolution(number: 3, outcome: .delivered, time: 88), into: &$0)
        }
        _ = try writer.append(builder, position: [], timestampMilliseconds: 88)

        var reader = try #require(try DeadLetterReader(logDirectory: directory.path))
        #expect(reader.resolutions.keys.sorted() == [3])
        var found: [DeadLetter] = []
        while let letters = try reader.next() { found += letters }
        #expect(found.map(\.number) == [0, 3] && found.allSatisfy { $0.refused == 77 && $0.offset == 41 })
        try writer.close()
    }

    @Test func aDamagedLetterIsNamed() throws {
        let directory = try Directory()
        let writer = try LogWriter.open(
            directory.path.appending("dead-letters"), configuration: LogConfiguration(), initialGeneration: 0)
        var builder = RecordBatchBuilder()
        builder.append(type: DeadLetterCodec.letterType) { $0 += DeadLetterTests.encoded.dropLast(3) }
        _ = try writer.append(builder, position: [], timestampMilliseconds: 1)
        try writer.close()
        var reader = try #require(try DeadLetterReader(logDirectory: directory.path))
        let error = #expect(throws: PipelineError.self) { try reader.next() }
        #expect(error?.message.contains("dead letter 0") == true && error?.kind == .failed)
    }

    @Test func targetsTellWritesApart() {
        let key = Array("k".utf8)
        let part = Array("p".utf8)
        #expect(SinkWrite.setString(key: key, value: []).target == SinkWrite.deleteKey(key: key).target)
        #expect(
            SinkWrite.addMember(key: key, member: part).target
                == SinkWrite.removeMember(key: key, member: part).target)
        #expect(
            SinkWrite.setHashField(key: key, field: part, value: []).target
                != SinkWrite.setHashField(key: key, field: key, value: []).target)
        #expect(SinkWrite.streamAdd(key: key, fields: []).target == nil)
    }

    /// `dedupe` may have kept it back, since the refused one was to have written the same.
    @Test func aLaterChangeThatWritesTheSameSupersedesNothing() {
        func change(_ offset: Int64, _ path: String, _ value: String) -> MappedChange {
            MappedChange(
                Change(operation: .update, path: path, data: nil, zxid: .none, timestamp: 0), offset: offset,
                generation: 0, writes: [.setString(key: Array("k".utf8), value: Array(value.utf8))])
        }
        let letter = change(5, "/a", "1")
        var later = LaterWrites(watching: [letter])
        #expect(later.standing(letter) == letter.writes)
        later.note(change(6, "/a", "1"))
        #expect(later.standing(letter) == letter.writes)
        later.note(change(7, "/b", "2"))
        #expect(later.standing(letter).isEmpty)
        later.note(change(8, "/b", "1"))
        #expect(later.standing(letter) == letter.writes)
        later.note(change(9, "/a", "3"))
        #expect(later.standing(letter).isEmpty)
    }
}

/// A directory that goes with its holder.
private final class Directory {
    let path: FilePath

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = FilePath(url.path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path.string) }
}
