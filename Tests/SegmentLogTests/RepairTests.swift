import Foundation
import SystemPackage
import Testing

@testable import SegmentLog

/// What a repair takes out of a log, what it leaves, and what it leaves behind when it is killed.
@Suite(.serialized) struct RepairTests {
    /// Repairs; the `step`-th step is where it is killed.
    @discardableResult
    private func repair(_ scratch: Scratch, killedAt step: Int = .max) throws -> RepairReport {
        let lock = try scratch.lock()
        let found = try LogVerification.run(scratch.path, holding: lock, inspect: { _ in nil })
        var repair = LogRepair(scratch.path)
        var steps = 0
        repair.onStep = { () throws(LogError) in
            steps += 1
            if steps == step { throw LogError(code: .closed, message: "killed") }
        }
        return try repair.run(
            found, holding: lock, now: 5, knownID: { nil }, willCommit: { _ throws(LogError) in })
    }

    private func damage(_ scratch: Scratch) throws -> [LogDamage] {
        try LogVerification.run(scratch.path, inspect: { _ in nil }).allDamage
    }

    private func closedLog(_ batches: Int = 9) throws -> Scratch {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 700, generation: 1)
        for index in 0..<batches {
            try writer.append(["a\(index)", "b\(index)"], at: Int64(index), position: [UInt8(index)])
        }
        try writer.close()
        return scratch
    }

    /// What is left is what was there without what is listed, and the log goes on.
    private func expectMended(
        _ scratch: Scratch, _ good: [Int64: String], _ gone: Set<Int64>, _ comment: Comment
    ) throws {
        #expect(try damage(scratch).isEmpty, comment)
        #expect(try read(scratch.path) == good.filter { !gone.contains($0.key) }, comment)
        #expect(Set(try LogDirectory.gaps(scratch.path).flatMap(\.offsets)) == gone, comment)
        let end = Int64(good.count)
        #expect(try LogDirectory.endOffset(scratch.path) == end, comment)
        var reader = try LogReader(scratch.path, from: 0)
        while try reader.next() != nil {}
        #expect(reader.nextOffset == end, comment)
        for offset in stride(from: Int64(0), to: end, by: 5) {
            let expected = good.filter { $0.key >= offset && !gone.contains($0.key) }
            #expect(try read(scratch.path, from: offset) == expected, comment)
        }
        let writer = try scratch.open(segmentBytes: 700)
        #expect(writer.nextOffset == end && writer.recovery.wasClean, comment)
        #expect(try writer.append(["new"]) == end..<end + 1, comment)
        try writer.close()
        #expect(try read(scratch.path)[end] == "new", comment)
    }

    @Test func anyFlippedByteCostsOneBatch() throws {
        let sound = try closedLog()
        let good = try read(sound.path)
        for name in try sound.segments {
            let bytes = try sound.bytes(name)
            for position in stride(from: 0, to: bytes.count, by: 29) {
                let scratch = try sound.copy()
                var damaged = bytes
                damaged[position] ^= 0x10
                try scratch.write(damaged, to: name)
                let report = try repair(scratch)
                let gone = Set(report.gaps.flatMap(\.offsets))
                let comment: Comment = "\(name), byte \(position): \(report)"
                #expect(gone.count == 2 && report.quarantined.count == 1 && report.left.isEmpty, comment)
                let aside = try #require(report.quarantined.first)
                let copy = try scratch.bytes(aside.copy)
                #expect(copy == Array(damaged[Int(aside.bytes.lowerBound)..<Int(aside.bytes.upperBound)]))
                try expectMended(scratch, good, gone, comment)
                #expect(try repair(scratch).isEmpty, comment)
            }
        }
    }

    @Test func damageOfAllKindsAtRandom() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Numbers(seed)
        let sound = try closedLog(30)
        let good = try read(sound.path)
        for round in 0..<50 {
            let scratch = try sound.copy()
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let name = try #require(try scratch.segments.randomElement(using: &random))
                var bytes = try scratch.bytes(name)
                guard bytes.count > 10 else { continue }
                let place = Int.random(in: 0..<bytes.count, using: &random)
                let end = min(bytes.count, place + Int.random(in: 1...200, using: &random))
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.removeSubrange(place..<end)
                case 1: for index in place..<end { bytes[index] = 0 }
                case 2: bytes.insert(contentsOf: (0..<50).map { _ in UInt8(random.next() & 255) }, at: place)
                default: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                }
                try scratch.write(bytes, to: name)
            }
            let report = try repair(scratch)
            let gone = Set(report.gaps.flatMap(\.offsets))
            try expectMended(scratch, good, gone, "seed \(seed), round \(round): \(report)")
        }
    }

    @Test func killedAtEveryStepASecondRepairFinishes() throws {
        let broken = try closedLog(15)
        let good = try read(broken.path)
        for name in try broken.segments.prefix(2) {
            var bytes = try broken.bytes(name)
            bytes[200] ^= 1
            try broken.write(bytes, to: name)
        }
        try broken.remove(try broken.segments[2])
        var meta = try broken.bytes("log.meta")
        meta[40] ^= 1
        try broken.write(meta, to: "log.meta")
        let whole = try broken.copy()
        let gone = Set(try repair(whole).gaps.flatMap(\.offsets))
        #expect(gone.count >= 8)
        var step = 1
        while true {
            let scratch = try broken.copy()
            do {
                _ = try repair(scratch, killedAt: step)
                break
            } catch let error as LogError {
                #expect(error.message == "killed")
            }
            _ = try repair(scratch)
            #expect(try damage(scratch).isEmpty, "step \(step)")
            #expect(try read(scratch.path) == good.filter { !gone.contains($0.key) }, "step \(step)")
            #expect(Set(try LogDirectory.gaps(scratch.path).flatMap(\.offsets)) == gone, "step \(step)")
            for name in try whole.segments { #expect(try scratch.bytes(name) == whole.bytes(name)) }
            step += 1
        }
        #expect(step > 8)
    }

    @Test func aSecondRepairAddsToTheManifest() throws {
        let scratch = try closedLog()
        let good = try read(scratch.path)
        var gone: Set<Int64> = []
        for _ in 0..<2 {
            // The same byte of the same file twice: the second copy gets a name of its own.
            let name = try scratch.segments[1]
            var bytes = try scratch.bytes(name)
            bytes[200] ^= 1
            try scratch.write(bytes, to: name)
            gone.formUnion(try repair(scratch).gaps.flatMap(\.offsets))
        }
        #expect(gone.count == 4)
        let copies = try FileManager.default.contentsOfDirectory(
            atPath: scratch.path.appending("quarantine").string)
        #expect(copies.count == 2)
        try expectMended(scratch, good, gone, "twice")
    }

    @Test func metaAndManifestAreMadeAnew() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(segmentBytes: 700, generation: 3)
        for index in 0..<9 {
            if index == 4 { try writer.startGeneration(7) }
            try writer.append(["a\(index)"])
        }
        let id = writer.logID
        try writer.close()
        let name = try scratch.segments[1]
        var bytes = try scratch.bytes(name)
        bytes[200] ^= 1
        try scratch.write(bytes, to: name)
        let gone = Set(try repair(scratch).gaps.flatMap(\.offsets))
        try scratch.write([1, 2, 3], to: "gaps")
        try scratch.write([1, 2, 3], to: "log.meta")
        #expect(throws: LogError.self) { try scratch.open() }
        let lock = try scratch.lock()
        let found = try LogVerification.run(scratch.path, holding: lock, inspect: { _ in nil })
        let report = try LogRepair(scratch.path).run(
            found, holding: lock, now: 5, knownID: { id }, willCommit: { _ throws(LogError) in })
        #expect(report.renewedMeta && !report.hasNewID)
        #expect(Set(try LogDirectory.gaps(scratch.path).flatMap(\.offsets)) == gone)
        #expect(try LogDirectory.logID(scratch.path) == id)
        let generations = try LogDirectory.generations(scratch.path)
        #expect(
            Array(generations.prefix(2)) == [
                Generation(number: 3, firstOffset: 0), Generation(number: 7, firstOffset: 4),
            ])
        #expect(generations.count == 3 && generations[2].number > 7 && generations[2].firstOffset == 9)
        #expect(try damage(scratch).isEmpty)
    }

    @Test func aLaterVersionIsLeftAlone() throws {
        let scratch = try closedLog()
        let found = try LogVerification.run(scratch.path) { $0.offset == 3 ? .version("of version 9") : nil }
        #expect(found.allDamage.map(\.kind) == [.version])
        let lock = try scratch.lock()
        let error = #expect(throws: LogError.self) {
            try LogRepair(scratch.path).run(
                found, holding: lock, now: 0, knownID: { nil }, willCommit: { _ throws(LogError) in })
        }
        #expect(error?.code == .unsupportedVersion)
    }

    @Test func aManifestAddsUp() {
        var gaps = LogGaps()
        func gap(_ offsets: Range<Int64>) -> LogGap {
            LogGap(offsets: offsets, segment: 0, position: 0, byteCount: 0, repaired: 0)
        }
        for offsets: Range<Int64> in [10..<12, 4..<6, 5..<11, 20..<21, 0..<30] { gaps.insert(gap(offsets)) }
        #expect(gaps.entries.flatMap { Array($0.offsets) } == Array(0..<30))
        #expect(gaps.covers(0..<30) && !gaps.covers(29..<31) && gaps.end(from: 7) == 30)
        #expect(gaps.end(from: 30) == 30 && gaps.reach(30, from: 3) && !gaps.reach(3, from: 30))
    }
}
