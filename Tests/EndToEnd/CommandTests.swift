import Foundation
import TestServers
import Testing
import ZooKeeperClient

/// The commands as a person meets them: output, exit codes, messages.
@Suite(.serialized) struct CommandTests {
    @Test func offsetsAndLog() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                """
                name: looked-at
                source:
                  zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
                log: {directory: "${MILLRACE_DATA}", segment: 64KiB}
                sinks:
                  keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
                  console: {write: stdout}
                """)
            let before = try CommandTests.json(try await bed.output("offsets", "show", file, "--json"))
            let untouched = try #require((before["sinks"] as? [[String: Any]])?.first)
            #expect(untouched["current_offset"] is NSNull)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<2000 {
                    try await writer.create(
                        "/t/n\(index)", "\(index) " + UUID().uuidString + UUID().uuidString)
                }
            }
            let printed = try await bed.output("run", "--until-caught-up", file)
            let lines = printed.split(separator: "\n")
            #expect(lines.count == 2001)
            let first = try CommandTests.json(String(lines[0]))
            #expect(first["op"] as? String == "r")
            #expect((first["source"] as? [String: Any])?["path"] as? String == "/t")

            let report = try CommandTests.json(try await bed.output("offsets", "show", file, "--json"))
            #expect(report["pipeline"] as? String == "looked-at")
            for sink in try #require(report["sinks"] as? [[String: Any]]) {
                #expect(sink["log_start_offset"] as? Int == 0)
                #expect(sink["current_offset"] as? Int == 2001)
                #expect(sink["log_end_offset"] as? Int == 2001)
                #expect(sink["lag"] as? Int == 0)
                #expect(sink["time_lag_ms"] as? Int == 0)
            }
            let table = try await bed.output("offsets", "show", file)
            #expect(table.contains("LOG-END-OFFSET") && table.contains("2001"))

            let log = bed.dataDirectory + "/looked-at"
            let stat = try CommandTests.json(try await bed.output("log", "stat", log, "--json"))
            let segments = try #require(stat["segments"] as? [[String: Any]])
            #expect(segments.count > 1)
            let dump = try await bed.output("log", "dump", log).split(separator: "\n")
            let offsets = try dump.map { try CommandTests.json(String($0))["offset"] as? Int }
            #expect(offsets == Array(0..<2001))
            let part = try await bed.output("log", "dump", log, "--from", "1999")
            #expect(part.split(separator: "\n").count == 2)
            let last = try CommandTests.json(String(try #require(dump.last)))
            #expect((last["source"] as? [String: Any])?["snapshot"] as? String == "last")

            for segment in segments {
                let path = log + "/" + (try #require(segment["file"] as? String))
                let check = try ServerProcess(
                    executable: "lz4", arguments: ["-t", path], logFile: bed.directory.path + "/lz4")
                #expect(try await check.waitForExit(timeout: .seconds(10)) == 0)
            }
        }
    }

    @Test func everyMistakeIsReported() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/wrong.yaml"
        try """
        name: Wrong Name
        source:
          zookeeper:
            connect: "127.0.0.1:2181"
            pathes: [/t]
            session_timeout: 10 parsecs
        sinks:
          keys:
            redis: http://127.0.0.1
            write: strung
            key: "k:{path}"
        """.write(toFile: path, atomically: false, encoding: .utf8)
        let process = try MillraceProcess(
            ["validate", path], environment: ["PATH": "/usr/bin"], directory: directory.path)
        #expect(try await process.exit() == 2)
        for place in ["1:7", "5:5", "6:22", "9:12", "10:12"] {
            #expect(process.output.contains("wrong.yaml:\(place): error:"), "\(process.output)")
        }
    }

    @Test func aMissingServerIsNamed() async throws {
        try await TestBed.with { bed in
            let port = try freePort()
            let file = TestBed.shipped("quickstart")
            let started = ContinuousClock.now
            let noZooKeeper = try bed.millrace("run", file, environment: ["ZOOKEEPER": "127.0.0.1:\(port)"])
            let noRedis = try bed.millrace(
                "run", file,
                environment: [
                    "REDIS": "redis://127.0.0.1:\(port)/0", "MILLRACE_DATA": bed.directory.path + "/other",
                ])
            #expect(try await noZooKeeper.exit() == 3)
            #expect(try await noRedis.exit() == 3)
            #expect(ContinuousClock.now - started < .seconds(15))
            #expect(noZooKeeper.errors.contains("127.0.0.1:\(port)"), "\(noZooKeeper.errors)")
            #expect(noRedis.errors.contains("127.0.0.1:\(port)"), "\(noRedis.errors)")
            // Nothing is left that a later run trips over.
            _ = try await bed.output("run", "--until-caught-up", file)
        }
    }

    @Test func usage() async throws {
        let directory = try TemporaryDirectory()
        func status(_ arguments: String...) async throws -> Int32 {
            try await MillraceProcess(
                arguments, environment: ["PATH": "/usr/bin"], directory: directory.path
            ).exit()
        }
        #expect(try await status("run") == 64)
        #expect(try await status("swim") == 64)
        #expect(try await status("validate", "nowhere.yaml") == 3)
        #expect(try await status("log", "stat", "nowhere") == 3)
        #expect(try await status("--help") == 0)
    }

    @Test func testsAndMapping() async throws {
        let directory = try TemporaryDirectory()
        let file = directory.path + "/p.yaml"
        let text = """
            name: p
            source: {zookeeper: {connect: "${PLACE}", paths: [/t]}}
            transform: [{rules: [{match: "/t/{id}", decode: integer}]}]
            sinks: {keys: {redis: "redis://r", write: string, key: "k:{id}"}}
            tests:
              - {name: passes, environment: &e {PLACE: "z:1"}, input: [{path: /t/a, data: "1"}], output: {keys: [{key: "k:a", string: "1"}]}}
              - {name: "<fails>", environment: *e, input: [{path: /t/a, data: "1"}], output: {keys: [{key: "k:a", string: "2"}]}}

            """
        try text.write(toFile: file, atomically: false, encoding: .utf8)
        let environment = ["PATH": "/usr/bin"]
        let test = try MillraceProcess(
            ["test", file, "--junit", directory.path + "/junit.xml"], environment: environment,
            directory: directory.path)
        #expect(try await test.exit() == 1)
        #expect(test.output.hasSuffix("1 passed, 1 failed\n"))
        #expect(test.output.contains("FAIL  <fails> (\(file):7)"))
        #expect(test.output.contains(#"got      {key: "k:a", string: "1"}"#))
        let junit = try String(contentsOfFile: directory.path + "/junit.xml", encoding: .utf8)
        #expect(junit.contains(#"tests="2" failures="1""#))
        #expect(junit.contains("&lt;fails&gt;"))

        let map = try MillraceProcess(
            ["map", file, "--path", "/t/a", "--data", "x"],
            environment: environment.merging(["PLACE": "z:1"]) { $1 },
            directory: directory.path)
        #expect(try await map.exit() == 0)
        #expect(map.output.contains("failed: \"rule 1 (line 3)"))
        let wrong = try MillraceProcess(
            ["map", file, "--path", "t"], environment: environment.merging(["PLACE": "z:1"]) { $1 },
            directory: directory.path)
        #expect(try await wrong.exit() == 64)
    }

    @Test func createdDefinitionsAreTheShippedOnes() async throws {
        let directory = try TemporaryDirectory()
        for name in ["quickstart", "config-sync", "service-registry", "cluster-membership", "audit-stream"] {
            let process = try MillraceProcess(
                ["create", name], environment: ["PATH": "/usr/bin"], directory: directory.path)
            #expect(try await process.exit() == 0)
            #expect(process.output == (try String(contentsOfFile: TestBed.shipped(name), encoding: .utf8)))
        }
    }

    static func json(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }
}
