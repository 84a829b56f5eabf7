import ChangeModel
import Mapping
import Testing

@Suite struct RuleTests {
    @Test func aStreamNumberedByZxidsHasRoomForSoManyEntriesOfAChange() throws {
        var rule = try rule("/{x}")
        rule.continues = true
        let target = try sink(.stream(StreamOptions(id: .zxid)), key: "s")
        let most = mapper(Array(repeating: rule, count: 1024), target)
        guard case .writes(let writes) = most.map(change(.create, "/a", "1"), offset: 1, sink: 0) else {
            Issue.record("not written")
            return
        }
        #expect(writes.count == 1024)
        #expect(
            mapper(Array(repeating: rule, count: 1025), target).write(change(.create, "/a", "1"))
                .contains("it becomes 1025 entries; 'id: zxid' has room for 1024 of a change"))
    }

    @Test func withoutTransformEveryChangeGoesToEverySinkAsItIs() throws {
        let mapper = mapper(nil, try sink("a", .string), try sink("b", .stream(StreamOptions()), key: "s"))
        #expect(mapper.write(change(.create, "/x/y", "1")) == "SET k:/x/y '1'")
        #expect(
            mapper.write(change(.create, "/x/y", "1"), sink: 1)
                == "XADD s op='c' path='/x/y' zxid='7' version='3' ts_ms='1000' data='1'")
    }

    /// What a rule does not look at is not decoded, and what it looks at is, however the document spells it.
    @Test(arguments: [
        #"{"host":"h","x":[1,{"host":2}],"host2":3}"#, #"{"other":{"host":1},"host":"h"}"#,
        #"{"host":"g","host":"h"}"#, "{\"cafe\u{301}\":\"c\",\"host\":\"h\"}",
        #"{"a.b":1,"a":{"b":2},"host":"h"}"#,
    ])
    func aRuleGetsTheMembersThatItNames(document: String) throws {
        let fields = [
            try field("host", "{value.host}"), try field("cafe", from: "value.a.b", default: "-"),
        ]
        let mapper = mapper(
            [try rule("/n", decode: .json, set: fields)], try sink(.hash))
        let change = change(.create, "/n", document)
        let (steps, shown) = mapper.explain(change, offset: 5, sink: 0)
        #expect(steps.count == 1 && "\(mapper.map(change, offset: 5, sink: 0))" == "\(shown)")
        #expect(mapper.write(change).contains("host='h'"))
    }

    @Test func namesBeyondASCIIAreFoundInEitherForm() throws {
        let composed = "{value.caf\u{e9}}"
        let mapper = mapper(
            [try rule("/n", decode: .json, set: [try field("c", composed)])], try sink(.hash))
        #expect(mapper.write(change(.create, "/n", "{\"x\":1,\"cafe\u{301}\":\"c\"}")).contains("c='c'"))
    }

    @Test func firstMatchWins() throws {
        let mapper = mapper(
            [try rule("/a/{x}", to: ["one"]), try rule("/a/**", to: ["two"])],
            try sink("one", .string, key: "1:{path}"), try sink("two", .string, key: "2:{path}"))
        #expect(mapper.write(change(.update, "/a/b", "v"), sink: 0) == "SET 1:/a/b 'v'")
        #expect(mapper.write(change(.update, "/a/b", "v"), sink: 1) == "dropped notAddressed")
        #expect(mapper.write(change(.update, "/a/b/c", "v"), sink: 1) == "SET 2:/a/b/c 'v'")
    }

    @Test func aRuleWithoutTheOperationStillMatches() throws {
        let mapper = mapper(
            [try rule("/a/{x}", on: [.create]), try rule("/a/**")], try sink(.string))
        #expect(mapper.write(change(.create, "/a/b", "v")) == "SET k:/a/b 'v'")
        #expect(mapper.write(change(.update, "/a/b", "v")) == "dropped operation")
        #expect(mapper.write(change(.delete, "/a/b")) == "dropped operation")
    }

    @Test func whatNoRuleMatchesIsDropped() throws {
        let mapper = mapper([try rule("/a/{rest...}")], try sink(.string))
        #expect(mapper.write(change(.create, "/a", "v")) == "dropped noRule")
        #expect(mapper.write(change(.create, "/b/c", "v")) == "dropped noRule")
        #expect(mapper.write(change(.create, "/a/b/c", "v")) == "SET k:/a/b/c 'v'")
    }

    @Test func aTransformWithoutRulesDropsEverything() throws {
        #expect(mapper([], try sink(.string)).write(change(.create, "/a", "v")) == "dropped noRule")
    }

    @Test func aChangeMeantForOneSinkIsNotForOthers() throws {
        let mapper = mapper(nil, try sink("a", .string), try sink("b", .string))
        let only = change(.read, "/x", "1", onlyFor: "b")
        #expect(mapper.write(only, sink: 0) == "dropped notAddressed")
        #expect(mapper.write(only, sink: 1) == "SET k:/x '1'")
    }

    @Test func aSinkThatIsNotThereGetsNothing() throws {
        let mapper = mapper(nil, try sink(.string))
        #expect(mapper.write(change(.read, "/x", "1"), sink: 1) == "dropped notAddressed")
        #expect(mapper.write(change(.read, "/x", "1"), sink: -1) == "dropped notAddressed")
    }

    @Test func capturesFillTemplates() throws {
        let mapper = mapper(
            [try rule("/s/{service}/{rest...}")], try sink(.string, key: "{service}|{rest}|{{{op}}}"))
        #expect(mapper.write(change(.create, "/s/api/b/c", "v")) == "SET api|b/c|{c} 'v'")
    }

    @Test func metadataFillsTemplates() throws {
        let template = "{path} {op} {zxid} {version} {ts_ms} {offset} {ephemeral}"
        let mapper = mapper(nil, try sink(.string, key: "k", value: template))
        #expect(
            mapper.write(
                change(.read, "/x", "1", zxid: 4_294_967_298, version: 12, owner: 0x1000), offset: 99)
                == "SET k '/x r 4294967298 12 1000 99 true'")
        #expect(mapper.write(change(.update, "/x", "1", owner: .min)) == "SET k '/x u 7 3 1000 5 false'")
    }

    @Test func valuePathsFillTemplates() throws {
        let mapper = mapper(
            [try rule("/{x}", decode: .json)],
            try sink(.string, key: "k", value: "{value.a.host}:{value.list.1} {value.on} {value.a}"))
        let data = #"{"a":{"port":9,"host":"h"},"list":[1,2.5],"on":true}"#
        #expect(mapper.write(change(.create, "/n", data)) == #"SET k 'h:2.5 true {"host":"h","port":9}'"#)
    }

    @Test func aMissingValueNamesRuleLineFieldAndPath() throws {
        let mapper = mapper(
            [
                try rule("/other"),
                try rule("/{x}", decode: .json, set: [try field("host", "{value.address.host}")], line: 14),
            ], try sink(.hash))
        let result = mapper.map(change(.create, "/n", #"{"address":{"secret":1}}"#), offset: 0, sink: 0)
        let error = MappingError(
            code: .missing, rule: 1, line: 14, field: "host", path: "/n",
            reason: "value.address.host is missing")
        #expect(result == .failed(error))
        #expect(
            error.description == "rule 2 (line 14), 'host': value.address.host is missing, in znode /n")
    }

    @Test func nullCountsAsMissing() throws {
        let mapper = mapper(
            [try rule("/{x}", decode: .json, set: [try field("a", "{value.a}")])], try sink(.hash))
        #expect(
            mapper.write(change(.create, "/n", #"{"a":null}"#))
                == "failed missing: rule 1, 'a': value.a is missing, in znode /n")
    }

    @Test func anEmptyNodeDecodesToNullSoThatItsMembersAreMissing() throws {
        let fields = [try field("a", "{x}"), try field("b", from: "value.b")]
        let strict = mapper([try rule("/{x}", decode: .json, set: fields)], try sink(.hash))
        #expect(
            strict.write(change(.create, "/n", ""))
                == "failed missing: rule 1, 'b': value.b is missing, in znode /n")
        let lenient = mapper(
            [try rule("/{x}", decode: .json, set: [try field("b", from: "value.b", default: "none")])],
            try sink(.hash))
        #expect(lenient.write(change(.create, "/n", "")) == "HASH k:/n b='none'")
    }

    @Test func undecodableDataFailsForEverySinkOfTheRuleButIsNotDecodedForDeletes() throws {
        let mapper = mapper(
            [try rule("/{x}", decode: .json, line: 3)], try sink("a", .hash),
            try sink("b", .stream(StreamOptions()), key: "s"))
        let failure = "failed undecodable: rule 1 (line 3): the data is not valid JSON, in znode /n"
        #expect(mapper.write(change(.update, "/n", "{secret"), sink: 0) == failure)
        #expect(mapper.write(change(.update, "/n", "{secret"), sink: 1) == failure)
        #expect(mapper.write(change(.delete, "/n"), sink: 0) == "DEL k:/n")
    }

    @Test func withoutATransformTheLineIsTheSinks() throws {
        let mapper = mapper(nil, try sink(.string, key: "{nowhere}"))
        #expect(
            mapper.write(change(.update, "/n", "v"))
                == "failed missing: sink (line 40), 'key': nowhere is missing, in znode /n")
    }
}

