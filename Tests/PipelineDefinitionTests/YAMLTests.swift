import Testing

@testable import PipelineDefinition

@Suite struct YAMLTests {
    @Test func syntaxErrorsHaveAPlace() {
        let cases = [
            ("name: a\nsource: {zookeeper: [}\n", "2:22"), ("name: a\n\tb: c\n", "2:1"),
            ("name: \"a\n", "2:1"),
            ("name: a\n  b: c\n", "2:4"), ("name: @a\n", "1:7"), ("a: *nowhere\n", "1:4"),
            ("a: \u{1}\n", "1:4"),
        ]
        for (text, place) in cases {
            let found = problems(text)
            #expect(found.count == 1, "\(found)")
            #expect(found.first?.hasPrefix("\(place) error: this is no YAML: ") == true, "\(text): \(found)")
        }
    }

    @Test func aSecondDocumentIsRefused() {
        #expect(
            problems("name: a\n---\nname: b\n").first?.hasPrefix("2:1 error: this is no YAML: ") == true,
            "\(problems("name: a\n---\nname: b\n"))")
    }

    @Test func everyRepeatedKeyIsReportedAndTheRestStillChecked() {
        let text = """
            name: a
            source:
              zookeeper: {connect: h, paths: [/], connect: i}
            sinks:
              out: {write: stdout}
              "out": {write: stdout}
              out: {write: stdout}
            name: b
            on_errr: stop
            """
        #expect(
            problems(text) == [
                "3:39 error: the key 'connect' stands twice in this mapping (the first is at line 3)",
                "6:3 error: the key 'out' stands twice in this mapping (the first is at line 5)",
                "7:3 error: the key 'out' stands twice in this mapping (the first is at line 5)",
                "8:1 error: the key 'name' stands twice in this mapping (the first is at line 1)",
                "9:1 error: unknown key 'on_errr' (did you mean 'on_error'?)",
            ])
    }

    @Test func repeatedKeysThatCannotBeRenamedAreStillReported() {
        let found = messages("\"n\\x61me\": a\nname: b\n")
        #expect(found == ["the key 'name' stands twice in this mapping"])
    }

    @Test func mergeKeysAndOtherKeysAreRefused() {
        #expect(messages(definition(log: "<<: {}")) == ["merge keys ('<<') are not read"])
        #expect(messages(definition(log: "[a]: b")) == ["a key is a text, not a list or a mapping"])
    }

    @Test func aliasesThatMultiplyAreBounded() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...20 {
            let items = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(items)]\n"
        }
        #expect(messages(text) == ["the definition has more than 20000 parts, those of aliases included"])
    }

    @Test(arguments: [200, 900, 2000, 100_000])
    func deepNestingIsNoCrash(depth: Int) {
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            let nested = String(repeating: open, count: depth) + String(repeating: close, count: depth)
            #expect(parse("tests: \(nested)").definition == nil)
            #expect(parse("tests: " + String(repeating: open, count: depth)).definition == nil)
        }
        let block = (0..<min(depth, 1000)).map { String(repeating: " ", count: $0) + "a:" }.joined(
            separator: "\n")
        #expect(parse(block).definition == nil)
    }

    @Test func columnsCountUnicodeScalars() {
        #expect(problems("{é😀: 1, nme: a}").contains { $0.hasPrefix("1:9 error: unknown key 'nme'") })
    }

    @Test func linesOfWindowsAreLines() {
        #expect(
            problems("name: a\r\nname: b\r\n").last
                == "2:1 error: the key 'name' stands twice in this mapping (the first is at line 1)")
    }

    // MARK: Variables

    @Test(arguments: [
        ("plain", "plain"), ("${A}", "one"), ("x${A}y${A}", "xoneyone"), ("${N:two}", "two"),
        ("${N:-two}", "two"),
        ("${N:}", ""), ("${N:-}", ""), ("${A:two}", "one"), ("${E:two}", ""), ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A", "$A"), ("a$", "a$"), ("${N:a:b}", "a:b"), ("${N:redis://h:1/0}", "redis://h:1/0"),
        ("$${", "${"),
        ("${N:--x}", "-x"), ("$$ ${A}", "$$ one"), ("{value}", "{value}"),
    ])
    func variablesAreFilledIn(text: String, expected: String) throws {
        #expect(try Variables.resolve(text, ["A": "one", "E": ""]) == expected)
    }

    @Test(arguments: [
        ("${N}", "the environment variable N is not set and has no default"), ("${N", "'${' without '}'"),
        ("${}", "'${}' is no variable name: letters, digits and _, not beginning with a digit"),
        ("${1A}", "'${1A}' is no variable name: letters, digits and _, not beginning with a digit"),
        ("${A-B}", "'${A-B}' is no variable name: letters, digits and _, not beginning with a digit"),
    ])
    func wrongVariablesAreReportedOnceAndInPlace(text: String, message: String) {
        let found = problems(definition(name: "\"\(text)\""))
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("1:7 error: \(message)") == true, "\(found)")
    }

    @Test func valuesOfVariablesAreNotYAML() throws {
        let text = definition(name: "\"${NAME}\"")
        #expect(try valid(text, environment: ["NAME": "a-b"]).name == "a-b")
        #expect(messages(text, environment: ["NAME": "a: [b"]) == ["'a: [b' is no pipeline name"])
    }

    // MARK: Quantities

    @Test(
        arguments: [
            ("64MiB", 64 << 20), ("1GB", 1_000_000_000), ("4096", 4096), ("4 KiB", 4096), ("0B", 0),
            ("2TiB", 2 << 40),
            ("", nil), ("MiB", nil), ("-1", nil), ("1.5GiB", nil), ("1mib", nil), ("9999999999TiB", nil),
            ("１", nil),
        ] as [(String, Int64?)])
    func sizes(text: String, expected: Int64?) {
        #expect(Quantity.bytes(text) == expected)
    }

    @Test(
        arguments: [
            ("10s", 10_000), ("500ms", 500), ("7d", 604_800_000), ("2h", 7_200_000), ("3m", 180_000),
            ("10", nil),
            ("s", nil), ("1w", nil), ("-1s", nil), ("99999999999999999d", nil),
        ] as [(String, Int64?)])
    func durations(text: String, expected: Int64?) {
        #expect(Quantity.milliseconds(text) == expected)
    }

    @Test(
        arguments: [
            ("conect", "connect"), ("Sinks", "sinks"), ("session-timeout", "session_timeout"),
            ("pahts", "paths"),
            ("xyz", nil), ("", nil),
        ] as [(String, String?)])
    func suggestions(word: String, expected: String?) {
        let known = ["connect", "paths", "session_timeout", "sinks"]
        #expect(Suggestion.nearest(to: word, among: known) == expected)
    }
}
