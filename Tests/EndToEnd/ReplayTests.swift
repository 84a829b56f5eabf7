import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// The log as a memory: parts of it delivered again.
@Suite(.serialized) struct ReplayTests {
    private static func pipeline(_ sinks: String) -> String {
        """
        name: again
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - rules:
              - {match: "/t/{id}", decode: json}
        sinks:
        \(sinks)
        """
    }

    private static let keys = "  keys: {redis: \"${REDIS}\", write: hash, key: \"k:{id}\"}"
    private static let stream = "  events: {redis: \"${REDIS}\", write: stream, key: \"events\"}"

    /// Nodes that are set again and again; one in five is deleted in the end, and its twin shares the member.
    private static func write(_ writer: ZooKeeperClient, nodes: Int, rounds: Int) async throws {
        for round in 0..<rounds {
            for node in 0..<nodes {
                let text = "{\"group\": \"g\((node + round) % 7)\", \"round\": \(round), \"node\": \(node)}"
                if round == 0 {
                    try await writer.create("/t/n\(node)", text)
                } else {
                    try await writer.set("/t/n\(node)", text)
                }
            }
        }
        for node in stride(from: 0, to: nodes, by: 5) { try await writer.delete("/t/n\(node)") }
    }

    @Test func theStateRebuildsAnEmptiedRedis() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                ReplayTests.pipeline(
                    """
                    \(ReplayTests.keys)
                      groups: {redis: "${REDIS}", write: set, key: "g:{value.group}", member: "{id}"}
                    \(ReplayTests.stream)
                      console: {write: stdout}
                    """))
            try await bed.recorded(file) { try await ReplayTests.write($0, nodes: 40, rounds: 5) }
            let keys = try await bed.contents()
            #expect(keys.count == 32 + 7, "\(keys.keys)")
            let end = try await bed.endOffset("again")

            _ = try await bed.redis("FLUSHALL")
            let replay = try bed.millrace("replay", file, "--state", "--json")
            #expect(try await replay.exit() == 0, "\(replay.errors)")
            #expect(try await bed.contents() == keys)
            #expect(replay.errors.contains("sink events is skipped"))
            #expect(replay.errors.contains("--to-offset \(end) --execute"), "\(replay.errors)")
            let report = try bed.object(replay.output)
            #expect(
                (report["sinks"] as? [[String: Any]])?.map { $0["name"] as? String } == ["keys", "groups"])

            // As it says.
            _ = try await bed.output(
                "offsets", "reset", file, "--sink", "keys", "--sink", "groups", "--to-offset", "\(end)",
                "--execute")
            let run = try bed.millrace("run", "--until-caught-up", file)
            #expect(try await run.exit() == 0)
            #expect(try await bed.contents() == keys)
            for sink in ["keys", "groups", "events"] {
                #expect(try await bed.hash("millrace:again:\(sink)")["c"] == "\(end)")
            }
            // Owners are known: the last of a group takes the key with it.
            try await bed.withWriter { writer in
                for node in 0..<40 where node % 5 != 0 { try await writer.delete("/t/n\(node)") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.contents().isEmpty)
        }
    }

    @Test func aStretchGoesIntoAnotherRedis() async throws {
        try await TestBed.with { bed in
            let other = try await RedisServer.start()
            do {
                let file = try bed.definition(
                    ReplayTests.pipeline(ReplayTests.keys + "\n" + ReplayTests.stream))
                try await bed.recorded(file) { try await ReplayTests.write($0, nodes: 30, rounds: 3) }
                let all = try await bed.stream("events")
                let end = try await bed.endOffset("again")
                let from = 40
                let half = try await bed.output(
                    "replay", file, "--sink", "events", "--into", other.url, "--from", "\(from)", "--json")
                let report = try bed.object(half)
                #expect(report["from_offset"] as? Int == from && report["to_offset"] as? Int == end)
                let copy = try await bed.stream("events", at: other)
                // The node /t itself is of no rule.
                #expect(copy.map(\.id) == all.suffix(end - from).map(\.id))
                #expect(copy.map(\.fields) == all.suffix(end - from).map(\.fields))
                // Nothing is left but the entries.
                #expect(try await other.answer("KEYS", "*").array?.compactMap(\.string) == ["events"])
                #expect(try await bed.stream("events").count == all.count)

                // Some of it, under other keys of the same Redis.
                let part = try await bed.output(
                    "replay", file, "--sink", "events", "--key-prefix", "copy:", "--from", "earliest", "--op",
                    "d",
                    "--match", "/t/{id}", "--json")
                #expect(
                    ((try bed.object(part)["sinks"] as? [[String: Any]])?.first)?["delivered"] as? Int == 6)
                #expect(try await bed.stream("copy:events").count == 6)
                let dry = try bed.millrace(
                    "replay", file, "--sink", "keys", "--from", "10", "--to", "12", "--key-prefix", "x:",
                    "--dry-run")
                #expect(try await dry.exit() == 0)
                #expect(dry.output.split(separator: "\n").count == 2, "\(dry.output)")
                #expect(dry.output.contains("x:k:n9") && dry.errors.contains("2 changes would be written"))
                #expect(try await bed.redis("KEYS", "x:*").array?.isEmpty == true)

                for wrong in [
                    ["replay", file], ["replay", file, "--from", "earliest"],
                    ["replay", file, "--state", "--to", "5"],
                    ["replay", file, "--state", "--into", bed.redisURL],
                    ["replay", file, "--state", "--sink", "none"],
                    ["replay", file, "--from", "0", "--op", "x"],
                    ["replay", file, "--state", "--sink", "events"],
                    [
                        "replay", file, "--from", "0", "--sink", "keys", "--into",
                        bed.redisURL.replacing("127.0.0.1", with: "localhost"),
                    ],
                ] {
                    let process = try MillraceProcess(
                        wrong, environment: bed.environment, directory: bed.directory.path)
                    #expect(try await process.exit() == 64, "\(wrong): \(process.errors)")
                }
                _ = try await bed.output(
                    "replay", file, "--from", "\(end + 1)", "--key-prefix", "x:", status: 1)
            } catch {
                await other.stop()
                throw error
            }
            await other.stop()
        }
    }

    @Test func oneThatWasKilledGoesOn() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(ReplayTests.pipeline(ReplayTests.stream))
            try await bed.recorded(file) { try await ReplayTests.write($0, nodes: 50, rounds: 4) }
            let all = try await bed.stream("events")
            let arguments = ["replay", file, "--from", "earliest", "--key-prefix", "copy:", "--rate", "100"]
            var kills = 0
            while kills < 3 {
                let replay = try MillraceProcess(
                    arguments, environment: bed.environment, directory: bed.directory.path)
                let before = try await bed.stream("copy:events").count
                try await eventually("some of it has come") {
                    try await bed.stream("copy:events").count >= before + 20
                }
                replay.process.kill()
                _ = try? await replay.exit()
                kills += 1
            }
            // The pace is no part of what was asked for.
            let last = try await bed.output(
                "replay", file, "--from", "earliest", "--key-prefix", "copy:", "--json")
            let delivered = ((try bed.object(last)["sinks"] as? [[String: Any]])?.first)?["delivered"] as? Int
            #expect((delivered ?? .max) < all.count)
            #expect(try await bed.stream("copy:events").map(\.id) == all.map(\.id))
        }
    }

    /// By then `-6s` means a later offset.
    @Test func oneThatGoesOnLaterLeavesNothingOut() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(ReplayTests.pipeline(ReplayTests.stream))
            try await bed.recorded(file) { try await ReplayTests.write($0, nodes: 50, rounds: 1) }
            let all = try await bed.stream("events")
            let arguments = ["replay", file, "--from", "-6s", "--key-prefix", "copy:"]
            let first = try MillraceProcess(
                arguments + ["--rate", "20"], environment: bed.environment, directory: bed.directory.path)
            try await eventually("some of it has come") {
                try await bed.stream("copy:events").count >= 10
            }
            first.process.kill()
            _ = try? await first.exit()
            let begun = try await bed.stream("copy:events")
            try await Task.sleep(for: .seconds(7))
            let second = try MillraceProcess(
                arguments, environment: bed.environment, directory: bed.directory.path)
            #expect(try await second.exit() == 0, "\(second.errors)")
            let expected = all.drop { $0.id != begun.first?.id }
            #expect(begun.count < expected.count)
            #expect(try await bed.stream("copy:events").map(\.id) == expected.map(\.id))
        }
    }

    /// What `on_delete: keep` has kept comes back.
    @Test func theStateHoldsWhatWasKept() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                ReplayTests.pipeline(
                    "  keys: {redis: \"${REDIS}\", write: hash, key: \"k:{id}\", on_delete: keep}"))
            try await bed.recorded(file) { try await ReplayTests.write($0, nodes: 20, rounds: 2) }
            let contents = try await bed.contents()
            #expect(contents.count == 20)
            _ = try await bed.redis("FLUSHALL")
            _ = try await bed.output("replay", file, "--state")
            #expect(try await bed.contents() == contents)
        }
    }

    @Test func besideARunningPipelineOnlyElsewhere() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(ReplayTests.pipeline(ReplayTests.keys))
            try await bed.recorded(file) { try await ReplayTests.write($0, nodes: 10, rounds: 1) }
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            _ = try await bed.output("replay", file, "--state", status: 3)
            _ = try await bed.output(
                "offsets", "reset", file, "--sink", "keys", "--to-earliest", "--execute", status: 3)
            _ = try await bed.output("replay", file, "--state", "--key-prefix", "copy:")
            #expect(try await bed.redis("KEYS", "copy:k:*").array?.count == 8)
            #expect(try await run.stop() == 0)
        }
    }

    @Test(arguments: [false, true]) func offsetsAreMoved(isCluster: Bool) async throws {
        try await TestBed.with(isCluster ? .cluster : .single) { bed in
            let file = try bed.definition(
                ReplayTests.pipeline(ReplayTests.keys + "\n" + ReplayTests.stream))
            try await bed.recorded(file) { try await ReplayTests.write($0, nodes: 30, rounds: 2) }
            let end = try await bed.endOffset("again")
            func offsets() async throws -> [Int?] {
                let report = try bed.object(try await bed.output("offsets", "show", file, "--json"))
                return (report["sinks"] as? [[String: Any]])?.map { $0["current_offset"] as? Int } ?? []
            }
            #expect(try await offsets() == [end, end])
            // A dry run moves nothing.
            let dry = try await bed.output("offsets", "reset", file, "--all-sinks", "--to-earliest")
            #expect(dry.contains("NEW-OFFSET"))
            #expect(try await offsets() == [end, end])
            for wrong in [
                ["--all-sinks"], ["--to-latest"], ["--all-sinks", "--to-latest", "--to-earliest"],
                ["--sink", "none", "--to-latest"],
            ] {
                let process = try MillraceProcess(
                    ["offsets", "reset", file] + wrong, environment: bed.environment,
                    directory: bed.directory.path)
                #expect(try await process.exit() == 64, "\(wrong)")
            }
            _ = try await bed.output(
                "offsets", "reset", file, "--all-sinks", "--to-offset", "\(end + 1)", status: 1)

            let entries = try await bed.stream("events").map(\.id)
            _ = try await bed.redis("DEL", "k:n3")
            _ = try await bed.output(
                "offsets", "reset", file, "--all-sinks", "--shift-by", "-\(end)", "--execute")
            #expect(try await offsets() == [0, 0])
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await offsets() == [end, end])
            // Delivered again: keys are what they were, entries that are there stay alone.
            #expect(try await bed.redis("EXISTS", "k:n3").int == 1)
            #expect(try await bed.stream("events").map(\.id) == entries)
            let letters = try await bed.output("dead-letters", "list", file)
            #expect(letters == "no dead letters\n")

            // Each command looks at every slot of a cluster, which takes its time in a debug build.
            if isCluster { return }
            // Forwards: what lies between is never delivered.
            let csv = try await bed.output(
                "offsets", "reset", file, "--all-sinks", "--to-earliest", "--export")
            #expect(csv == "again,keys,0\nagain,events,0\n")
            try csv.replacingOccurrences(of: "keys,0", with: "keys,5").write(
                toFile: bed.directory.path + "/offsets.csv", atomically: false, encoding: .utf8)
            _ = try await bed.output(
                "offsets", "reset", file, "--from-file", bed.directory.path + "/offsets.csv", "--execute")
            #expect(try await offsets() == [5, 0])
            _ = try await bed.redis("DEL", "k:n3")
            _ = try await bed.output("offsets", "reset", file, "--sink", "keys", "--to-latest", "--execute")
            _ = try await bed.output(
                "offsets", "reset", file, "--sink", "events", "--by-duration", "1h", "--execute")
            #expect(try await offsets() == [end, 0])
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.redis("EXISTS", "k:n3").int == 0)
            #expect(try await offsets() == [end, end])
            try await bed.withWriter { try await $0.set("/t/n3", "{\"a\": 1}") }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.hash("k:n3") == ["a": "1"])
            #expect(try await bed.stream("events").count == entries.count + 1)
        }
    }
}

