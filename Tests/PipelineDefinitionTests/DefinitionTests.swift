import ChangeModel
import Mapping
import Testing

@testable import PipelineDefinition

@Suite struct DefinitionTests {
    @Test func defaultsAreFilledIn() throws {
        let definition = try valid(definition())
        #expect(definition.name == "test")
        #expect(definition.file == "f.yaml")
        #expect(definition.source.paths == ["/"])
        #expect(definition.source.exclude.map(\.text) == ["/zookeeper"])
        #expect(definition.source.capture == .watch)
        #expect(definition.source.snapshot == .initial)
        #expect(definition.source.sessionTimeoutMilliseconds == 10_000)
        #expect(definition.source.auth == nil)
        #expect(
            definition.log
                == LogDefinition(
                    directory: "./data", segmentBytes: 64 << 20, fsync: .batch, retainBytes: nil,
                    retainAgeMilliseconds: nil, retainForce: false))
        #expect(definition.transform.rules == nil)
        #expect(definition.onError == .deadLetter)
        let sink = try #require(definition.sinks.first)
        #expect(sink.redisURL == "redis://h")
        #expect(sink.onMissingCheckpoint == .earliest)
        #expect(sink.specification.onDelete == .delete)
        #expect(sink.specification.write == .stream(StreamOptions(id: .offset, trim: nil)))
    }

    /// The example of the contract, without what later versions read.
    @Test func everyKeyIsRead() throws {
        let definition = try valid(DefinitionTests.full, environment: ["ZK_AUTH": "user:secret"])
        #expect(definition.source.connect == "a:2181,b:2181/root")
        #expect(definition.source.paths == ["/other", "/services"])
        #expect(definition.source.exclude.map(\.text) == ["/services/**/lock-*", "/zookeeper"])
        #expect(definition.source.snapshot == .whenNeeded)
        #expect(definition.source.sessionTimeoutMilliseconds == 4500)
        #expect(definition.source.auth == .init(scheme: "digest", credentials: "user:secret"))
        #expect(
            definition.log
                == LogDefinition(
                    directory: "/var/lib/millrace", segmentBytes: 1 << 20,
                    fsync: .interval(milliseconds: 200),
                    retainBytes: 4 << 30, retainAgeMilliseconds: 7 * 86_400_000, retainForce: true))
        #expect(definition.onError == .skip)
        #expect(definition.sinks.map(\.name) == ["registry", "members", "ranking", "events", "console"])
        let rules = try #require(definition.transform.rules)
        #expect(rules.map(\.line) == [17, 27])
        #expect(rules[0].operations == [.create, .update, .delete])
        #expect(rules[0].decode == .json)
        #expect(rules[0].to == ["registry", "members", "ranking", "events"])
        #expect(
            rules[0].set == [
                FieldDefinition(
                    name: "service", source: .template(try Template("{service}")), line: 22),
                FieldDefinition(
                    name: "port",
                    source: .cast(from: .value(["port"]), type: .integer, default: "80"), line: 23),
            ])
        let sinks = definition.sinks.map(\.specification)
        #expect(sinks[0].onDelete == .tombstone)
        #expect(sinks[1].member?.text == "{instance}")
        #expect(sinks[2].write == .sortedSet)
        #expect(
            sinks[3].write == .stream(StreamOptions(id: .auto, trim: .length(1_000_000, approximate: true))))
        #expect(sinks[4].key == nil)
        #expect(definition.sinks[0].onMissingCheckpoint == .stop)
    }

    static let full = """
        name: service-registry
        source:
          zookeeper:
            connect: "a:2181,b:2181/root"
            paths: [/services/, /other, /services/orders]
            exclude: ["/services/**/lock-*"]
            capture: watch
            snapshot: when_needed
            session_timeout: 4500ms
            auth: {scheme: digest, credentials: "${ZK_AUTH:}"}
        log:
          directory: /var/lib/millrace
          segment: 1MiB
          fsync: {interval: 200ms}
          retain: {bytes: 4GiB, age: 7d, force: true}
        transform:
          - rules: [{match: "/services/{service}/{instance}",
                on: [c, u, d],
                decode: json,
                set: {
                  # comments do not count
                  service: "{service}",
                  port: {from: value.port, type: integer, default: 80},
                },
                to: [registry, members, ranking, events]
              },
              {match: "/other/**", to: [console]}]
        sinks:
          registry: {redis: "redis://:pw@h:1/2", write: hash, key: "svc:{service}:{instance}",
                     on_delete: tombstone, on_missing_checkpoint: stop}
          members: {redis: "redis+unix:///run/r.sock", write: set, key: "svc:{service}", member: "{instance}"}
          ranking: {redis: redis://h, write: sorted_set, key: "z:{service}", member: "{instance}",
                    score: "{value.port}", on_delete: keep}
          events: {redis: redis://h, write: stream, key: "changes:{service}", id: auto, maxlen: ~1000000}
          console: {write: stdout}
        on_error: skip
        tests:
          - name: an instance becomes a hash
            environment: {}
            input: [{op: c, path: /services/api/1, data: '${not a variable'}]
            output:
              registry: [{key: "svc:api:1", hash: {service: api}}]
        """

    @Test func plainWordsStayText() throws {
        // YAML 1.1 would read these as booleans.
        let text = definition(
            transform: "transform: [{rules: [{match: /a, on: [c], set: {no: off, on: yes}}]}]")
        let rule = try #require(try valid(text).transform.rules?.first)
        #expect(rule.set?.map(\.name) == ["no", "on"])
        #expect(rule.operations == [.create])
    }

    @Test func ownTreeOfZooKeeperIsCapturedWhereItIsAskedFor() throws {
        let text = definition().replacing("paths: [/]", with: "paths: [/zookeeper/config]")
        #expect(try valid(text).source.exclude.isEmpty)
    }

    @Test func streamsCanBeTrimmedByAge() throws {
        let sinks = "  out: {redis: \"redis://h\", write: stream, key: s, minid: 7d}"
        let write = try valid(definition(sinks: sinks)).sinks.first?.specification.write
        #expect(write == .stream(StreamOptions(id: .offset, trim: .age(milliseconds: 604_800_000))))
    }

    @Test func emptyCredentialsAreNone() throws {
        let text = definition(source: "auth: {scheme: digest, credentials: \"${ZK_AUTH:}\"}")
        #expect(try valid(text).source.auth == nil)
    }

    @Test func aRuleMaySendAChangeNowhere() throws {
        let transform = "transform: [{rules: [{match: \"/a/**\", to: []}, {match: \"/**\"}]}]"
        #expect(try valid(definition(transform: transform)).transform.rules?.first?.to == [])
    }

    @Test func aliasesAreRead() throws {
        let text = definition(
            sinks: """
                  one: {redis: &url "redis://h", write: stream, key: a}
                  two: {redis: *url, write: stream, key: b}
                """)
        #expect(try valid(text).sinks.map(\.redisURL) == ["redis://h", "redis://h"])
    }

    // MARK: Fingerprint

    @Test func theFingerprintIsStable() throws {
        let definition = try valid(DefinitionTests.full, environment: ["ZK_AUTH": "a:b"])
        #expect(definition.transformFingerprint == "40ed3c230957a6bd")
    }

    @Test func onlyWhatDecidesTheWritesChangesTheFingerprint() throws {
        func fingerprint(_ edit: (String, String)) throws -> String {
            let text = DefinitionTests.full.replacing(edit.0, with: edit.1)
            if !edit.0.isEmpty { #expect(text != DefinitionTests.full, "\(edit.0)") }
            return try #require(parse(text).definition).transformFingerprint
        }
        let original = try fingerprint(("4500ms", "4501ms"))
        for same in [
            ("on: [c, u, d]", "on: [d, u, c]"), ("# comments do not count", "#\n\n"),
            ("redis://:pw@h:1/2", "redis://x"),
            ("a:2181,b:2181/root", "c:1"), ("~1000000", "5"), ("on_error: skip", "on_error: stop"),
        ] {
            #expect(try fingerprint(same) == original, "\(same.0)")
        }
        for other in [
            ("svc:{service}:{instance}", "svc:{service}.{instance}"), ("default: 80", "default: 81"),
            ("type: integer", "type: number"), ("on_delete: tombstone", "on_delete: keep"),
            ("to: [console]", "to: []"), ("score: \"{value.port}\"", "score: \"{zxid}\""),
            ("on: [c, u, d]", "on: [c, u]"),
        ] {
            #expect(try fingerprint(other) != original, "\(other.0)")
        }
    }
}
