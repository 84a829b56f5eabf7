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
@Suite struct OwnedKeyTests {
    private static let pipeline = """
        name: owned
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - rules: [{match: "/t/{group}/{id}", decode: json}]
        sinks:
          byHost: {redis: "${REDIS}", write: string, key: "host:{value.host}", value: "{id}"}
          hosts: {redis: "${REDIS}", write: set, key: "hosts:{group}", member: "{value.host}"}
          children: {redis: "${REDIS}", write: children, key: "children:{group}", member: "{id}"}
        """

    @Test func whatTheDataNoLongerSaysIsRemoved() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(OwnedKeyTests.pipeline)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/g", "")
                for id in ["a", "b", "c"] { try await writer.create("/t/g/\(id)", #"{"host":"h1"}"#) }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try bed.redis.cli("SMEMBERS", "hosts:g") == "h1")
            #expect(try bed.redis.cli("GET", "children:g") == #"["a","b","c"]"#)
            try await bed.withWriter { writer in
                try await writer.set("/t/g/a", #"{"host":"h2"}"#)
                try await writer.delete("/t/g/b")
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try bed.redis.cli("GET", "host:h2") == "a")
            #expect(try bed.redis.cli("EXISTS", "host:h1") == "1")
            try await bed.withWriter { try await $0.delete("/t/g/c") }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try bed.redis.cli("EXISTS", "host:h1") == "0")
            #expect(try bed.redis.cli("SMEMBERS", "hosts:g") == "h2")
            #expect(try bed.redis.cli("GET", "children:g") == #"["a"]"#)
        }
    }
}
