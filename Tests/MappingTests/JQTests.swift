import ChangeModel
import JQ
import Testing

@testable import Mapping

@Suite struct JQTests {
    private func run(_ program: String, _ json: String, milliseconds: Int = 1000) throws -> [String] {
        var limits = JQProgram.Limits()
        limits.milliseconds = milliseconds
        let value = try Decoding.json.value(of: Bytes(json.utf8))
        return try JQProgram(program, limits: limits).outputs(of: value).map { value in
            String(decoding: value.textBytes, as: UTF8.self)
        }
    }

    @Test(arguments: [
        (".", #"{"a":[1,2.5,"x",null,true]}"#, [#"{"a":[1,2.5,"x",null,true]}"#]),
        (".a[]", #"{"a":[1,"é"]}"#, ["1", "é"]), ("select(.a)", "{}", []),
        ("# only\n.a", #"{"a":"\u0000x"}"#, ["\0x"]),
        ("def f: . + 1; map(f)", "[1]", ["[2]"]), ("env, $ENV", "{}", ["{}", "{}"]),
        ("1e300*1e300", "{}", [""]), ("debug, stderr, [inputs], input_filename", "1", ["1", "1", "[]", ""]),
        (".[0] | .[1:]", #"[[[],[[],{}],{"":{}}]]"#, [#"[[[],{}],{"":{}}]"#]),
    ])
    func outputs(program: String, json: String, expected: [String]) throws {
        #expect(try run(program, json) == expected)
    }

    @Test(arguments: [".a[", "nothing(1)", "import \"x\" as x; .", "{", "$x"])
    func programsThatAreNone(text: String) {
        let error = #expect(throws: JQError.self) { try JQProgram(text) }
        #expect(error?.code == .syntax)
        #expect(error?.message.isEmpty == false)
    }

    @Test(arguments: [
        ".a.b", "error(\"it\")", "halt", "halt_error", "halt_error(1)", "input", "tonumber", "fromjson",
    ])
    func errorsDoNotQuoteTheData(program: String) throws {
        let fault = #expect(throws: MappingFault.self) { try run(program, #"{"a":"secret"}"#) }
        #expect("\(String(describing: fault))".contains("secret") == false)
    }

    @Test(arguments: [
        "def f: f; f", "[range(1e18)]", "[range(1e9)]", "last(range(1e18))", "until(false; .)",
        "[limit(1e9; repeat(1))] | length", "jn(1e18; 1.5)", "[range(3e6)] | sort_by(-.)",
    ])
    func aRunawayProgramIsStopped(program: String) throws {
        #expect(throws: MappingFault.jq("jq has taken more than 100ms")) {
            try run(program, "{}", milliseconds: 100)
        }
        #expect(try run(".", "{}") == ["{}"])
    }

    /// What ends or holds up a process with jq 1.6 in it, and may come from a znode.
    @Test(arguments: [
        ("todate", "1700000000000000000"), ("gmtime", "1e300"), ("strftime(.)", "0"),
        ("[2020, .] | mktime", "1e18"),
        ("strflocaltime(\"%c\")", "-1e18"), (". as $n | [] | .[$n] = 1", "500000000"),
        (". as $n | [] | .[$n] = 1", "1431655766"),
        ("setpath([.[0]]; 1)", "[1e12]"), (". as $n | [] | .[$n] |= 1", "1e9"), ("jn(.; 1.5)", "1e18"),
        ("[scan(\"x*\")]", "\"né\""), ("[match(\"(?=.)\"; \"g\")]", "\"né\""),
        ("[match([\"\", \"g\"])]", "\"né\""),
        ("gsub(\"\\\\b\"; \"-\")", "\"né\""), ("[splits(\" *\")]", "\"né\""), ("split(\"\"; \"\")", "\"né\""),
        ("capture(\"(?<a>x*)\"; \"g\")", "\"né\""), ("reduce range(1000000) as $i (.; [.]) | 1", "1"),
        ("reduce range(40) as $i (.; . + .)", "\"xxxxxxxx\""),
    ])
    func whatEndsJQIsAnErrorOfTheChange(program: String, json: String) throws {
        #expect(throws: MappingFault.self) { try run(program, json, milliseconds: 300) }
        #expect(try run(".", "{}") == ["{}"])
    }

    @Test(arguments: [
        ("index(\"\")", "\"ab\"", [""]), ("[indices(.[0:0])]", "\"ab\"", ["[null]"]),
        ("todate", "1700000000", ["2023-11-14T22:13:20Z"]), ("gsub(\"é\"; \"e\")", "\"né\"", ["ne"]),
        ("gsub(\"\\\\s\"; \"\")", "\"n é\"", ["né"]), ("[scan(\"[a-z]+\")]", "\"né b\"", [#"["n","b"]"#]),
        ("gsub(\"^ +| +$\"; \"\")", "\" é b \"", ["é b"]), ("gsub(\"a\"; \"\"; \"x\")", "\"né\"", ["né"]),
        ("[match(\"\"; \"g\").offset]", "\"ab\"", ["[0,1]"]),
        (".a.b |= . + 1", #"{"a":{"b":1}}"#, [#"{"a":{"b":2}}"#]),
        ("del(.a) | .c = 1", #"{"a":1}"#, [#"{"c":1}"#]),
        ("sub(\"(?<x>a)\"; \"b\\(.x)\")", "\"xa\"", ["xba"]),
    ])
    func answers(program: String, json: String, expected: [String]) throws {
        #expect(try run(program, json) == expected)
    }

    @Test func outputIsBounded() throws {
        #expect(throws: MappingFault.jq("jq gives more than 1000 outputs")) { try run("range(2000)", "{}") }
        let large = #expect(throws: MappingFault.self) {
            try run("[range(300000)]", "{}", milliseconds: 60_000)
        }
        #expect("\(String(describing: large))".contains("more than 200000 values"))
        #expect(throws: MappingFault.self) { try run("reduce range(1000) as $i (.; [.])", "{}") }
        #expect(throws: MappingFault.jq("jq puts out more than 64 MiB")) {
            try run("(\"x\" * 1000000) as $x | [range(250)] | map($x)", "{}", milliseconds: 60_000)
        }
    }

    @Test func aProgramGoesOnAfterAnError() throws {
        let program = try JQProgram(".a | tonumber")
        for _ in 0..<3 {
            #expect(throws: MappingFault.self) {
                try program.outputs(of: .object(ObjectValue([.init(name: "a", value: .text("x"))])))
            }
            #expect(
                try program.outputs(of: .object(ObjectValue([.init(name: "a", value: .text("5"))]))) == [
                    .integer(5)
                ])
        }
    }

    @Test func threadsDoNotMeet() async throws {
        let program = try JQProgram("[range(.n)] | add")
        let sums = try await withThrowingTaskGroup(of: [Value].self) { group in
            for number in 1...40 {
                group.addTask {
                    try program.outputs(
                        of: .object(ObjectValue([.init(name: "n", value: .integer(Int64(number * 10)))])))
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        let expected = (1...40).map { (number: Int) -> Value in
            let count = Int64(number * 10)
            return .integer(count * (count - 1) / 2)
        }
        #expect(Set(sums) == Set(expected))
    }
}