@Suite struct SeveralRuleTests {
    @Test func aRuleMayGoOnToTheNextThatMatches() throws {
        var first = try rule("/a/{x}", set: [try field("one", "{x}")])
        first.continues = true
        let mapper = mapper(
            [first, try rule("/b"), try rule("/**", set: [try field("two", "{op}")]), try rule("/a/**")],
            try sink(.hash))
        #expect(mapper.write(change(.create, "/a/b", "v")) == "HASH k:/a/b one='b'; HASH k:/a/b two='c'")
        #expect(mapper.write(change(.create, "/c", "v")) == "HASH k:/c two='c'")
    }

    @Test func oneRuleThatFailsFailsTheChange() throws {
        var first = try rule("/{x}")
        first.continues = true
        let mapper = mapper([first, try rule("/{x}", decode: .json, line: 9)], try sink(.string))
        #expect(
            mapper.write(change(.create, "/n", "{"))
                == "failed undecodable: rule 2 (line 9): the data is not valid JSON, in znode /n")
    }

    @Test func whatARuleExcludesFallsThrough() throws {
        var first = try rule("/a/{x...}", to: ["one"])
        first.exclude = [try PathPattern("/a/**/lock-*")]
        let mapper = mapper(
            [first, try rule("/a/**", to: ["two"])], try sink("one", .string), try sink("two", .string))
        #expect(mapper.write(change(.create, "/a/b/c", "v")) == "SET k:/a/b/c 'v'")
        #expect(mapper.write(change(.create, "/a/b/lock-1", "v")) == "dropped notAddressed")
        #expect(mapper.write(change(.create, "/a/b/lock-1/x", "v"), sink: 1) == "SET k:/a/b/lock-1/x 'v'")
    }

    /// The path is there when the node is gone: a delete has a value, too.
    @Test func thePathIsDecodedInsteadOfTheData() throws {
        var rule = try rule("/q/{kind}-{n}", decode: .integer, set: [try field("n", "{value}")])
        let stream = try sink(.stream(StreamOptions()), key: "s")
        let withoutValue = mapper([rule], stream).write(change(.delete, "/q/job-0007"))
        rule.from = try Template("{n}")
        let mapper = mapper([rule], try sink(.string, key: "{kind}", value: "{value}"), stream)
        #expect(mapper.write(change(.create, "/q/job-0007", "no number")) == "SET job '7'")
        #expect(!withoutValue.contains("n='7'"))
        #expect(mapper.write(change(.delete, "/q/job-0007"), sink: 1).contains("n='7'"))
        #expect(
            mapper.write(change(.create, "/q/job-x", "7")).hasPrefix("failed undecodable: rule 1"))
    }

    @Test func alternativesAreCaptured() throws {
        let mapper = mapper([try rule("/{kind:topics|brokers}/{id}")], try sink(.string, key: "{kind}:{id}"))
        #expect(mapper.write(change(.create, "/topics/a", "v")) == "SET topics:a 'v'")
        #expect(mapper.write(change(.create, "/other/a", "v")) == "dropped noRule")
    }
}
