import PipelineDefinition
import Testing

@Suite struct RoutingTests {
    private func rules(_ rules: String, sinks: String) -> [String] {
        problems(
            "name: a\nsource: {zookeeper: {connect: h, paths: [/a, /b]}}\ntransform:\n- rules:\n"
                + "\(rules)\nsinks:\n\(sinks)"
        )
    }

    private let stream = "  out: {redis: \"redis://h\", write: stream, key: s}"

    @Test func everyRuleThatWritesToASinkMustCaptureWhatItNeeds() {
        let sinks =
            "  out: {redis: \"redis://h\", write: string, key: \"k:{x}:{y}\"}\n  other: {write: stdout}"
        #expect(
            rules(
                "  - match: \"/a/{x}/{y}\"\n  - match: \"/b/{x}\"\n  - match: \"/b/{z}/q\"\n    to: [other]",
                sinks: sinks)
                == [
                    "10:49 error: the key of sink 'out' needs {y}, which the rule at line 6 does not capture "
                        + "(match: /b/{x}) (did you mean {x}?)"
                ])
    }

    @Test func fieldsNeedCapturesOfTheirOwnRule() {
        #expect(
            rules(
                "  - match: \"/a/{service}\"\n    set:\n      s: \"{servce}\"\n      p: {from: nothing}",
                sinks: stream)
                == [
                    "7:10 error: the field 's' needs {servce}, which this rule does not capture "
                        + "(match: /a/{service}) (did you mean {service}?)",
                    "8:17 error: the field 'p' needs {nothing}, which this rule does not capture "
                        + "(match: /a/{service})",
                ])
    }

    @Test func theShapeNeedsMembers() {
        let message =
            "is for the members of the value, but this rule has 'decode: text', which gives a value without "
            + "members (write 'decode: json' in this rule, or remove it)"
        #expect(
            rules("  - match: /a\n    decode: text\n    select: [x]\n    cast: {y: integer}", sinks: stream)
                == ["7:5 error: select \(message)"])
        #expect(
            rules("  - match: /a\n    decode: text\n    jq: fromjson\n    select: [x]", sinks: stream).isEmpty
        )
    }

    @Test func membersOfTheValueNeedJSON() {
        #expect(
            rules(
                "  - match: /a\n    decode: text\n    set: {h: \"{value.host}\", all: \"{value}\"}",
                sinks: stream)
                == [
                    "7:14 error: the field 'h' needs {value.host}, but this rule has 'decode: text', which "
                        + "gives a value without members (write 'decode: json' in this rule, or {value} "
                        + "for all of the data)"
                ])
    }

    @Test func withoutTransformNothingIsCapturedOrDecoded() {
        let sinks = "  s: {redis: \"redis://h\", write: string, key: \"{pth}\", value: \"{value.x}\"}"
        #expect(
            messages(definition(sinks: sinks)) == [
                "the key of sink 's' needs {pth}, but without a transform nothing is captured",
                "the value of sink 's' needs {value.x}, but without a transform nothing is decoded",
            ])
    }

    @Test func captureNamesMayNotHideMetadata() {
        for name in ["path", "op", "value", "version", "zxid", "ts_ms", "offset", "ephemeral"] {
            #expect(
                rules("  - match: \"/a/{\(name)}\"", sinks: stream) == [
                    "5:12 error: the capture {\(name)} has a name that templates know as something else "
                        + "(choose another name)"
                ])
        }
    }

    @Test func aRuleThatCannotBeReadStillHasItsOtherMistakesFound() {
        #expect(
            rules(
                "  - match: a\n    on: [x]\n    to: [uot]\n    set: {f: {from: \"{value.a}\", type: int}}",
                sinks: stream)
                == [
                    "5:12 error: the pattern 'a': a path pattern begins with a slash "
                        + "(write for example /services/{service}/* or /services/**)",
                    "6:10 error: 'x' is no operation "
                        + "(c is created, u updated, r read by a snapshot, d deleted)",
                    "7:10 error: there is no sink 'uot' (did you mean 'out'?)",
                    "8:21 error: from names one thing, without braces (write value.a)",
                    "8:40 error: type is one of string, integer, number, boolean, time, epoch_ms, epoch_s, time_of_seconds, not 'int' (write for example string)",
                ])
    }

    @Test func aSinkThatCannotBeReadIsStillASink() {
        #expect(
            rules("  - match: /a\n    to: [out]", sinks: "  out: {write: hsh, key: \"{q}\"}") == [
                "8:16 error: write is one of stream, string, hash, set, children, stdout, sorted_set, not 'hsh' "
                    + "(did you mean 'hash'?)",
                "8:26 error: the key of sink 'out' needs {q}, which the rule at line 5 does not capture "
                    + "(match: /a) (capture it there, or give that rule a 'to' without this sink)",
            ])
    }

    // MARK: Warnings

    @Test func aSinkThatNobodyWritesToIsAWarning() throws {
        let sinks = stream + "\n  idle: {write: stdout}"
        #expect(
            rules("  - match: /a\n    to: [out]", sinks: sinks) == [
                "9:3 warning: no rule writes to the sink 'idle' (name it in a rule's 'to', or remove it)"
            ])
    }

    @Test func aRepeatedMatchIsAWarning() {
        #expect(
            rules("  - match: /a\n  - match: /a", sinks: stream) == [
                "6:12 warning: this rule is never reached: the one at line 5 has the same match "
                    + "(the first rule that matches decides: move this one before it, or give that one 'continue: true')"
            ])
    }

    @Test func aRuleBehindOneThatMatchesAllOfItIsAWarning() {
        func found(_ first: String, _ second: String, _ key: String = "") -> [String] {
            rules("  - {match: \"\(first)\"\(key)}\n  - {match: \"\(second)\"}", sinks: stream)
        }
        let warning = "6:13 warning: this rule is never reached: the one at line 5 matches all that it does"
        #expect(found("/a/**", "/a/{x}/{y}").first?.hasPrefix(warning + " (/a/**)") == true)
        #expect(found("/a/{x}", "/a/b").first?.hasPrefix(warning) == true)
        #expect(found("/a/{k:b|c}", "/a/c").first?.hasPrefix(warning) == true)
        #expect(found("/a/b", "/a/{x}") == [])
        #expect(found("/a/**", "/a/b", ", continue: true") == [])
        #expect(found("/a/**", "/a/b", ", exclude: [/a/b]") == [])
    }

    @Test func aRuleThatItsExcludeLeavesNothingIsAWarning() {
        func found(_ exclude: String) -> [String] {
            rules("  - {match: \"/a/{x}/{y}\", exclude: [\"\(exclude)\"]}", sinks: stream)
        }
        #expect(
            found("/a/**") == [
                "5:13 warning: this rule matches nothing: its exclude (/a/**) leaves out all that it matches"
            ])
        #expect(found("/a/*/b") == [])
    }

    @Test func oneKeyOfTwoTypesIsAnError() {
        let key = "redis: \"redis://h\", key: \"k:{x}\""
        func found(_ first: String, _ second: String, to: String = "") -> [String] {
            rules(
                "  - {match: \"/a/{x}\"\(to)}",
                sinks: "  one: {\(key), write: \(first)}\n  two: {\(key), write: \(second)}")
        }
        #expect(
            found("string", "hash") == [
                "8:34 error: the sinks 'one' and 'two' write the key 'k:{x}' as different types "
                    + "(give each sink keys of its own)"
            ])
        #expect(
            found("string", "string") == [
                "8:34 warning: the sinks 'one' and 'two' write the same key 'k:{x}' "
                    + "(give each sink keys of its own)"
            ])
        #expect(found("hash, field: a", "hash, field: b") == [])
    }

    @Test func aRuleOutsideTheCapturedPathsIsAWarning() {
        #expect(
            rules(
                "  - match: \"/c/{x}\"\n  - match: \"/{x}/y\"\n  - match: /a/x\n  - match: /", sinks: stream)
                == [
                    "5:12 warning: this rule matches nothing: /c/{x} lies outside source.zookeeper.paths",
                    "8:12 warning: this rule matches nothing: / lies outside source.zookeeper.paths",
                ])
    }

    @Test func aKeyThatSeveralNodesShareIsAWarning() {
        let sinks = "  out: {redis: \"redis://h\", write: hash, key: \"k:{x}\"}"
        let shared = "share what the sink 'out' writes: the last one wins, and deleting one removes it"
        #expect(
            rules("  - match: \"/a/{x}/{y}\"\n  - match: \"/b/{x}/*\"\n  - match: \"/a/{x}\"", sinks: sinks)
                == [
                    "9:47 warning: znodes that differ only in {y} (rule at line 5) \(shared) "
                        + "(use {y} in the key)",
                    "9:47 warning: znodes that differ only in * (rule at line 6) \(shared) "
                        + "(use {path} in the key)",
                ])
        #expect(
            messages(definition(sinks: sinks.replacing("k:{x}", with: "k")))
                == ["znodes that differ only in {path} \(shared)"])
    }

    @Test func aFieldThatLooksLikeAReferenceIsAWarning() {
        #expect(
            rules("  - match: /a\n    decode: json\n    set: {h: value.host}", sinks: stream) == [
                "7:14 warning: the field 'h' is the text 'value.host', not what it names "
                    + "(write \"{value.host}\")"
            ])
    }

    @Test func warningsAloneLeaveADefinition() {
        let text = definition(
            transform: "transform: [{rules: [{match: /a}, {match: /a}]}]")
        let result = parse(text)
        #expect(result.definition != nil)
        #expect(result.errors.isEmpty)
        #expect(result.diagnostics.count == 1)
    }

    @Test func defaultsMustBeOfTheirType() {
        #expect(
            rules(
                "  - match: /a\n    decode: json\n    set: {h: {from: value.p, type: integer, default: x}}",
                sinks: stream)
                == ["7:54 error: the default 'x' of the field 'h' is no integer (write one, or another type)"]
        )
    }
}
