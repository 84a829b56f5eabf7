import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// `millrace verify` with other servers than one Redis, and with many nodes.
@Suite(.serialized) struct VerifyServerTests {
    @Test func inACluster() async throws {
        try await TestBed.with(.cluster) { bed in
            let file = try bed.definition(
                VerifyTests.pipeline(
                    """
                      strings: {redis: "${REDIS}", write: string, key: "s:{group}:{id}", value: "{value.host}"}
                      hashes: {redis: "${REDIS}", write: hash, key: "h:{group}:{id}"}
                      members: {redis: "${REDIS}", write: set, key: "m:{group}", member: "{id}"}
                      lists: {redis: "${REDIS}", write: children, key: "l:{group}", member: "{id}"}
                      owned: {redis: "${REDIS}", write: set, key: "hosts", member: "{value.host}"}
                    """))
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
            let cluster = try RedisCluster(
                configuration: RedisConfiguration(endpoint: try RedisEndpoint(parsing: bed.redisURL)),
                logger: quietLogger)
            for command in [
                ["DEL", "s:a:1"], ["DEL", "s:b:2"], ["SET", "s:c:3", "x"], ["SET", "s:c:98", "x"],
                ["SET", "s:c:99", "x"], ["SADD", "m:b", "99"], ["HSET", "h:c:1", "more", "x"],
                ["SET", "l:a", #"["1","2","3","77"]"#], ["SREM", "hosts", "b2"],
            ] {
                var commands = RedisCommandBatch()
                commands.append(command)
                _ = try await cluster.send(
                    commands, to: HashSlot(of: command[1]), deadline: .now + .seconds(10))
            }
            await cluster.close()
            let found = try await bed.differences(file)
            #expect(
                found.texts.sorted() == [
                    "different hashes h:c:1", "different strings s:c:3", "extra lists l:a 77",
                    "extra members m:b 99", "extra strings s:c:98", "extra strings s:c:99",
                    "missing lists l:a 4", "missing owned hosts b2", "missing strings s:a:1",
                    "missing strings s:b:2",
                ], "\(found.texts)")
            #expect(
                try await bed.output("verify", file, "--repair").hasSuffix("10 differences, all repaired\n"))
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
            // What the sink remembers of nodes that are gone without its knowledge.
            try await bed.withWriter { writer in
                for path in ["/t/a/1", "/t/b/2"] { try await writer.delete(path) }
            }
            let gone = try await bed.differences(file).texts.filter { $0.contains("owned") }
            #expect(gone.sorted() == ["extra owned hosts a1", "extra owned hosts b2"])
            _ = try await bed.output("verify", file, "--repair")
            #expect(try await bed.strings("SMEMBERS", "hosts").count == 10)
        }
    }

    @Test func throughSentinel() async throws {
        try await TestBed.with(.sentinels) { bed in
            let file = try bed.definition(VerifyTests.everyKind)
            try await bed.withWriter { try await VerifyTests.create($0) }
            _ = try await bed.output("run", "--until-caught-up", file)
            _ = try await bed.redis("DEL", "h:a:1")
            #expect(try await bed.differences(file).texts == ["missing hashes h:a:1"])
            _ = try await bed.output("verify", file, "--repair")
            #expect(try await bed.output("verify", file).hasSuffix("\n16 nodes, no difference\n"))
        }
    }

    /// Ten times the nodes take hardly more memory: 20,000 with 1 KiB each, all of which differ.
    @Test func memoryStaysFlat() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                VerifyTests.pipeline(
                    """
                      strings: {redis: "${REDIS}", write: string, key: "s:{group}:{id}", value: "{value.host}"}
                      hashes: {redis: "${REDIS}", write: hash, key: "h:{group}:{id}"}
                    """))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/a", "")
            }
            var peaks: [Int] = []
            for range in [0..<2000, 2000..<20_000] {
                try await bed.withWriter { writer in
                    let filler = String(repeating: "x", count: 1000)
                    for start in stride(from: range.lowerBound, to: range.upperBound, by: 500) {
                        try await writer.multi(
                            (start..<start + 500).map { id in
                                .create(
                                    path: "/t/a/\(id)",
                                    data: Array(#"{"host":"\#(filler)\#(id)","port":1}"#.utf8))
                            })
                    }
                }
                let verify = try bed.millrace("verify", file, "--limit", "10")
                var peak = 0
                while verify.process.isRunning {
                    peak = max(peak, verify.peakMemory)
                    try await Task.sleep(for: .milliseconds(5))
                }
                #expect(try await verify.exit() == 1, "\(verify.errors)")
                #expect(
                    verify.output.hasSuffix(
                        "\(range.upperBound + 2) nodes, \(2 * range.upperBound) differences\n"),
                    "\(verify.output)")
                peaks.append(peak)
            }
            #expect(peaks[1] < peaks[0] + 48 << 20, "\(peaks)")
            print("verify: peak memory \(peaks.map { $0 >> 20 }) MiB")
        }
    }
}
