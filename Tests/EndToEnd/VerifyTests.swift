import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// `millrace verify`: what Redis holds is compared with the tree, and mended.
@Suite(.serialized) struct VerifyTests {
    static let everyKind = pipeline(
        """
          strings: {redis: "${REDIS}", write: string, key: "s:{group}:{id}", value: "{value.host}"}
          hashes: {redis: "${REDIS}", write: hash, key: "h:{group}:{id}"}
          fields: {redis: "${REDIS}", write: hash, key: "f:{group}", field: "{id}", value: "{value.port}"}
          members: {redis: "${REDIS}", write: set, key: "m:{group}", member: "{id}"}
          scores: {redis: "${REDIS}", write: sorted_set, key: "z:{group}", member: "{id}", score: "{value.port}"}
          lists: {redis: "${REDIS}", write: children, key: "l:{group}", member: "{id}"}
          owned: {redis: "${REDIS}", write: set, key: "hosts", member: "{value.host}"}
          events: {redis: "${REDIS}", write: stream, key: events}
          console: {write: stdout}
        """)

    static func pipeline(_ sinks: String, rule: String = "") -> String {
        """
        name: verified
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - rules:
              - match: "/t/{group}/{id}"
                decode: json
                set: {host: "{value.host}", port: "{value.port}"}
                \(rule)
        sinks:
        \(sinks)
        """
    }

    private static func data(_ group: String, _ id: Int) -> String {
        #"{"host":"\#(group)\#(id)","port":\#(8000 + id)}"#
    }

    static func create(_ writer: ZooKeeperClient, ids: ClosedRange<Int> = 1...4) async throws {
        try await writer.create("/t", "")
        for group in ["a", "b", "c"] {
            try await writer.create("/t/\(group)", "")
            for id in ids { try await writer.create("/t/\(group)/\(id)", data(group, id)) }
        }
    }

