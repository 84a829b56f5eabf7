import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// What was refused: listed, shown, tried again, removed.
@Suite(.serialized) struct DeadLetterTests {
    /// One field of a hash, for that is refused where a list lies (a plain SET would replace the list).
    private static let keys = pipeline(
        "keys: {redis: \"${REDIS}\", write: hash, key: \"k:{path}\", field: data}")

    private static func pipeline(_ sinks: String, rules: String? = nil) -> String {
        """
        name: refused
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        \(rules.map { "transform:\n  - rules:\n\($0)" } ?? "")
        sinks:
          \(sinks)
        """
    }

    @Test func oneOfAWrongTypeIsSetAsideShownAndReplayed() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(DeadLetterTests.keys)
            #expect(try await bed.output("dead-letters", "list", file) == "no dead letters\n")
            #expect(try await bed.output("dead-letters", "list", file, "--json") == "[]\n")
            #expect(try await bed.output("dead-letters", "replay", file, "--all") == "no dead letters\n")
            _ = try await bed.redis("LPUSH", "k:/t/n2", "x")
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<5 { try await writer.create("/t/n\(index)", "v\(index)") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            for index in [0, 1, 3, 4] {
                #expect(try await bed.redis("HGET", "k:/t/n\(index)", "data").string == "v\(index)")
            }
            let listed = try await bed.letters(file)
            #expect(listed.count == 1)
            let first = try #require(listed.first)
            #expect(first["number"] as? Int == 0 && first["path"] as? String == "/t/n2")
            #expect(first["sink"] as? String == "keys" && first["stage"] as? String == "delivery")
            #expect((first["reason"] as? String)?.contains("WRONGTYPE") == true)
            let table = try await bed.output("dead-letters", "list", file)
            #expect(table.hasPrefix("NUMBER") && table.hasSuffix("\n1 dead letter\n"), "\(table)")
            #expect(try await bed.letters(file, "--stage", "transform").isEmpty)
            #expect(try await bed.letters(file, "--sink", "other").isEmpty)

            let shown = try await bed.document("dead-letters", "show", file, "0", "--json")
            #expect((shown["change"] as? [String: Any])?["after"] as? String == "v2")
            #expect(try await bed.output("dead-letters", "show", file, "0").contains("\"after\":\"v2\""))
            _ = try await bed.output("dead-letters", "show", file, "9", status: 3)
            _ = try await bed.output("dead-letters", "replay", file, status: 64)
            _ = try await bed.output("dead-letters", "replay", file, "9", status: 3)

            // The cause is still there.
            let again = try await bed.output("dead-letters", "replay", file, "--all", status: 1)
            #expect(again.contains("refused again") && again.contains("WRONGTYPE"), "\(again)")
            #expect(try await bed.letters(file).count == 1)

            _ = try await bed.redis("DEL", "k:/t/n2")
            let before = try await bed.hash("millrace:refused:keys")
            _ = try await bed.output("dead-letters", "replay", file, "0", "--dry-run")
            #expect(try await bed.redis("EXISTS", "k:/t/n2").int == 0)
            let report = try await bed.document("dead-letters", "replay", file, "0", "--json")
            #expect(report["delivered"] as? Int == 1)
            #expect(try await bed.redis("HGET", "k:/t/n2", "data").string == "v2")
            let after = try await bed.hash("millrace:refused:keys")
            for field in ["p", "c", "z", "l", "g"] { #expect(after[field] == before[field]) }
            #expect(after["e"].flatMap { Int($0) } == before["e"].flatMap { Int($0) }.map { $0 + 1 })
            #expect(after["o"] != before["o"])

            // Dealt with once and for all.
            #expect(try await bed.letters(file).isEmpty)
            #expect(try await bed.letters(file, "--resolved").first?["state"] as? String == "delivered")
            #expect(try await bed.letters(file, "--all-states").count == 1)
            _ = try await bed.redis("HSET", "k:/t/n2", "data", "by hand")
            #expect(try await bed.output("dead-letters", "replay", file, "--all") == "no dead letters\n")
            #expect(try await bed.output("dead-letters", "replay", file, "0").contains("already delivered"))
            #expect(try await bed.redis("HGET", "k:/t/n2", "data").string == "by hand")
        }
    }