extension TestBed {
    /// Runs the pipeline while the body writes, so that every change is captured, and delivers all of it.
    fileprivate func recorded(
        _ file: String, _ body: @escaping @Sendable (ZooKeeperClient) async throws -> Void
    ) async throws {
        let run = try millrace("run", file)
        try await withWriter { writer in
            try await writer.create("/t", "")
            try await eventually("the tree is read") { run.errors.contains("the tree is read") }
            try await body(writer)
        }
        #expect(try await run.stop() == 0, "\(run.errors)")
        _ = try await output("run", "--until-caught-up", file)
    }

    fileprivate func endOffset(_ pipeline: String) async throws -> Int {
        let stat = try object(try await output("log", "stat", dataDirectory + "/" + pipeline, "--json"))
        return try #require(stat["end_offset"] as? Int)
    }

    fileprivate func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }

    /// Hashes and sets by key, without our own.
    fileprivate func contents() async throws -> [String: [String]] {
        var contents: [String: [String]] = [:]
        for key in try await strings("KEYS", "*") where !key.hasPrefix("millrace:") {
            switch try await redis("TYPE", key).string {
            case "hash": contents[key] = try await hash(key).map { "\($0)=\($1)" }.sorted()
            case "set": contents[key] = try await strings("SMEMBERS", key).sorted()
            default: break
            }
        }
        return contents
    }

    fileprivate func stream(_ key: String, at server: RedisServer) async throws -> [StreamEntry] {
        try await server.answer("XRANGE", key, "-", "+").array?.compactMap(StreamEntry.init) ?? []
    }
}

extension RedisServer {
    fileprivate func answer(_ arguments: String...) async throws -> RESPValue {
        let connection = try await RedisConnection.connect(
            RedisConfiguration(endpoint: try RedisEndpoint(parsing: url)), logger: quietLogger)
        var batch = RedisCommandBatch()
        batch.append(arguments)
        let replies = try await connection.send(batch)
        await connection.close()
        return try #require(replies.first)
    }
}
