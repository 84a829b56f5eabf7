import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// `log dump`, and the same records without any help of ours.
@Suite(.serialized) struct LogDumpTests {
    private static let pipeline = """
        name: dumped
        source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
        log: {directory: "${MILLRACE_DATA}", segment: 16KiB}
        sinks: {keys: {redis: "${REDIS}", write: string, key: "k:{path}"}}
        """

    static func json(_ text: some StringProtocol) throws -> [String: Any] {
        try #require(
            try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }

    /// Creates nodes, some of them with data that is no text, changes and deletes some, and carries all of it.
    static func fill(_ bed: TestBed, _ file: String) async throws {
        let run = try bed.millrace("run", file)
        try await eventually("it runs") { run.errors.contains("the tree is read") }
        try await bed.withWriter { writer in
            try await writer.create("/t", "")
            for index in 0..<400 {
                let noise = (0..<60).map { _ in UInt8.random(in: 0...255) }
                _ = try await writer.create(
                    "/t/n\(index)", data: index % 3 == 0 ? noise : Array("\(index) \"é\"".utf8))
            }
            for index in 0..<100 { try await writer.set("/t/n\(index)", UUID().uuidString) }
            for index in 0..<50 { try await writer.delete("/t/n\(index)") }
        }
        try await eventually("all arrives") { try await bed.redis("GET", "k:/t/n49").string == nil }
        #expect(try await run.stop() == 0)
    }