    @Test func aLaterChangeSupersedes() async throws {
        try await TestBed.with { bed in
            let rules = "      - {match: \"/t/{group}/{name}\"}"
            let file = try bed.definition(
                DeadLetterTests.pipeline(
                    "keys: {redis: \"${REDIS}\", write: hash, key: \"k:{name}\", field: data}", rules: rules))
            for key in ["k:x", "k:y", "k:z"] { _ = try await bed.redis("LPUSH", key, "list") }
            try await bed.withWriter { writer in
                for path in ["/t", "/t/a", "/t/b"] { try await writer.create(path, "") }
                for name in ["x", "y", "z"] { try await writer.create("/t/a/\(name)", "old") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.letters(file).count == 3)
            for key in ["k:x", "k:y", "k:z"] { _ = try await bed.redis("DEL", key) }
            try await bed.withWriter { writer in
                try await writer.set("/t/a/x", "new")
                // Another node of the same key.
                try await writer.create("/t/b/y", "new")
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            let report = try await bed.document("dead-letters", "replay", file, "--all", "--json")
            #expect(report["superseded"] as? Int == 2 && report["delivered"] as? Int == 1)
            #expect(try await bed.redis("HGET", "k:x", "data").string == "new")
            #expect(try await bed.redis("HGET", "k:y", "data").string == "new")
            #expect(try await bed.redis("HGET", "k:z", "data").string == "old")
            #expect(try await bed.letters(file).isEmpty)
            let states = try await bed.letters(file, "--resolved").compactMap { $0["state"] as? String }
            #expect(states.sorted() == ["delivered", "superseded", "superseded"])
        }
    }

    @Test func aStreamThatRefusedEverythingIsFilledByAReplay() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                DeadLetterTests.pipeline("changes: {redis: \"${REDIS}\", write: stream, key: changes}"))
            _ = try await bed.redis("SET", "changes", "no stream")
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<3 { try await writer.create("/t/n\(index)", "\(index)") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.letters(file).count == 4)
            _ = try await bed.redis("DEL", "changes")
            _ = try await bed.output("dead-letters", "replay", file, "1", "0")
            _ = try await bed.output("dead-letters", "replay", file, "--all")
            let replayed = try await bed.stream("changes")
            #expect(replayed.map { $0.fields["replayed_offset"] } == ["0", "1", "2", "3"])
            try await bed.withWriter { try await $0.create("/t/after", "x") }
            _ = try await bed.output("run", "--until-caught-up", file)
            let all = try await bed.stream("changes")
            #expect(all.count == 5 && all.last?.fields["path"] == "/t/after")
            #expect(all.last?.id == "5-0")
            #expect(try await bed.letters(file, "--all-states").count == 4)
        }
    }

    private static let jsonRule = """
              - match: "/t/{name}"
                decode: json
                set: {host: "{value.host}"}
        """
    private static let mendedRule = """
              - match: "/t/{name}"
                decode: text
                set: {host: "{value}"}
        """

    /// The IDs stay in order, and a replay that could not note what it did does it once all the same.
    @Test func aMendedRuleDeliversIntoAStreamOnce() async throws {
        try await TestBed.with { bed in
            let sinks = "changes: {redis: \"${REDIS}\", write: stream, key: changes}"
            let file = try bed.definition(DeadLetterTests.pipeline(sinks, rules: DeadLetterTests.jsonRule))
            let mended = try bed.definition(
                DeadLetterTests.pipeline(sinks, rules: DeadLetterTests.mendedRule))
            let json = #"{"host":"h"}"#
            try await bed.capture(
                file,
                [("/t", ""), ("/t/a", json), ("/t/b", "broken"), ("/t/c", "broken too"), ("/t/d", json)])
            #expect(try await bed.stream("changes").count == 2)
            let letters = try await bed.letters(file, "--stage", "transform")
            #expect(letters.map { $0["path"] as? String } == ["/t/b", "/t/c"])
            let shown = try await bed.document("dead-letters", "show", file, "0", "--json")
            #expect((shown["rule"] as? [String: Any])?["number"] as? Int == 1)
            let refused = try await bed.output("dead-letters", "replay", file, "--all", status: 1)
            #expect(refused.contains("2 refused again"), "\(refused)")

            // The same changes refused once more, as after a crash before the checkpoint was confirmed.
            _ = try await bed.redis("HSET", "millrace:refused:changes", "c", "0")
            let early = try await bed.output("dead-letters", "replay", mended, "--all", status: 1)
            #expect(early.contains("the next run delivers it"), "\(early)")
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.letters(file).count == 4)
            #expect(try await bed.stream("changes").count == 2)

            let notes = bed.dataDirectory + "/refused/dead-letters"
            try FileManager.default.copyItem(atPath: notes, toPath: bed.directory.path + "/saved")
            let report = try await bed.document("dead-letters", "replay", mended, "--all", "--json")
            #expect(report["delivered"] as? Int == 4)
            // As if it had been killed between its transaction and its notes.
            try FileManager.default.removeItem(atPath: notes)
            try FileManager.default.moveItem(atPath: bed.directory.path + "/saved", toPath: notes)
            let second = try await bed.document("dead-letters", "replay", mended, "--all", "--json")
            #expect(second["delivered"] as? Int == 4)
            #expect(try await bed.letters(file).isEmpty)

            try await bed.withWriter { try await $0.create("/t/e", json) }
            _ = try await bed.output("run", "--until-caught-up", file)
            let entries = try await bed.stream("changes")
            #expect(entries.map { $0.fields["path"] } == ["/t/a", "/t/d", "/t/b", "/t/c", "/t/e"])
            #expect(entries.map { $0.fields["replayed_offset"] } == [nil, nil, "2", "3", nil])
            #expect(entries.map(\.id) == ["2-0", "5-0", "5-1", "5-2", "6-0"])
            #expect(entries[2].fields["host"] == "broken")
        }
    }

    @Test func aReplayThatIsKilledDeliversEachOnce() async throws {
        try await TestBed.with { bed in
            let sinks = "changes: {redis: \"${REDIS}\", write: stream, key: changes}"
            let file = try bed.definition(DeadLetterTests.pipeline(sinks, rules: DeadLetterTests.jsonRule))
            let mended = try bed.definition(
                DeadLetterTests.pipeline(sinks, rules: DeadLetterTests.mendedRule))
            let count = 3000
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<count { try await writer.create("/t/n\(index)", "broken") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.letters(file).count == count)
            // Killed as soon as a transaction has gone through: often before it could be noted.
            for _ in 0..<12 {
                let before = try await bed.redis("XLEN", "changes").int ?? 0
                let replay = try bed.millrace("dead-letters", "replay", mended, "--all")
                let deadline = ContinuousClock.now + .seconds(20)
                while replay.process.isRunning, ContinuousClock.now < deadline,
                    try await bed.redis("XLEN", "changes").int == before
                {}
                replay.process.kill()
                _ = try await replay.exit()
            }
            _ = try await bed.output("dead-letters", "replay", mended, "--all")
            let entries = try await bed.stream("changes")
            #expect(entries.count == count)
            #expect(Set(entries.compactMap { $0.fields["path"] }).count == count)
            #expect(try await bed.letters(file).isEmpty)
        }
    }

    /// What retention has removed may have held a later change.
    @Test func aKeyIsNotWrittenWhereTheLogTellsTooLittle() async throws {
        try await TestBed.with { bed in
            let definition = DeadLetterTests.keys.replacingOccurrences(
                of: "${MILLRACE_DATA}\"", with: "${MILLRACE_DATA}\", segment: 4KiB")
            let file = try bed.definition(definition)
            _ = try await bed.redis("LPUSH", "k:/t", "x")
            try await bed.capture(
                file,
                [("/t", "")] + (0..<100).map { ("/t/n\($0)", UUID().uuidString + UUID().uuidString) })
            #expect(try await bed.letters(file).count == 1)
            _ = try await bed.redis("DEL", "k:/t")
            try FileManager.default.removeItem(
                atPath: bed.dataDirectory + "/refused/00000000000000000000.lz4")
            let output = try await bed.output("dead-letters", "replay", file, "--all", status: 1)
            #expect(output.contains("the log begins at offset"), "\(output)")
            #expect(try await bed.redis("EXISTS", "k:/t").int == 0)
        }
    }

    @Test func aRunningPipelineIsLeftAlone() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(DeadLetterTests.keys)
            _ = try await bed.redis("LPUSH", "k:/t/n", "x")
            let run = try bed.millrace("run", file)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/n", "1")
            }
            try await eventually("it is refused") { try await bed.letters(file).count == 1 }
            let pid = "process \(run.process.processIdentifier)"
            let replay = try bed.millrace("dead-letters", "replay", file, "--all")
            #expect(try await replay.exit() == 3)
            #expect(replay.errors.contains(pid), "\(replay.errors)")
            let purge = try bed.millrace("dead-letters", "purge", file, "--all", "--execute")
            #expect(try await purge.exit() == 3)
            #expect(purge.errors.contains(pid), "\(purge.errors)")
            #expect(try await bed.output("dead-letters", "purge", file, "--all").contains("--execute"))
            let dry = try await bed.output("dead-letters", "replay", file, "--all", "--dry-run")
            #expect(dry.contains("1 to be tried"), "\(dry)")
            try await bed.withWriter { try await $0.create("/t/more", "2") }
            try await eventually("it goes on") {
                try await bed.redis("HGET", "k:/t/more", "data").string == "2"
            }
            #expect(try await run.stop() == 0)
            _ = try await bed.redis("DEL", "k:/t/n")
            bed.redis.kill()
            let unreachable = try bed.millrace("dead-letters", "replay", file, "--all")
            #expect(try await unreachable.exit() == 3)
            #expect(try await bed.letters(file).count == 1)
        }
    }

    @Test func purgedOnesGoAndTheOthersKeepTheirNumbers() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(DeadLetterTests.keys)
            for index in 0..<4 { _ = try await bed.redis("LPUSH", "k:/t/n\(index)", "x") }
            try await bed.capture(
                file, [("/t", "")] + (0..<3).map { ("/t/n\($0)", "secret\($0)") })
            #expect(try await bed.output("dead-letters", "purge", file, "1").contains("--execute does it"))
            #expect(try await bed.letters(file).count == 3)
            _ = try await bed.output("dead-letters", "purge", file, status: 64)
            _ = try await bed.output("dead-letters", "purge", file, "7", "--execute", status: 3)
            _ = try await bed.redis("DEL", "k:/t/n2")
            _ = try await bed.output("dead-letters", "replay", file, "2")
            let gone = try await bed.output("dead-letters", "purge", file, "1", "--execute")
            #expect(gone.hasSuffix("1 dead letter removed\n"), "\(gone)")
            #expect(try await bed.numbers(file, "--all-states") == [0, 2])
            #expect(try await bed.numbers(file, "--resolved") == [2])
            _ = try await bed.output("dead-letters", "show", file, "1", status: 3)
            let segment = bed.dataDirectory + "/refused/dead-letters/00000000000000000000.lz4"
            let check = try ServerProcess(
                executable: "lz4", arguments: ["-dc", segment], logFile: bed.directory.path + "/raw")
            #expect(try await check.waitForExit(timeout: .seconds(10)) == 0)
            let raw = try Data(contentsOf: URL(fileURLWithPath: bed.directory.path + "/raw"))
            #expect(raw.range(of: Data("secret1".utf8)) == nil && raw.range(of: Data("secret0".utf8)) != nil)

            try await bed.withWriter { try await $0.create("/t/n3", "3") }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.numbers(file) == [0, 3])
            let resolved = try await bed.output(
                "dead-letters", "purge", file, "--all", "--resolved", "--execute")
            #expect(resolved.hasSuffix("1 dead letter removed\n"), "\(resolved)")
            let none = try await bed.document(
                "dead-letters", "purge", file, "--before", "-1h", "--execute", "--json")
            #expect((none["dead_letters"] as? [Any])?.isEmpty == true)
            #expect(try await bed.numbers(file, "--all-states") == [0, 3])
            _ = try await bed.output("dead-letters", "purge", file, "--all", "--execute")
            #expect(try await bed.output("dead-letters", "list", file) == "no dead letters\n")
        }
    }

    @Test func standardOutputIsGivenItToo() async throws {
        try await TestBed.with { bed in
            let sinks = "console: {write: stdout}"
            let file = try bed.definition(DeadLetterTests.pipeline(sinks, rules: DeadLetterTests.jsonRule))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/a", "broken")
            }
            #expect(try await bed.output("run", "--until-caught-up", file) == "")
            let mended = try bed.definition(
                DeadLetterTests.pipeline(sinks, rules: DeadLetterTests.mendedRule))
            let output = try await bed.output("dead-letters", "replay", mended, "--all")
            #expect(output.contains("\"after\":\"broken\"") && output.contains("1 delivered"), "\(output)")
            let dropped = try bed.definition(
                DeadLetterTests.pipeline("others: {write: stdout}", rules: DeadLetterTests.mendedRule))
            #expect(try await bed.output("dead-letters", "replay", dropped, "--all") == "no dead letters\n")
            #expect(try await bed.output("run", "--until-caught-up", mended) == "")
        }
    }
}

