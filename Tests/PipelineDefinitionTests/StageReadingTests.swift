import ChangeModel
import JQ
import Mapping
import Testing

@testable import PipelineDefinition

/// Stages, and what a rule does to the value.
@Suite struct StageReadingTests {
    private func stages(_ text: String) -> String {
        definition(transform: "transform:\n" + text, sinks: "  out: {write: stdout}")
    }

    private func rule(_ keys: String) -> String {
        stages("  - rules: [{match: \"/a/{x}\", decode: json, \(keys)}]")
    }

    @Test func stagesAreReadInOrder() throws {
        let text = stages(
            """
              - drop: "/**/lock-*"
              - select: {match: ["/a/**", /b], on: [c, d]}
              - rules: [{match: "/a/{x}", decode: json, jq: ".y"}]
              - jq: "select(.on)"
              - rules: [{match: "/a/*", set: {v: "{value.v}", x: "{x}"}}]
            """)
        let stages = try valid(text).transform.stages
        #expect(stages.count == 5)
        guard case .drop(let drop) = stages[0], case .select(let select) = stages[1],
            case .jq(let program, let line) = stages[3]
        else {
            Issue.record("other stages")
            return
        }
        #expect(drop.match.map(\.text) == ["/**/lock-*"])
        #expect(drop.operations.count == 4)
        #expect(select.match.map(\.text) == ["/a/**", "/b"])
        #expect(select.operations == [.create, .delete])
        #expect(program.text == "select(.on)")
        #expect(line == 12)
        #expect(stages[2].rules?.first?.jq?.text == ".y")
    }