    @Test func lz4GivesTheSameRecords() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(LogDumpTests.pipeline)
            try await LogDumpTests.fill(bed, file)
            let log = bed.dataDirectory + "/dumped"
            let names = try FileManager.default.contentsOfDirectory(atPath: log).filter {
                $0.hasSuffix(".lz4")
            }.sorted()
            #expect(names.count > 2)
            for (name, next) in zip(names, names.dropFirst()) {
                let output = bed.directory.path + "/records"
                let lz4 = try ServerProcess(
                    executable: "lz4", arguments: ["-dc", "\(log)/\(name)"], logFile: output)
                #expect(try await lz4.waitForExit(timeout: .seconds(10)) == 0)
                let first = try #require(Int(name.dropLast(4)))
                let end = try #require(Int(next.dropLast(4)))
                var records = RecordParser(Array(try Data(contentsOf: URL(fileURLWithPath: output))))
                let parsed = try records.changes()
                try FileManager.default.removeItem(atPath: output)
                let dump = try await bed.output("log", "dump", log, "--from", "\(first)", "--to", "\(end)")
                let lines = try dump.split(separator: "\n").map { try LogDumpTests.json($0) }
                #expect(lines.count == end - first && parsed.count == lines.count)
                for (index, (record, line)) in zip(parsed, lines).enumerated() {
                    #expect(line["offset"] as? Int == first + index)
                    #expect(record == RecordParser.fields(ofLine: line), "\(name), record \(index)")
                }
            }
        }
    }

    @Test func whatIsAskedForIsShown() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(LogDumpTests.pipeline)
            try await LogDumpTests.fill(bed, file)
            let log = bed.dataDirectory + "/dumped"
            func dump(_ arguments: String...) async throws -> [[String: Any]] {
                let process = try MillraceProcess(
                    ["log", "dump", log] + arguments, environment: bed.environment,
                    directory: bed.directory.path)
                #expect(try await process.exit() == 0, "\(process.errors)")
                return try process.output.split(separator: "\n").map { try LogDumpTests.json($0) }
            }
            func zxid(_ line: [String: Any]) -> Int {
                (line["source"] as? [String: Any])?["zxid"] as? Int ?? -1
            }
            let all = try await dump()
            #expect(try await dump("--op", "d").count == 50)
            #expect(
                try await dump("--op", "u,d").count == all.count { ["u", "d"].contains($0["op"] as? String) })
            #expect(try await dump("--match", "/t").count == 1)
            let some = try await dump("--match", "/t/n1", "--match", "/t/n2*")
            #expect(!some.isEmpty && some.count < all.count)
            for middle in [all[all.count / 3], all[all.count - 5]] {
                let text = "zxid:0x" + String(zxid(middle), radix: 16)
                let first = try #require(all.first { zxid($0) >= zxid(middle) }?["offset"] as? Int)
                #expect(try await dump("--from", text).first?["offset"] as? Int == first)
                #expect(try await dump("--to", text).last?["offset"] as? Int == first - 1)
            }
            #expect(try await dump("--from", "zxid:0x7fffffffffffffff").isEmpty)
            let table = try await bed.output("log", "dump", log, "--table", "--op", "d")
            let rows = table.split(separator: "\n")
            #expect(rows.count == 51 && rows[0].hasPrefix("OFFSET") && rows[0].contains("PATH"), "\(table)")
            for arguments in [["--op", "x"], ["--match", "{"], ["--from", "zxid:q"]] {
                let process = try MillraceProcess(
                    ["log", "dump", log] + arguments, environment: bed.environment,
                    directory: bed.directory.path)
                #expect(try await process.exit() == 64)
            }
        }
    }

    @Test func anExportIsImportedAsItWas() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(LogDumpTests.pipeline)
            try await LogDumpTests.fill(bed, file)
            let log = bed.dataDirectory + "/dumped"
            let export = bed.directory.path + "/export.jsonl"
            try (try await bed.output("log", "export", log)).write(
                toFile: export, atomically: false, encoding: .utf8)
            func importing(_ input: String, into directory: String) async throws -> (
                status: Int32, text: String
            ) {
                let errors = bed.directory.path + "/import"
                let process = try ServerProcess(
                    executable: "/bin/sh",
                    arguments: [
                        "-c", #""$0" log import "$1" <"$2""#, try MillraceProcess.program(), directory, input,
                    ],
                    environment: bed.environment, logFile: errors)
                let status = try await process.waitForExit(timeout: .seconds(30))
                return (status, try String(contentsOfFile: errors, encoding: .utf8))
            }
            let copy = bed.directory.path + "/copy/dumped"
            let done = try await importing(export, into: copy)
            #expect(done.status == 0, "\(done.text)")
            #expect(try await bed.output("log", "dump", copy) == bed.output("log", "dump", log))
            let again = try await bed.output("log", "export", copy)
            #expect(again == (try String(contentsOfFile: export, encoding: .utf8)))
            #expect(try await bed.output("log", "verify", copy).hasSuffix("sound\n"))

            // The pipeline goes on with it, from where its sinks are.
            try FileManager.default.removeItem(atPath: log)
            try FileManager.default.copyItem(atPath: copy, toPath: log)
            _ = try await bed.output("run", "--until-caught-up", file)

            #expect(try await importing(export, into: copy).status == 1, "not over a log")
            let lines = try String(contentsOfFile: export, encoding: .utf8).split(separator: "\n")
            for (place, wrong) in [(7, "{"), (9, "{}"), (lines.count, "")] {
                var broken = lines.map(String.init)
                broken[place - 1] = wrong
                let path = bed.directory.path + "/broken.jsonl"
                try broken.joined(separator: "\n").write(toFile: path, atomically: false, encoding: .utf8)
                let refused = try await importing(path, into: bed.directory.path + "/refused")
                #expect(refused.status == 1 && refused.text.contains("line "), "\(refused.text)")
                #expect(place == lines.count || refused.text.contains("line \(place):"), "\(refused.text)")
                let left = try FileManager.default.contentsOfDirectory(
                    atPath: bed.directory.path + "/refused")
                #expect(left.isEmpty)
            }
        }
    }

    @Test func aFollowedLogShowsChangesAsTheyCome() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(LogDumpTests.pipeline)
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            try await bed.withWriter { try await $0.create("/t", "") }
            let log = bed.dataDirectory + "/dumped"
            try await eventually("the first is there") {
                try await bed.output("log", "dump", log).contains("/t")
            }
            let follower = try bed.millrace("log", "dump", log, "--follow", "--from", "1")
            let bounded = try bed.millrace("log", "dump", log, "--follow", "--to", "300")
            // Over several segments.
            try await bed.withWriter { writer in
                for index in 0..<400 { try await writer.create("/t/n\(index)", UUID().uuidString) }
            }
            try await eventually("the last is shown") { follower.output.contains("\"/t/n399\"") }
            #expect(follower.output.split(separator: "\n").count == 400)
            #expect(try await bounded.exit() == 0)
            #expect(bounded.output.split(separator: "\n").count == 300)
            follower.process.kill()
            _ = try await follower.exit()
            #expect(try await run.stop() == 0)
        }
    }
}

