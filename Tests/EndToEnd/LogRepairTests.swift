import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// A damaged log: what the tools say of it, and that nothing is missing in Redis once it is repaired.
@Suite(.serialized) struct LogRepairTests {
    private static let pipeline = """
        name: mended
        source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
        log: {directory: "${MILLRACE_DATA}", segment: 16KiB}
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """

    private static func segments(_ log: String) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(atPath: log).filter { $0.hasSuffix(".lz4") }.sorted()
            .map { URL(fileURLWithPath: "\(log)/\($0)") }
    }

    /// Where the batches of a segment begin.
    private static func batches(_ file: URL) throws -> [Int] {
        let bytes = try Data(contentsOf: file)
        var places: [Int] = []
        while let place = bytes.range(
            of: Data([0x5D, 0x2A, 0x4D, 0x18]), in: (places.last ?? -1) + 1..<bytes.count)?.lowerBound
        {
            places.append(place)
        }
        return places
    }

    /// Flips a bit of the frame of the batch that lies in the file's middle, with another one behind it: a last one would
    /// be taken for a torn write by a run.
    private static func damage(_ file: URL) throws {
        var bytes = try Data(contentsOf: file)
        let places = try batches(file).dropLast()
        let place = try #require(places.isEmpty ? nil : places[places.count / 2])
        bytes[place + 136 + 25] ^= 0x10
        try bytes.write(to: file)
    }

    private static func json(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }

    /// The one log of a `--json` document.
    private static func log(_ text: String) throws -> [String: Any] {
        try #require((try json(text)["logs"] as? [[String: Any]])?.first)
    }

    private static func offsets(_ dump: String) throws -> [Int] {
        try dump.split(separator: "\n").compactMap { try json(String($0))["offset"] as? Int }
    }

    private static func ranges(_ list: Any?) -> Set<Int> {
        var offsets: Set<Int> = []
        for entry in list as? [[String: Any]] ?? [] {
            if let first = (entry["first_offset"] ?? entry["gone_first_offset"]) as? Int,
                let last = (entry["last_offset"] ?? entry["gone_last_offset"]) as? Int
            {
                offsets.formUnion(first...last)
            }
        }
        return offsets
    }

    @Test func flippedBytesAreRepairedAndNothingIsMissing() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(LogRepairTests.pipeline)
            let log = bed.dataDirectory + "/mended"
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            let expected = try await bed.withWriter { writer in
                var expected: [String: String] = [:]
                try await writer.create("/t", "")
                for index in 0..<1500 {
                    let path = "/t/n\(index % 300)"
                    let text = "\(index) \(UUID().uuidString)"
                    if index < 300 {
                        try await writer.create(path, text)
                    } else {
                        try await writer.set(path, text)
                    }
                    expected[path] = text
                }
                for index in 0..<20 {
                    try await writer.delete("/t/n\(index)")
                    expected["/t/n\(index)"] = nil
                }
                return expected
            }
            try await eventually("all arrives") {
                try await bed.redis("GET", "k:/t/n299").string == expected["/t/n299"]
            }
            let refused = try bed.millrace("log", "repair", log)
            #expect(try await refused.exit() == 3)
            #expect(refused.errors.contains("process \(run.process.processIdentifier)"), "\(refused.errors)")
            #expect(try await bed.output("log", "verify", log).contains("sound"), "beside the writer")
            #expect(try await run.stop() == 0)

            let before = try LogRepairTests.offsets(try await bed.output("log", "dump", log))
            let segments = try LogRepairTests.segments(log)
            #expect(segments.count > 3)
            try LogRepairTests.damage(segments[1])
            let last = try segments.last { try LogRepairTests.batches($0).count > 1 }
            try LogRepairTests.damage(try #require(last))

            let text = try await bed.output("log", "verify", log, status: 1)
            #expect(text.contains(segments[1].lastPathComponent) && text.contains("batch "), "\(text)")
            let found = try LogRepairTests.log(
                try await bed.output("log", "verify", log, "--json", status: 1))
            let damage = try #require(found["damage"] as? [[String: Any]])
            #expect(damage.count == 2 && damage.allSatisfy { $0["byte"] is Int && $0["batch"] is Int })
            let gone = LogRepairTests.ranges(damage)
            #expect(!gone.isEmpty)

            let stopped = try bed.millrace("run", "--until-caught-up", file)
            #expect(try await stopped.exit() == 1)
            #expect(stopped.errors.contains("millrace log repair \(log)"), "\(stopped.errors)")

            let dry = try LogRepairTests.log(
                try await bed.output("log", "repair", log, "--dry-run", "--json"))
            #expect(LogRepairTests.ranges(dry["gone"]) == gone)
            #expect(
                try LogRepairTests.log(try await bed.output("log", "verify", log, "--json", status: 1))[
                    "damage"] != nil)
            let done = try LogRepairTests.log(try await bed.output("log", "repair", log, "--json"))
            #expect(LogRepairTests.ranges(done["gone"]) == gone)
            for part in try #require(done["quarantined"] as? [[String: Any]]) {
                let copy = try #require(part["copy"] as? String)
                #expect(
                    try Data(contentsOf: URL(fileURLWithPath: "\(log)/\(copy)")).count == part["bytes"]
                        as? Int)
            }
            let sound = try LogRepairTests.log(try await bed.output("log", "verify", log, "--json"))
            #expect(LogRepairTests.ranges(sound["gaps"]) == gone)
            let after = try LogRepairTests.offsets(try await bed.output("log", "dump", log))
            #expect(after == before.filter { !gone.contains($0) })

            // Redis has lost all: what comes is from the log and from the tree.
            _ = try await bed.redis("FLUSHALL")
            _ = try await bed.output("replay", file, "--state", status: 1)
            #expect(try await bed.redis("DBSIZE").int == 0)
            _ = try await bed.output("run", "--until-caught-up", file)
            _ = try await bed.output("replay", file, "--state")
            for (path, text) in expected {
                #expect(try await bed.redis("GET", "k:\(path)").string == text, "\(path)")
            }
            #expect(try await bed.strings("KEYS", "k:*").count == expected.count + 1)
            #expect(try await bed.output("log", "verify", log).hasSuffix("sound\n"))
        }
    }

    /// Nothing new comes behind the lost offsets: deliveries step over them all the same.
    @Test func theLastBatchIsGone() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(LogRepairTests.pipeline)
            let log = bed.dataDirectory + "/mended"
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<50 { try await writer.create("/t/n\(index)", "\(index)") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            let segment = try #require(try LogRepairTests.segments(log).last)
            let size = try Data(contentsOf: segment).count
            let end = try #require(
                try LogRepairTests.json(try await bed.output("log", "stat", log, "--json"))["end_offset"]
                    as? Int)
            try FileHandle(forUpdating: segment).truncate(atOffset: UInt64(size - 3))
            _ = try await bed.output("log", "verify", log, status: 1)
            let done = try LogRepairTests.log(try await bed.output("log", "repair", log, "--json"))
            let gone = LogRepairTests.ranges(done["gone"])
            let stat = try LogRepairTests.json(try await bed.output("log", "stat", log, "--json"))
            #expect(stat["end_offset"] as? Int == end)
            #expect(LogRepairTests.ranges(stat["gaps"]) == gone)
            _ = try await bed.redis("FLUSHALL")
            _ = try await bed.output("run", "--until-caught-up", file)
            for index in 0..<50 { #expect(try await bed.redis("GET", "k:/t/n\(index)").string == "\(index)") }
            // The tree is as the log knows it; the offsets that are gone are the last once more.
            let again = try bed.millrace("run", "--until-caught-up", file)
            #expect(try await again.exit(within: .seconds(30)) == 0)
        }
    }

    @Test func deadLettersAreVerifiedAndRepaired() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                """
                name: mended
                source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
                log: {directory: "${MILLRACE_DATA}"}
                transform: [{rules: [{match: "/t/{id}", decode: json}]}]
                sinks: {keys: {redis: "${REDIS}", write: string, key: "k:{id}"}}
                """)
            let log = bed.dataDirectory + "/mended"
            try await bed.withWriter { try await $0.create("/t", "") }
            for round in 0..<3 {
                try await bed.withWriter { try await $0.create("/t/n\(round)", "{") }
                _ = try await bed.output("run", "--until-caught-up", file)
            }
            #expect(try await bed.output("log", "verify", log).contains("dead-letters"))
            let segment = try #require(try LogRepairTests.segments(log + "/dead-letters").first)
            try LogRepairTests.damage(segment)
            let text = try await bed.output("log", "verify", log, status: 1)
            #expect(text.contains("dead-letters") && text.contains("damage    "), "\(text)")
            _ = try await bed.output("log", "repair", log)
            _ = try await bed.output("log", "verify", log)
            let list = try await bed.output("dead-letters", "list", file)
            #expect(list.contains("2 dead letters"), "\(list)")
        }
    }
}
