import Foundation
import SystemPackage
import Testing

@testable import SegmentLog

/// What `LogVerification` says of logs that are sound and of logs that are not.
@Suite struct VerifyTests {
    private func verify(_ scratch: Scratch) throws -> VerificationReport {
        try LogVerification.run(scratch.path, inspect: { _ in nil })
    }

    /// A closed log of several segments and two generations.
    private func closedLog() throws -> Scratch {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 900, generation: 2)
        for index in 0..<12 {
            if index == 5 { try writer.startGeneration(4) }
            try writer.append(["a\(index)", "b\(index)"], at: Int64(index), position: [UInt8(index)])
        }
        try writer.close()
        return scratch
    }

    @Test func aSoundLog() throws {
        let scratch = try closedLog()
        let report = try verify(scratch)
        #expect(report.allDamage.isEmpty && report.notes.isEmpty, "\(report)")
        #expect(report.startOffset == 0 && report.endOffset == 24)
        #expect(report.batches == 12 && report.records == 24 && report.segments.count > 2)
    }

    @Test func everyFlippedByteOfAClosedLogIsFound() throws {
        let scratch = try closedLog()
        for name in try scratch.names() where name != "lock" && name != "clean" {
            let sound = try scratch.bytes(name)
            for position in stride(from: 0, to: sound.count, by: 3) {
                var bytes = sound
                bytes[position] ^= 0x10
                try scratch.write(bytes, to: name)
                let damage = try verify(scratch).allDamage
                // A batch whose header is gone is missing for the index too.
                #expect(damage.contains { $0.file == name }, "\(name), byte \(position): \(damage)")
                for one in damage {
                    guard let range = one.bytes, name.hasSuffix("lz4") else { continue }
                    #expect(range.contains(Int64(position)), "\(name), byte \(position): \(one)")
                }
            }
            try scratch.write(sound, to: name)
        }
        #expect(try verify(scratch).allDamage.isEmpty)
    }

    @Test func damageIsNamed() throws {
        let scratch = try closedLog()
        let name = try scratch.segments[1]
        let base = try #require(Int64(name.dropLast(4)))
        var bytes = try scratch.bytes(name)
        let second = Int(try header(bytes, at: 0).totalLength)
        bytes[second + BatchHeader.byteCount + 20] ^= 1
        try scratch.write(bytes, to: name)
        let damage = try #require(try verify(scratch).allDamage.first)
        #expect(damage.kind == .batch && damage.file == name && damage.batch == 2)
        let length = try header(bytes, at: second).totalLength
        #expect(damage.bytes == Int64(second)..<Int64(second) + length)
        #expect(damage.gone == base + 2..<base + 4 && damage.batchOffsets == damage.gone)
        #expect(damage.advice.contains("millrace log repair"))
    }

    private func header(_ bytes: [UInt8], at start: Int) throws -> BatchHeader {
        try BatchHeader(bytes, at: start)
    }

    @Test func recordsAreLookedAt() throws {
        let scratch = try closedLog()
        let report = try LogVerification.run(scratch.path) { record in
            switch record.offset {
            case 4: .damaged("bad")
            case 7: .unknownType
            default: nil
            }
        }
        #expect(report.allDamage.map(\.kind) == [.record] && report.allDamage[0].gone == 4..<6)
        #expect(report.segments.reduce(0) { $0 + $1.unknownRecords } == 1 && report.notes.count == 1)
    }

    @Test func missingFiles() throws {
        let scratch = try closedLog()
        let middle = try scratch.segments[1]
        let (first, last) = try (Int64(middle.dropLast(4)), Int64(scratch.segments[2].dropLast(4)))
        let bytes = try scratch.bytes(middle)
        try scratch.remove(middle)
        let damage = try verify(scratch).allDamage
        #expect(damage.map(\.kind) == [.missing])
        #expect(damage.first?.gone == (try #require(first))..<(try #require(last)))
        try scratch.write(bytes, to: middle)
        for name in try scratch.names() where name.hasSuffix("index") { try scratch.remove(name) }
        let report = try verify(scratch)
        #expect(report.allDamage.isEmpty && report.notes.count == 1)
        try scratch.remove("log.meta")
        #expect(try verify(scratch).allDamage.map(\.kind) == [.meta])
    }

    @Test func anOpenEndIsNoDamage() throws {
        let scratch = try Scratch()
        let writer = try scratch.open()
        try writer.append(["a"])
        try writer.append(["b"])
        let name = try scratch.segments[0]
        let bytes = try scratch.bytes(name)
        for length in bytes.count / 2 + 1..<bytes.count {
            let crashed = try scratch.copy()
            try crashed.write(Array(bytes.prefix(length)), to: name)
            let report = try verify(crashed)
            #expect(report.allDamage.isEmpty && report.notes.count == 1, "\(length): \(report)")
            #expect(report.endOffset == 1)
        }
        try writer.close()
        // What was closed in an orderly way has lost it.
        try scratch.write(Array(bytes.dropLast(3)), to: name)
        let damage = try verify(scratch).allDamage
        #expect(damage.map(\.kind) == [.tail] && damage.first?.gone == 1..<2)
    }

    @Test func aRunningWriterIsNotInTheWay() async throws {
        let scratch = try Scratch()
        let path = scratch.path
        let writer = try scratch.open(segmentBytes: 20_000, retention: Retention(bytes: 60_000))
        try writer.append(["0"])
        async let verifying = Task.detached {
            var damage: [LogDamage] = []
            for _ in 0..<60 { damage += try LogVerification.run(path, inspect: { _ in nil }).allDamage }
            return damage
        }.value
        for index in 1..<4000 {
            try writer.append(["\(index)"])
            if index % 300 == 0 { _ = try writer.enforceRetention(nowMilliseconds: 0, keeping: nil) }
        }
        #expect(try await verifying.isEmpty)
        try writer.close()
    }
}