/// Reads records as Documentation/log-format.md says, with nothing of ours.
private struct RecordParser {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    private mutating func integer(_ size: Int) throws -> Int {
        try #require(position + size <= bytes.count)
        var value: UInt64 = 0
        for index in (0..<size).reversed() { value = value << 8 | UInt64(bytes[position + index]) }
        position += size
        let shift = UInt64(64 - size * 8)
        return size > 2 ? Int(Int64(bitPattern: value << shift) >> Int64(shift)) : Int(value)
    }

    private mutating func counted() throws -> [UInt8] {
        let count = try integer(4)
        try #require(count >= 0 && position + count <= bytes.count)
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    /// The changes, each as its fields.
    mutating func changes() throws -> [[String: String]] {
        var found: [[String: String]] = []
        while position < bytes.count {
            let end = try integer(4) + position
            let delta = try integer(4)
            let type = try integer(1)
            if type == 1 {
                found.append(try change())
                #expect(position == end)
            }
            #expect(delta >= 0 && end <= bytes.count)
            position = end
        }
        return found
    }

    private mutating func change() throws -> [String: String] {
        var fields: [String: String] = [:]
        #expect(try integer(1) == 1)
        fields["op"] = ["", "c", "u", "d", "r"][try integer(1)]
        fields["snapshot"] = ["false", "true", "last"][try integer(1)]
        let flags = try integer(1)
        fields["zxid"] = "\(try integer(8))"
        fields["index"] = "\(try integer(4))"
        fields["ts_ms"] = "\(try integer(8))"
        fields["captured_ms"] = "\(try integer(8))"
        fields["path"] = String(decoding: try counted(), as: UTF8.self)
        if flags & 1 != 0 { fields["data"] = Data(try counted()).base64EncodedString() }
        if flags & 2 != 0 {
            fields["czxid"] = "\(try integer(8))"
            fields["mzxid"] = "\(try integer(8))"
            for _ in 0..<3 { _ = try integer(8) }
            fields["version"] = "\(try integer(4))"
            for _ in 0..<2 { _ = try integer(4) }
            fields["ephemeral_owner"] = "\(try integer(8))"
            _ = try integer(4)
        }
        return fields
    }

    /// The same of a line of `log dump`.
    static func fields(ofLine line: [String: Any]) -> [String: String] {
        var fields: [String: String] = [:]
        let source = line["source"] as? [String: Any] ?? [:]
        for name in ["ts_ms", "captured_ms", "index"] { fields[name] = (line[name] as? Int).map { "\($0)" } }
        for name in ["zxid", "czxid", "mzxid", "version", "ephemeral_owner"] {
            fields[name] = (source[name] as? Int).map { "\($0)" }
        }
        for name in ["path", "snapshot"] { fields[name] = source[name] as? String }
        fields["op"] = line["op"] as? String
        if let after = line["after"] as? String {
            let isEncoded = line["after_encoding"] as? String == "base64"
            fields["data"] = isEncoded ? after : Data(after.utf8).base64EncodedString()
        }
        return fields
    }
}