    @Test func theShapeOfTheValueIsRead() throws {
        let text = rule(
            "flatten: true, rename: {a.b: c}, select: [c, d.e], drop: [f], default: {g: 80}, cast: {g: integer}, "
                + "hash: {fields: [d.e], key: k}, mask: [c], ttl: \"{value.g}s\"")
        let result = parse(text)
        #expect(
            result.diagnostics.map(\.message) == [
                "the sink 'out' gets the data as it is, with what mask and hash hide in the value"
            ])
        let rule = try #require(result.definition?.transform.rules?.first)
        var expected = Shape()
        expected.flatten = "."
        expected.rename = [.init(from: ["a", "b"], to: ["c"])]
        expected.select = [["c"], ["d", "e"]]
        expected.drop = [["f"]]
        expected.defaults = [.init(name: ["g"], text: "80")]
        expected.casts = [.init(name: ["g"], type: .integer)]
        expected.hash = [["d", "e"]]
        expected.hashKey = "k"
        expected.mask = [["c"]]
        #expect(rule.shape == expected)
        #expect(rule.ttl?.text == "{value.g}s")
    }

    @Test(arguments: [
        ("  - drop: []", "drop is empty"),
        ("  - select: {on: [x]}", "'x' is no operation"),
        ("  - select: {}", "select has neither 'match' nor 'on'"),
        ("  - drop: a", "the pattern 'a': a path pattern begins with a slash"),
        ("  - {jq: ., drop: /a}", "a stage is one of drop, jq, not both"),
        ("  - jq: \".a[\"", "jq: syntax error"),
        ("  - dedupe: false", "a dedupe stage that is off does nothing"),
        ("  - dedupe: {}", "dedupe needs a text, not a mapping"),
        ("  - throttle: 5", "throttle is no duration: '5'"),
        ("  - throttle: 2h", "throttle is 7200000ms, which is not between 1ms and 3600000ms"),
        (
            "  - dedupe: true\n  - drop: /a",
            "this stage stands behind 'dedupe', which looks at what would be written"
        ),
        (
            "  - throttle: 1s\n  - rules: [{match: /a}]",
            "these rules stand behind 'throttle', which looks at what would be written"
        ),
        ("  - rulse: []", "unknown key 'rulse' in a stage of transform"),
    ])
    func stagesAreChecked(text: String, message: String) {
        let found = messages(stages(text))
        #expect(found.first?.hasPrefix(message) == true, "\(found)")
    }

    @Test(arguments: [
        ("jq: \"nothing(1)\"", "jq: nothing/1 is not defined, line 1"),
        ("rename: [a]", "rename needs a mapping, not a list"),
        ("cast: {a: int}", "a cast is one of string, integer, number, boolean"),
        ("select: []", "select is empty"),
        ("drop: [\"{x}\"]", "a name in drop is no name of a member: '{x}'"),
        ("drop: [a..b]", "a name in drop is no name of a member: 'a..b'"),
        ("hash: {key: k}", "hash has no 'fields'"),
        ("ttl: 5", "ttl is no duration: '5'"),
        ("ttl: \"{y}s\"", "ttl needs {y}, which this rule does not capture"),
        ("set: {a: \"{value.b|lowr}\"}", "the template '{value.b|lowr}': there is no filter 'lowr'"),
        ("set: {a: \"{value.b|pad}\"}", "the template '{value.b|pad}': the filter 'pad' is written pad:10"),
        ("select: [b], set: {a: \"{value.c}\"}", "the field 'a' needs {value.c}, but the value of this rule"),
    ])
    func rulesAreChecked(keys: String, message: String) {
        let found = messages(rule(keys))
        #expect(found.first?.hasPrefix(message) == true, "\(found)")
    }

    /// A capture of the first stage is known in the second, and a field that it does not build is not.
    @Test func aStageKnowsWhatIsBeforeIt() throws {
        let first = "  - rules: [{match: \"/a/{x}\", decode: json, set: {host: \"{value.h}\"}}]\n"
        _ = try valid(stages(first + "  - rules: [{match: /a/*, set: {h: \"{value.host}:{x}\"}}]"))
        #expect(
            messages(stages(first + "  - rules: [{match: /a/*, set: {h: \"{value.hots}:{y}\"}}]")) == [
                "the field 'h' needs {value.hots}, but the value of this rule has no member 'hots'",
                "the field 'h' needs {y}, which this rule does not capture (match: /a/*)",
            ])
    }

    @Test func aLifetimeIsForKeysAndForTheLastRules() throws {
        func text(_ transform: String, _ sinks: String) -> String {
            definition(transform: "transform: [\(transform)]", sinks: sinks)
        }
        let string = "  s: {redis: \"redis://h\", write: string, key: \"{path}\", ttl: 30s}"
        let stream = "\n  t: {redis: \"redis://h\", write: stream, key: s}"
        let both = string + stream
        #expect(try valid(definition(sinks: string)).sinks.first?.specification.ttl?.text == "30s")
        #expect(
            messages(definition(sinks: stream.replacing("key: s", with: "key: s, ttl: 30s"))) == [
                "'ttl' does not apply to 'write: stream'"
            ])
        let rule = "rules: [{match: \"/{x...}\", ttl: 30s}]"
        #expect(
            messages(text("{\(rule)}", both)) == ["a ttl is not for the stream 't': its entries have none"])
        #expect(
            messages(text("{\(rule)}, {rules: [{match: \"/**\"}]}", string)) == [
                "a ttl here has no effect: a later stage of rules decides what is written"
            ])
        _ = try valid(text("{\(rule.replacing("30s", with: "30s, to: [s]"))}", string))
    }

    @Test func stagesThatRememberAreRead() throws {
        let stages = try valid(stages("  - dedupe: true\n  - throttle: 500ms")).transform.stages
        #expect(stages.compactMap(StatefulStage.init) == [.dedupe, .throttle(milliseconds: 500)])
        func found(_ stage: String, _ sink: String) -> [String] {
            messages(definition(transform: "transform: [\(stage)]", sinks: "  s: {\(sink)}"))
        }
        #expect(
            found("throttle: 1s", "redis: \"redis://h\", write: stream, key: s").first?.hasPrefix(
                "throttle is not for the stream 's'") == true)
        #expect(
            found("throttle: 1s", "redis: \"redis+cluster://h:1\", write: string, key: \"{path}\"") == [])
        #expect(
            found("dedupe: true", "redis: \"redis://h\", write: string, key: \"{path}\", ttl: 1h") == [
                "a ttl is not renewed by a change that writes the same again: dedupe takes it out"
            ])
    }

    @Test func whatIsFilteredAndWholeEnvelopes() throws {
        let sinks = """
              s: {redis: "redis://h", write: string, key: "{path}", on_filtered: keep}
              t: {redis: "redis://h", write: stream, key: s, envelope: true}
            """
        let specifications = try valid(definition(name: "pipe", sinks: sinks)).sinks.map(\.specification)
        #expect(specifications.map(\.removesFiltered) == [false, true])
        #expect(specifications.map(\.envelope) == [nil, "pipe"])
        #expect(
            messages(
                definition(sinks: "  t: {redis: \"redis://h\", write: stream, key: s, on_filtered: keep}"))
                == ["'on_filtered' does not apply to 'write: stream'"])
    }

    /// Of several znodes with one key: a filter may not remove what another one has written, nor throttle put the older
    /// value last.
    @Test func sharedKeysAreWatched() {
        func found(_ rule: String, _ stage: String, _ url: String, _ keys: String = "") -> [String] {
            messages(
                definition(
                    transform:
                        "transform:\n  - rules: [{match: \"/a/{g}/{i}\", decode: json\(rule)}]\n\(stage)",
                    sinks: "  s: {redis: \"\(url)\", write: string, key: \"{g}\"\(keys)}"))
        }
        let jq = ", jq: \"select(.on)\""
        for shared in [
            found(jq, "", "redis+cluster://h:1", ", on_filtered: keep"), found("", "", "redis+cluster://h:1"),
            found("", "", "redis://h"),
        ] {
            #expect(shared.count == 1)
            #expect(shared.first?.contains("the last one wins, and deleting one removes it") == true)
        }
        // The sink remembers.
        for url in ["redis://h", "redis+cluster://h:1"] {
            #expect(found(jq, "", url) == [])
            #expect(found(jq, "", url, ", on_delete: keep").count == 1)
        }
        let throttled = found("", "  - throttle: 1s", "redis://h")
        #expect(throttled.first?.contains("throttle may let the older of two of them come last") == true)
    }
}
