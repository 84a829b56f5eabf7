import ChangeModel
import JQ
import Mapping
import Testing

/// jq in rules, several stages, and what filters leave behind.
@Suite struct StageTests {
    private func mapper(_ stages: [TransformSpecification.Stage], _ sinks: SinkSpecification...) -> Mapper {
        Mapper(transform: TransformSpecification(stages: stages), sinks: sinks)
    }

    private func json(_ match: String, jq: String? = nil, set: [FieldDefinition]? = nil) throws -> Rule {
        var rule = try rule(match, decode: .json, set: set, line: 5)
        rule.jq = try jq.map { try JQProgram($0) }
        return rule
    }

    @Test func jqReplacesTheValue() throws {
        let mapper = mapper([.rules([try json("/{x}", jq: "{port: .p, at: now|type}")])], try sink(.hash))
        #expect(mapper.write(change(.create, "/n", #"{"p":1}"#)) == "HASH k:/n at='number' port='1'")
        #expect(mapper.write(change(.delete, "/n")) == "DEL k:/n")
    }

    @Test func whatJQLetsNotThroughIsRemovedFromKeysAndLeftOutOfStreams() throws {
        let rules = TransformSpecification.Stage.rules([try json("/{x}", jq: "select(.on)")])
        var keeping = try sink("keeping", .string)
        keeping.removesFiltered = false
        let mapper = mapper(
            [rules], try sink("hash", .hash), try sink("stream", .stream(StreamOptions()), key: "s"), keeping,
            try sink("set", .set, key: "s", member: "{x}", onDelete: .delete))
        let off = change(.update, "/n", #"{"on":false}"#)
        #expect(mapper.write(off) == "DEL k:/n")
        #expect(mapper.write(off, sink: 1) == "dropped filtered")
        #expect(mapper.write(off, sink: 2) == "dropped filtered")
        #expect(mapper.write(off, sink: 3) == "SREM s n")
        #expect(mapper.write(change(.update, "/n", #"{"on":1}"#)) == "HASH k:/n on='1'")
    }

    @Test func severalOutputsAreSeveralWrites() throws {
        let mapper = mapper(
            [.rules([try json("/{x}", jq: ".[]")])], try sink(.set, key: "s", member: "{value}"))
        #expect(mapper.write(change(.create, "/n", #"["a","b"]"#)) == "SADD s a; SADD s b")
        #expect(mapper.write(change(.delete, "/n")) == "RELEASE")
        #expect(mapper.write(change(.update, "/n", "[]")) == "RELEASE")
    }

    @Test func aProgramThatFailsNamesRuleLineAndPath() throws {
        let mapper = mapper([.rules([try json("/{x}", jq: ".a.b")])], try sink(.hash))
        #expect(
            mapper.write(change(.create, "/n", #"{"a":"secret"}"#))
                == "failed jq: rule 1 (line 5), 'jq': jq: Cannot index string with string …, in znode /n")
    }

    @Test func aSecondStageSeesFieldsAndCapturesOfTheFirst() throws {
        let first = try json(
            "/{kind}/{id}",
            set: [
                try field("port", from: "value.p", type: .integer), try field("host", "{value.h}"),
                try field("id", "{id}"),
            ])
        let second = try rule(
            "/a/{name}", set: [try field("where", "{value.host}:{value.port}"), try field("k", "{kind}")])
        let third = try rule("/b/**")
        let mapper = mapper([.rules([first]), .rules([second, third])], try sink(.hash, key: "{kind}:{id}"))
        let data = #"{"p":"80","h":"x"}"#
        #expect(mapper.write(change(.create, "/a/1", data)) == "HASH a:1 where='x:80' k='a'")
        #expect(mapper.write(change(.create, "/b/1", data)) == "HASH b:1 host='x' id='1' port='80'")
        #expect(mapper.write(change(.create, "/c/1", data)) == "dropped noRule")
        #expect(mapper.write(change(.delete, "/a/1")) == "DEL a:1")
    }

    @Test func aJQStageBehindRulesSeesTypedFields() throws {
        let rules = TransformSpecification.Stage.rules([
            try json("/{x}", set: [try field("p", from: "value.p", type: .integer), try field("x", "{x}")])
        ])
        let mapper = mapper([rules, .jq(try JQProgram("{q: (.p + 1), x}"), line: 9)], try sink(.hash))
        #expect(mapper.write(change(.create, "/n", #"{"p":"80"}"#)) == "HASH k:/n q='81' x='n'")
        let failing = self.mapper([rules, .jq(try JQProgram(".p.x"), line: 9)], try sink(.hash))
        #expect(failing.write(change(.create, "/n", #"{"p":"80"}"#)).contains("(line 9), 'jq'"))
    }

    @Test func droppedPathsAreDroppedAndDroppedOperationsRemove() throws {
        let locks = ChangeFilter(match: [try PathPattern("/**/lock-*"), try PathPattern("/tmp")])
        let updates = ChangeFilter(match: [try PathPattern("/once/*")], operations: [.update])
        let mapper = mapper([.drop(locks), .drop(updates)], try sink(.string))
        #expect(mapper.write(change(.create, "/a/lock-1", "v")) == "dropped filtered")
        #expect(mapper.write(change(.delete, "/tmp")) == "dropped filtered")
        #expect(mapper.write(change(.create, "/a", "v")) == "SET k:/a 'v'")
        #expect(mapper.write(change(.create, "/once/a", "v")) == "SET k:/once/a 'v'")
        #expect(mapper.write(change(.update, "/once/a", "v")) == "DEL k:/once/a")
    }

    @Test func selectLetsThroughWhatMatches() throws {
        let filter = ChangeFilter(match: [try PathPattern("/a/**")])
        let mapper = mapper([.select(filter)], try sink(.string))
        #expect(mapper.write(change(.create, "/a/b", "v")) == "SET k:/a/b 'v'")
        #expect(mapper.write(change(.create, "/b", "v")) == "dropped filtered")
    }

    @Test func keysThatComeFromTheDataAreRemembered() throws {
        let mapper = mapper([.rules([try json("/{x}")])], try sink(.string, key: "host:{value.host}"))
        #expect(mapper.write(change(.create, "/n", #"{"host":"h"}"#)) == #"SET host:h '{"host":"h"}'"#)
        #expect(mapper.write(change(.delete, "/n")) == "RELEASE")
    }

    @Test func whatIsDecodedFromThePathIsKnownOfADelete() throws {
        var provider = try rule("/dubbo/{service}/providers/{url}", decode: .url)
        provider.from = try Template("{url|urldecode}")
        let mapper = mapper(
            [.rules([provider])], try sink(.set, key: "{service}", member: "{value.host}:{value.port}"))
        let path =
            "/dubbo/com.foo.Bar/providers/dubbo%3A%2F%2F10.0.0.1%3A20880%2Fcom.foo.Bar%3Fside%3Dprovider"
        #expect(mapper.write(change(.create, path, "")) == "SADD com.foo.Bar 10.0.0.1:20880")
        #expect(mapper.write(change(.delete, path)) == "SREM com.foo.Bar 10.0.0.1:20880")
    }

    @Test func lifetimesComeFromTheRuleOrTheSink() throws {
        var short = try json("/a/{x}")
        short.ttl = try Template("{value.ttl}s")
        var target = try sink(.string, value: "v")
        target.ttl = try Template("5m")
        let mapper = mapper([.rules([short, try rule("/**")])], target)
        #expect(mapper.write(change(.create, "/a/b", #"{"ttl":30}"#)) == "SET k:/a/b 'v' PX 30000")
        #expect(mapper.write(change(.create, "/b", "x")) == "SET k:/b 'v' PX 300000")
        #expect(mapper.write(change(.delete, "/b")) == "DEL k:/b")
        #expect(
            mapper.write(change(.create, "/a/b", #"{"ttl":"soon"}"#))
                == "failed wrongType: rule 1 (line 5), 'ttl': the ttl is no duration (a number and ms, s, m, h or d), in znode /a/b"
        )
    }

    @Test func childrenAreAListAndEnvelopesAreWhole() throws {
        let mapper = mapper(
            [.rules([try rule("/{parent}/{child}")])],
            try sink(.children, key: "children:{parent}", member: "{child}"))
        #expect(mapper.write(change(.create, "/a/b", "x")) == "LIST+ children:a b")
        #expect(mapper.write(change(.delete, "/a/b")) == "LIST- children:a b")
        var stream = try sink(.stream(StreamOptions()), key: "s")
        stream.envelope = "pipe"
        let whole = Mapper(transform: TransformSpecification(), sinks: [stream])
        #expect(
            whole.write(change(.create, "/a", "x")).contains(
                #"envelope='{"op":"c","before":null,"after":"x""#))
    }

    /// What another node has written stays where a filter takes one out.
    @Test func aFilterRemovesWhatTheNodeItselfHasWritten() throws {
        let leaders = mapper(
            [.rules([try json("/{g}/{n}", jq: "select(.leader)")])], try sink(.string, key: "leader:{g}"))
        #expect(leaders.write(change(.update, "/g/2", #"{"leader":false}"#)) == "RELEASE")
        #expect(leaders.write(change(.delete, "/g/2")) == "RELEASE")
        let mains = mapper(
            [
                .select(ChangeFilter(match: [try PathPattern("/*/main")], operations: [.create, .update])),
                .rules([try rule("/{g}/{n}")]),
            ], try sink(.string, key: "{g}"))
        #expect(mains.write(change(.create, "/g/other", "x")) == "dropped filtered")
        #expect(mains.write(change(.read, "/g/main", "x")) == "RELEASE")
    }

    @Test func anEnvelopeIsAFurtherField() throws {
        var stream = try sink(.stream(StreamOptions()), key: "s")
        stream.envelope = "p"
        let entry = mapper([.rules([try rule("/{n}")])], stream).write(change(.create, "/n", "x"))
        #expect(entry.contains(" data='x' envelope='{"))
    }
}