extension TestBed {
    /// Creates nodes under a running pipeline, which keeps their order, and stops it.
    fileprivate func capture(_ file: String, _ nodes: [(path: String, data: String)]) async throws {
        let run = try millrace("run", file)
        try await withWriter { writer in
            for node in nodes {
                try await writer.create(node.path, node.data)
                if node.path == "/t" {
                    try await eventually("the tree is read") { run.errors.contains("the tree is read") }
                }
            }
        }
        let log = dataDirectory + "/refused"
        try await eventually("all is captured") {
            try await output("log", "dump", log).split(separator: "\n").count >= nodes.count
        }
        #expect(try await run.stop() == 0)
    }

    fileprivate func letters(_ file: String, _ options: String...) async throws -> [[String: Any]] {
        let process = try MillraceProcess(
            ["dead-letters", "list", file, "--json"] + options, environment: environment,
            directory: directory.path)
        #expect(try await process.exit() == 0, "\(process.errors)")
        return try #require(
            try JSONSerialization.jsonObject(with: Data(process.output.utf8)) as? [[String: Any]])
    }

    fileprivate func numbers(_ file: String, _ options: String...) async throws -> [Int] {
        let process = try MillraceProcess(
            ["dead-letters", "list", file, "--json"] + options, environment: environment,
            directory: directory.path)
        #expect(try await process.exit() == 0, "\(process.errors)")
        let list = try JSONSerialization.jsonObject(with: Data(process.output.utf8)) as? [[String: Any]]
        return list?.compactMap { $0["number"] as? Int } ?? []
    }

    fileprivate func document(_ arguments: String...) async throws -> [String: Any] {
        let process = try MillraceProcess(arguments, environment: environment, directory: directory.path)
        #expect(try await process.exit() == 0, "\(process.errors)")
        return try #require(
            try JSONSerialization.jsonObject(with: Data(process.output.utf8)) as? [String: Any])
    }
}
