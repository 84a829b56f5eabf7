import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// Disks that are full, read-only or damaged: the program says so and ends; afterwards nothing is missing.
@Suite(.serialized) struct DiskFaultTests {
    private static let rounds = 3

    /// Damage done to the files of a killed pipeline.
    enum Damage: String, CaseIterable, CustomTestStringConvertible {
        case tornBatch = "last batch torn"
        case halfBatch = "half a batch behind the last"
        case indexesMissing = "indexes missing"
        case indexesWrong = "indexes wrong"
        case knownStateWrong = "known state wrong"
        case knownStateMissing = "known state missing"

        var testDescription: String { rawValue }
    }

    private static let pipeline = """
        name: disk
        source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
        log: {directory: "${MILLRACE_DATA}", segment: 4KiB}
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """

    @Test(arguments: Damage.allCases) func damageIsMended(_ damage: Damage) async throws {
        let seed = FaultSetting.seed
        let rounds = FaultSetting.rounds(DiskFaultTests.rounds)
        try await TestBed.with { bed in
            let writer = RecordingWriter(seed: seed)
            // With retention the log does not hold what the states say.
            let retain = damage == .knownStateWrong ? "segment: 4KiB, retain: {bytes: 8KiB}" : "segment: 4KiB"
            let site = try await FaultSite.start(
                bed, DiskFaultTests.pipeline.replacing("segment: 4KiB", with: retain), writer)
            try await bed.withWriter { try await $0.create("/t", "0") }
            try await site.launch()
            try await site.waitForContact()
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            var random = SeededGenerator(seed: seed)
            for _ in 0..<rounds {
                try await Task.sleep(for: .milliseconds(Int.random(in: 300...900, using: &random)))
                site.running?.process.kill()
                _ = try await site.running?.exit()
                try DiskFaultTests.apply(damage, bed.dataDirectory + "/disk", &random)
                try await site.launch()
                try await site.waitForContact()
            }
            try await Task.sleep(for: .milliseconds(200))
            writer.stop()
            try await writing
            var report = try await FaultReport.settled(bed, writer.final)
            report.print(damage.rawValue, rounds: rounds, acknowledged: writer.acknowledged)
            if damage == .tornBatch {
                // What the log has lost is read again, and told again.
                report.duplicated = 0
                // Nothing remembers a node that was made in the lost end and deleted before the next start; only a
                // comparison finds its key.
                if report.resurrected > 0 {
                    #expect(try await site.stop() == 0)
                    _ = try await bed.output("verify", site.file, "--repair")
                    report = try await FaultReport.settled(bed, writer.final)
                    report.duplicated = 0
                    #expect(report == .clean, "after verify --repair: \(report)")
                    return
                }
            }
            #expect(
                report == .clean, "\(damage.rawValue), seed \(seed): \(report)\n\(site.errors.suffix(3000))")
            #expect(try await site.stop() == 0)
        }
    }

    private static func files(_ log: String, _ suffix: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: log)) ?? []
        return names.filter { $0.hasSuffix(suffix) }.sorted().map { "\(log)/\($0)" }
    }

    private static func apply(_ damage: Damage, _ log: String, _ random: inout SeededGenerator) throws {
        switch damage {
        case .tornBatch:
            let segment = try #require(files(log, ".lz4").last)
            let size = try Data(contentsOf: URL(fileURLWithPath: segment)).count
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: segment))
            try file.truncate(atOffset: UInt64(max(0, size - Int.random(in: 1...150, using: &random))))
        case .halfBatch:
            let segment = try #require(files(log, ".lz4").last)
            let bytes = try Data(contentsOf: URL(fileURLWithPath: segment))
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: segment))
            try file.seekToEnd()
            try file.write(contentsOf: bytes.prefix(Int.random(in: 1...140, using: &random)))
        case .indexesMissing:
            for file in files(log, ".index") { try FileManager.default.removeItem(atPath: file) }
        case .indexesWrong:
            for file in files(log, ".index") { try scribble(file, &random) }
        case .knownStateWrong:
            // The newer of the two: the older one and the records behind it say the same.
            if let newest = files(log + "/known", ".state").last { try scribble(newest, &random) }
        case .knownStateMissing:
            for file in files(log + "/known", ".state") { try FileManager.default.removeItem(atPath: file) }
        }
    }

    private static func scribble(_ path: String, _ random: inout SeededGenerator) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        guard !bytes.isEmpty else { return }
        bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        try bytes.write(to: URL(fileURLWithPath: path))
    }

    /// Damage behind which whole batches lie is never skipped: the pipeline ends, and says where.
    @Test func aFlippedByteInAClosedSegment() async throws {
        try await TestBed.with { bed in
            let writer = RecordingWriter(seed: 3)
            let site = try await FaultSite.start(bed, DiskFaultTests.pipeline, writer)
            try await bed.withWriter { try await $0.create("/t", "0") }
            try await site.launch()
            try await site.waitForContact()
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            try await Task.sleep(for: .seconds(1))
            writer.stop()
            try await writing
            #expect(try await FaultReport.settled(bed, writer.final) == .clean)
            #expect(try await site.running?.stop() == 0)

            let segments = DiskFaultTests.files(bed.dataDirectory + "/disk", ".lz4")
            let victim = URL(fileURLWithPath: try #require(segments.dropFirst().first))
            let sound = try Data(contentsOf: victim)
            var damaged = sound
            damaged[damaged.count / 2] ^= 0x10
            try damaged.write(to: victim)
            // Redis has lost all: the log is needed from its start.
            _ = try await bed.redis("FLUSHALL")
            try await site.launch()
            #expect(try await site.running?.exit() == 1)
            #expect(site.errors.contains(victim.lastPathComponent) && site.errors.contains("at byte"))
            try sound.write(to: victim)
            try await site.launch()
            let report = try await FaultReport.settled(bed, writer.final)
            report.print("byte flipped in a closed segment", rounds: 1, acknowledged: writer.acknowledged)
            #expect(report == .clean)
            #expect(try await site.stop() == 0)
        }
    }

    private enum SmallDiskFault { case full, readOnly }

    /// Exit code 3 and a message that names file and reason; once there is room, nothing is missing.
    @Test func aFullDisk() async throws { try await onASmallDisk(.full) }
    @Test func aReadOnlyDirectory() async throws { try await onASmallDisk(.readOnly) }

    private func onASmallDisk(_ fault: SmallDiskFault) async throws {
        let seed = FaultSetting.seed
        let rounds = FaultSetting.rounds(DiskFaultTests.rounds)
        try await TestBed.with { bed in
            let disk = try SmallDisk(at: bed.dataDirectory)
            defer { disk.unmount() }
            let writer = RecordingWriter(seed: seed)
            let site = try await FaultSite.start(bed, DiskFaultTests.pipeline, writer)
            try await bed.withWriter { try await $0.create("/t", "0") }
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            let reason = fault == .full ? "No space left on device" : "Read-only file system"
            for _ in 0..<rounds {
                try await site.launch()
                try await site.waitForContact()
                try await Task.sleep(for: .milliseconds(300))
                if fault == .full {
                    try disk.fill()
                    try await DiskFaultTests.expectEnd(of: site, reason)
                } else {
                    #expect(try await site.running?.stop() == 0)
                    try disk.remount(readOnly: true)
                }
                // A start does not get further either, and breaks nothing.
                try await site.launch()
                try await DiskFaultTests.expectEnd(of: site, reason)
                try fault == .full ? disk.empty() : disk.remount(readOnly: false)
            }
            try await site.launch()
            try await site.waitForContact()
            writer.stop()
            try await writing
            let report = try await FaultReport.settled(bed, writer.final)
            report.print(
                fault == .full ? "disk full" : "disk read-only", rounds: rounds,
                acknowledged: writer.acknowledged)
            #expect(report == .clean, "seed \(seed): \(report)\n\(site.errors.suffix(3000))")
            #expect(try await site.stop() == 0)
        }
    }

    private static func expectEnd(of site: FaultSite, _ reason: String) async throws {
        let status = try await site.running?.exit(within: .seconds(30))
        let message = site.errors.split(separator: "\n").last ?? ""
        #expect(status == 3 && message.contains(reason) && message.contains("/disk/"), "\(site.errors)")
    }
}