    @Test func eachDifferenceIsToldOnceAndMended() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(VerifyTests.everyKind)
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("run", "--until-caught-up", file)
            let clean = try await bed.output("verify", file)
            #expect(clean.hasSuffix("\n16 nodes, no difference\n"), "\(clean)")
            #expect(
                clean.contains("sink events: skipped (stream")
                    && clean.contains("sink console: skipped (stdout"))
            for line in ["strings", "hashes", "fields", "members", "scores", "lists", "owned"] {
                #expect(clean.split(separator: "\n").contains { $0.hasPrefix(line) && $0.contains(" 12 ") })
            }

            for command in [
                ["DEL", "s:a:1"], ["SET", "s:a:2", "other"], ["SET", "s:a:99", "x"],
                ["SET", "s:foreign", "x"],
                ["HSET", "h:a:1", "more", "x"], ["HDEL", "h:a:2", "port"], ["HSET", "f:a", "99", "1"],
                ["HSET", "f:a", "1", "7"], ["SADD", "m:a", "99"], ["SREM", "m:b", "1"],
                ["ZADD", "z:a", "5", "1"],
                ["DEL", "z:c"], ["SET", "z:c", "x"], ["SET", "l:a", #"["1","2","77"]"#],
                ["SADD", "hosts", "stranger"],
                ["SREM", "hosts", "b2"],
            ] { _ = try await bed.redis(command) }
            let expected: Set = [
                "missing strings s:a:1", "different strings s:a:2", "extra strings s:a:99",
                "different hashes h:a:1",
                "different hashes h:a:2", "extra fields f:a 99", "different fields f:a 1",
                "extra members m:a 99",
                "missing members m:b 1", "different scores z:a 1", "different scores z:c 1",
                "different scores z:c 2", "different scores z:c 3", "different scores z:c 4",
                "missing lists l:a 3",
                "missing lists l:a 4", "extra lists l:a 77", "missing owned hosts b2",
            ]
            let found = try await bed.differences(file)
            #expect(
                Set(found.texts) == expected && found.texts.count == expected.count, "\(found.texts.sorted())"
            )
            #expect(found.status == 1)
            let text = try await bed.output("verify", file, "--limit", "1", status: 1)
            #expect(
                text.contains("… and 17 more") && text.hasSuffix("\n16 nodes, 18 differences\n"), "\(text)")
            let one = try await bed.output("verify", file, "--sink", "members", status: 1)
            #expect(
                one.contains("missing members m:b member 1 (/t/b/1) expected \"\" found nothing\n"), "\(one)")
            #expect(!one.contains("strings") && !one.contains("events"))
            _ = try await bed.output("verify", file, "--sink", "nobody", status: 64)

            let before = try await bed.hash("millrace:verified:strings")
            // What is of another type is never removed: the scores stay as they are.
            let repair = try await bed.output("verify", file, "--repair", status: 1)
            #expect(repair.contains("18 differences, 4 not repaired"), "\(repair)")
            #expect(repair.contains("not repaired: Redis: WRONGTYPE"), "\(repair)")
            let after = try await bed.hash("millrace:verified:strings")
            for field in ["p", "c", "l", "g"] { #expect(after[field] == before[field]) }
            #expect(after["e"].flatMap { Int($0) } == before["e"].flatMap { Int($0) }.map { $0 + 1 })
            _ = try await bed.redis("DEL", "z:c")
            #expect(
                try await bed.output("verify", file, "--repair").hasSuffix("4 differences, all repaired\n"))
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
            #expect(try await bed.redis("GET", "s:foreign").string == "x")
            #expect(try await bed.redis("SISMEMBER", "hosts", "stranger").int == 1)
            #expect(try await bed.hash("h:a:1") == ["host": "a1", "port": "8001"])
            #expect(try await bed.redis("GET", "l:a").string == #"["1","2","3","4"]"#)
            // The next run finds nothing amiss.
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
        }
    }

    /// Nodes that went, came and changed while nobody captured them.
    @Test func whatHappenedMeanwhileIsMended() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(VerifyTests.everyKind)
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("verify", file, status: 1)
            _ = try await bed.output("verify", file, "--repair", status: 3)
            _ = try await bed.output("run", "--until-caught-up", file)
            try await bed.withWriter { writer in
                try await writer.delete("/t/a/1")
                try await writer.create("/t/a/5", VerifyTests.data("a", 5))
                try await writer.set("/t/b/1", VerifyTests.data("b", 9))
            }
            let found = try await bed.differences(file)
            for text in [
                "extra strings s:a:1", "extra fields f:a 1", "extra owned hosts a1", "missing lists l:a 5",
                "missing owned hosts b9", "different hashes h:b:1", "extra owned hosts b1",
                "different scores z:b 1",
            ] { #expect(found.texts.contains(text), "\(text) of \(found.texts.sorted())") }
            #expect(found.texts.count == 20 && Set(found.texts).count == 20, "\(found.texts.sorted())")
            #expect(
                try await bed.output("verify", file, "--repair").hasSuffix("20 differences, all repaired\n"))
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
            #expect(try await bed.redis("EXISTS", "s:a:1", "h:a:1").int == 0)
            #expect(try await bed.strings("SMEMBERS", "hosts").sorted().prefix(3) == ["a2", "a3", "a4"])
            // What the run has to tell of it is there already; then the node that owns a host goes.
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
            try await bed.withWriter { try await $0.delete("/t/b/1") }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.output("verify", file).hasSuffix("\n15 nodes, no difference\n"))
            #expect(try await bed.redis("SISMEMBER", "hosts", "b9").int == 0)
        }
    }

    @Test func whatTheDefinitionLeavesOpenIsNoDifference() async throws {
        try await TestBed.with { bed in
            let keeping = try bed.definition(
                VerifyTests.pipeline(
                    """
                      kept: {redis: "${REDIS}", write: string, key: "k:{group}:{id}", on_delete: keep}
                      stones: {redis: "${REDIS}", write: hash, key: "t:{group}:{id}", on_delete: tombstone}
                      short: {redis: "${REDIS}", write: string, key: "e:{group}:{id}", ttl: 1ms}
                      long: {redis: "${REDIS}", write: string, key: "x:{group}:{id}", ttl: 1h}
                      filtered: {redis: "${REDIS}", write: string, key: "n:{group}:{id}", on_filtered: keep}
                    """, rule: "jq: 'if .port > 8003 then empty else . end'"))
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("run", "--until-caught-up", keeping)
            try await bed.withWriter { try await $0.delete("/t/a/1") }
            _ = try await bed.output("run", "--until-caught-up", keeping)
            let clean = try await bed.output("verify", keeping)
            #expect(clean.hasSuffix("\n15 nodes, no difference\n"), "\(clean)")
            #expect(try await bed.redis("EXISTS", "k:a:1", "t:a:1").int == 2)

            _ = try await bed.redis("DEL", "x:b:1")
            _ = try await bed.redis("HSET", "t:a:1", "host", "back")
            _ = try await bed.redis("SET", "x:b:4", "filtered")
            _ = try await bed.redis("SET", "n:b:4", "kept")
            let found = try await bed.differences(keeping)
            #expect(
                found.texts.sorted() == ["extra long x:b:4", "extra stones t:a:1", "missing long x:b:1"],
                "\(found.texts)")
            _ = try await bed.output("verify", keeping, "--repair")
            #expect(try await bed.hash("t:a:1") == ["deleted": "1"])
            #expect(try await bed.redis("EXISTS", "x:b:4").int == 0)
            #expect(try await bed.redis("PTTL", "x:b:1").int ?? 0 > 0)
        }
    }

    /// Whichever of them was last: the tree does not say.
    @Test func aKeyOfSeveralNodesHoldsWhatOneOfThemSays() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                VerifyTests.pipeline(
                    """
                      shared: {redis: "${REDIS}", write: string, key: "g:{group}", value: "{value.host}"}
                    """))
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("run", "--until-caught-up", file)
            for id in 1...4 {
                _ = try await bed.redis("SET", "g:b", "b\(id)")
                #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
            }
            _ = try await bed.redis("SET", "g:b", "b5")
            _ = try await bed.redis("DEL", "g:a")
            let found = try await bed.differences(file)
            #expect(found.texts.sorted() == ["different shared g:b", "missing shared g:a"], "\(found.texts)")
            let repaired = try await bed.output("verify", file, "--repair")
            #expect(repaired.hasSuffix("2 differences, all repaired\n"), "\(repaired)")
            #expect(repaired.contains("keys do not tell the path where rules match /t/{group}/{id}"))
            #expect(try await bed.redis("GET", "g:a").string?.hasPrefix("a") == true)
        }
    }

    /// Keys of one that look as if they were another's: nothing of them is extra.
    @Test func sinksOfOnePipelineAreLeftAlone() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                VerifyTests.pipeline(
                    """
                      whole: {redis: "${REDIS}", write: hash, key: "w:{group}.{id}"}
                      part: {redis: "${REDIS}", write: hash, key: "w:all.x", field: "{group}/{id}", value: "1"}
                      deep: {redis: "${REDIS}", write: hash, key: "d:{group}", field: "{id}", value: "1"}
                      plain: {redis: "${REDIS}", write: hash, key: "d:plain"}
                      members: {redis: "${REDIS}", write: set, key: "m:{group}", member: "{id}"}
                      groups: {redis: "${REDIS}", write: set, key: "m:groups", member: "{group}"}
                    """))
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("run", "--until-caught-up", file)
            for sink in ["whole", "deep", "members", "groups"] {
                let text = try await bed.output("verify", file, "--sink", sink)
                #expect(text.hasSuffix("\n16 nodes, no difference\n"), "\(text)")
            }
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
            _ = try await bed.redis("HSET", "w:gone.1", "host", "x")
            _ = try await bed.redis("SADD", "m:groups", "gone")
            let found = try await bed.differences(file)
            #expect(
                found.texts.sorted() == ["extra members m:groups gone", "extra whole w:gone.1"],
                "\(found.texts)")
        }
    }

    @Test func whatMayNotBeReadIsNotJudged() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(VerifyTests.everyKind)
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("run", "--until-caught-up", file)
            try await bed.withWriter { writer in
                _ = try await writer.setACL(
                    "/t/b", acl: [ACL([.admin, .write], scheme: "world", id: "anyone")])
            }
            let hidden = try await bed.output("verify", file)
            #expect(hidden.contains("1 nodes may not be read; nothing below them was compared"), "\(hidden)")
            #expect(hidden.hasSuffix("\n11 nodes, no difference\n"), "\(hidden)")
        }
    }

    @Test func besideARunningPipeline() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(VerifyTests.everyKind)
            try await bed.withWriter { try await VerifyTests.create($0, ids: 1...40) }
            let run = try bed.millrace("run", file)
            try await eventually("all is there") { try await bed.redis("SCARD", "m:c").int == 40 }
            try await bed.withWriter { writer in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        // Many nodes change, go and come again all the time.
                        var step = 0
                        while !Task.isCancelled {
                            step += 1
                            let path = "/t/a/\(step % 30 + 1)"
                            try await writer.set(path, VerifyTests.data("a", step))
                            if step % 3 == 0 {
                                try await writer.delete(path)
                                try await Task.sleep(for: .milliseconds(5))
                                try await writer.create(path, VerifyTests.data("a", step + 1))
                            }
                        }
                    }
                    for _ in 0..<2 {
                        let text = try await bed.output("verify", file)
                        #expect(text.hasSuffix("no difference\n"), "\(text)")
                    }
                    group.cancelAll()
                    while case .some = await group.nextResult() {}
                }
            }
            _ = try await bed.redis("DEL", "s:b:1")
            let found = try await bed.differences(file)
            #expect(found.texts == ["missing strings s:b:1"], "\(found.texts)")
            let refused = try bed.millrace("verify", file, "--repair")
            #expect(try await refused.exit() == 3)
            #expect(refused.errors.contains("is writing this log"), "\(refused.errors)")
            #expect(try await run.stop() == 0, "\(run.errors)")
            _ = try await bed.output("verify", file, "--repair")
        }
    }
}

extension TestBed {
    /// `<kind> <sink> <key> <part>` of each difference.
    func differences(_ file: String) async throws -> (texts: [String], status: Int32) {
        let process = try MillraceProcess(
            ["verify", file, "--json"], environment: environment, directory: directory.path)
        let status = try await process.exit()
        let document = try #require(
            try JSONSerialization.jsonObject(with: Data(process.output.utf8)) as? [String: Any],
            "\(process.errors)")
        let list = try #require(document["differences"] as? [[String: Any]])
        let texts = list.map { difference in
            let part = ["field", "member", "item"].compactMap { difference[$0] as? String }
            return ["kind", "sink", "key"].compactMap { difference[$0] as? String }.joined(separator: " ")
                + part.map { " " + $0 }.joined()
        }
        return (texts, status)
    }
}
