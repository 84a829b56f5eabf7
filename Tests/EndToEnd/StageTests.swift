import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// Stages of a transform, from znodes to keys.
@Suite struct StageTests {
    private static let pipeline = """
        name: stages
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - drop: "/t/lock-*"
          - rules:
              - match: "/t/{id}"
                decode: json
                jq: "select(.enabled != false) | {host: .address.host, port: .port, secret}"
                mask: [secret]
                set: {id: "{id|upper|pad:4}", at: "{value.host|lower}:{value.port|default:80}", secret: "{value.secret}"}
          - jq: "{id, at, secret}"
        sinks:
          hashes: {redis: "${REDIS}", write: hash, key: "h:{id}", ttl: 1h}
          kept: {redis: "${REDIS}", write: string, key: "s:{id}", value: "{value.at}", on_filtered: keep}
          events: {redis: "${REDIS}", write: stream, key: events, envelope: true}
        """

    @Test func whatIsFilteredOutIsRemoved() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(StageTests.pipeline)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/lock-1", "no JSON")
                try await writer.create("/t/a", #"{"address":{"host":"H1"},"port":9,"secret":"x"}"#)
                try await writer.create("/t/b", #"{"address":{"host":"H2"},"secret":"y"}"#)
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(
                try bed.redis.cli("HGETALL", "h:a").split(separator: "\n").joined(separator: " ")
                    == "at h1:9 id 000A secret ********")
            #expect(try bed.redis.cli("GET", "s:b") == "h2:80")
            #expect((Int(try bed.redis.cli("TTL", "h:a")) ?? 0) > 3000)
            try await bed.withWriter { try await $0.set("/t/a", #"{"enabled":false}"#) }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try bed.redis.cli("EXISTS", "h:a", "s:a", "h:b", "h:lock-1") == "2")
            let events = try await bed.stream("events")
            #expect(Set(events.compactMap { $0.fields["path"] }) == ["/t/a", "/t/b"])
            #expect(events.count == 2)
            #expect(events.allSatisfy { $0.fields["envelope"]?.hasPrefix("{\"op\":\"r\"") == true })
        }
    }
}

/// Keys and members that come from the data, from znodes to Redis.
@Suite(.serialized) struct OwnedKeyTests {
    private static let pipeline = """
        name: owned
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - rules: [{match: "/t/{group}/{id}", decode: json, jq: "select(.on != false)"}]
        sinks:
          byHost: {redis: "${REDIS}", write: string, key: "host:{value.host}", value: "{id}"}
          hosts: {redis: "${REDIS}", write: set, key: "hosts:{group}", member: "{value.host}"}
          children: {redis: "${REDIS}", write: children, key: "children:{group}", member: "{id}"}
        """

    @Test(arguments: [false, true]) func whatTheDataNoLongerSaysIsRemoved(isCluster: Bool) async throws {
        try await TestBed.with(isCluster ? .cluster : .single) { bed in
            let file = try bed.definition(OwnedKeyTests.pipeline)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/g", "")
                for id in ["a", "b", "c", "d"] { try await writer.create("/t/g/\(id)", #"{"host":"h1"}"#) }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.strings("SMEMBERS", "hosts:g") == ["h1"])
            #expect(try await bed.redis("GET", "children:g").string == #"["a","b","c","d"]"#)
            try await bed.withWriter { writer in
                try await writer.set("/t/g/a", #"{"host":"h2"}"#)
                try await writer.delete("/t/g/b")
                try await writer.set("/t/g/d", #"{"host":"h3","on":false}"#)
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.redis("GET", "host:h2").string == "a")
            #expect(try await bed.redis("EXISTS", "host:h1") == .integer(1))
            #expect(try await bed.redis("EXISTS", "host:h3") == .integer(0))
            try await bed.withWriter { try await $0.delete("/t/g/c") }
            _ = try await bed.output("run", "--until-caught-up", file)
            try await OwnedKeyTests.expectOutcome(bed, file)
        }
    }

    /// A cluster's masters lose all that they had, one after the other, while the pipeline runs, and while it does not.
    @Test func nothingIsLeftBehindWhereMastersLoseTheirData() async throws {
        try await TestBed.with(.cluster) { bed in
            let servers = try #require(bed.cluster)
            let file = try bed.definition(OwnedKeyTests.pipeline)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/g", "")
                for id in ["a", "b", "c", "d"] { try await writer.create("/t/g/\(id)", #"{"host":"h1"}"#) }
            }
            var run = try bed.millrace("run", file)
            for (number, server) in servers.servers.enumerated() {
                let host = "h1\(number)"
                try await bed.withWriter { writer in
                    for id in ["a", "c"] { try await writer.set("/t/g/\(id)", #"{"host":"\#(host)"}"#) }
                }
                try await eventually("host \(host) is written") {
                    try await bed.strings("SMEMBERS", "hosts:g").contains(host)
                }
                if number == 1 {
                    run.process.kill()
                    _ = try await run.exit()
                }
                server.kill()
                try await server.restart()
                try await servers.waitUntilHealthy()
                if number == 1 { run = try bed.millrace("run", file) }
            }
            try await bed.withWriter { writer in
                try await writer.set("/t/g/a", #"{"host":"h2"}"#)
                for id in ["b", "c", "d"] { try await writer.delete("/t/g/\(id)") }
            }
            try await eventually("host h2 is written") { try await bed.redis("GET", "host:h2").string == "a" }
            #expect(try await run.stop() == 0)
            _ = try await bed.output("run", "--until-caught-up", file)
            try await OwnedKeyTests.expectOutcome(bed, file)
        }
    }

    private static func expectOutcome(_ bed: TestBed, _ file: String) async throws {
        for host in ["h1", "h10", "h11", "h12", "h3"] {
            #expect(try await bed.redis("EXISTS", "host:\(host)") == .integer(0), "\(host)")
        }
        #expect(try await bed.redis("GET", "host:h2").string == "a")
        #expect(try await bed.strings("SMEMBERS", "hosts:g") == ["h2"])
        let children = try await bed.redis("GET", "children:g").string
        #expect(children == #"["a"]"#)
        #expect(try await bed.output("verify", file).contains("no difference"))
    }
}