/// A small file system in memory.
private struct SmallDisk {
    private let path: String
    private var filler: String { "\(path)/filler" }

    init(at path: String) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try SmallDisk.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", path)
    }

    private static func run(_ arguments: String...) throws {
        let directory = try TemporaryDirectory()
        let words = geteuid() == 0 ? arguments : ["sudo", "-n"] + arguments
        let process = try ServerProcess(
            executable: words[0], arguments: Array(words.dropFirst()), logFile: "\(directory.path)/out")
        guard try process.waitBlocking(timeout: .seconds(20)) == 0 else {
            let text = (try? String(contentsOfFile: "\(directory.path)/out", encoding: .utf8)) ?? ""
            throw TestServerError("\(words.joined(separator: " ")): \(text)")
        }
    }

    func remount(readOnly: Bool) throws {
        try SmallDisk.run("mount", "-o", "remount,\(readOnly ? "ro" : "rw")", path)
    }

    func fill() throws {
        try Data().write(to: URL(fileURLWithPath: filler))
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: filler))
        let page = Data(repeating: 0, count: 4096)
        while (try? file.write(contentsOf: page)) != nil {}
        try? file.close()
    }

    func empty() throws { try FileManager.default.removeItem(atPath: filler) }

    func unmount() { try? SmallDisk.run("umount", "-l", path) }
}
