import Testing

@testable import Mapping

@Suite struct DecodingTests {
    private func json(_ text: String) throws -> String {
        String(decoding: try Decoding.json.value(of: Bytes(text.utf8)).textBytes, as: UTF8.self)
    }

    @Test(arguments: [
        "9", "9.5", "0", "-1", "true", "false", "9223372036854775807", "-9223372036854775808",
        "9223372036854775806", "18446744073709551615", "100000000000000000000", "1700000000000", "0.1",
        "-0.25",
        "9007199254740993", "-9007199254740993",
    ])
    func numbersAndBooleansKeepTheirText(text: String) throws {
        #expect(try json(text) == text)
        // Nested, they are JSON again.
        #expect(try json("[\(text)]") == "[\(text)]")
    }

    @Test func booleansAndNumbersAreNotConfused() throws {
        #expect(
            try Decoding.json.value(of: Bytes("[true,1,false,0,1.0]".utf8))
                == .array([.boolean(true), .integer(1), .boolean(false), .integer(0), .number("1.0")]))
    }

    @Test func nestedValuesAreCompactWithSortedKeys() throws {
        let text = #" { "b" : [ 1 , { "z" : null , "a" : "x\n\"\\\u0001é" } ] , "a" : {} , "c":[] } "#
        #expect(try json(text) == #"{"a":{},"b":[1,{"a":"x\n\"\\\u0001é","z":null}],"c":[]}"#)
    }

    @Test func escapesInTextAreResolved() throws {
        #expect(try json(#""a\u00e9\ud83d\ude00\/\t""#) == "aé😀/\t")
    }

    @Test(arguments: [
        "{", "[1", "nope", "{\"a\":}", "\"\\ud800\"", "01", "NaN", "1e999", "{'a':1}", "1 2", "// x\n1", " ",
        "\"a",
    ])
    func malformedJSONIsAnErrorThatDoesNotQuoteIt(text: String) {
        #expect(throws: MappingFault.undecodable("the data is not valid JSON")) {
            try Decoding.json.value(of: Bytes(text.utf8))
        }
    }

    @Test(
        arguments: [
            [0x22, 0xff, 0x22], [0x22, 0xc3, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x31, 0x00],
            [0xff, 0xfe, 0x31, 0x00],
            [0x00, 0x31], [0x22, 0xed, 0xa0, 0x80, 0x22],
        ] as [Bytes])
    func jsonMustBeUTF8(data: Bytes) {
        #expect(throws: MappingFault.self) { try Decoding.json.value(of: data) }
    }

    @Test(arguments: [513, 5000, 200_000])
    func deepNestingIsAnErrorAndNoCrash(depth: Int) {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
            #expect(throws: MappingFault.self) { try Decoding.json.value(of: Bytes(text.utf8)) }
            let unclosed = String(repeating: open, count: depth)
            #expect(throws: MappingFault.self) { try Decoding.json.value(of: Bytes(unclosed.utf8)) }
        }
    }

    @Test func theDepthThatFoundationAllowsCanBeWrittenAgain() throws {
        let text = String(repeating: "[", count: 512) + String(repeating: "]", count: 512)
        #expect(try json(text) == text)
    }

    @Test func aRepeatedMemberTakesItsLastValue() throws {
        #expect(try json(#"{"a":1,"a":2}"#) == #"{"a":2}"#)
    }

    @Test func textMustBeUTF8() throws {
        #expect(try Decoding.text.value(of: Bytes("é".utf8)) == .bytes(Bytes("é".utf8)))
        #expect(throws: MappingFault.undecodable("the data is not valid UTF-8")) {
            try Decoding.text.value(of: [0x61, 0xff])
        }
    }

    @Test func noneTakesAnyBytes() throws {
        #expect(try Decoding.none.value(of: [0, 0xff]) == .bytes([0, 0xff]))
    }

    @Test func noDataIsNullWhereItWouldHaveToBeParsed() throws {
        for decoding in [Decoding.json, .integer, .number] { #expect(try decoding.value(of: []) == .null) }
        for decoding in [Decoding.none, .text, .base64] { #expect(try decoding.value(of: []) == .bytes([])) }
    }

    @Test func integersAndNumbers() throws {
        #expect(try Decoding.integer.value(of: Bytes(" 42\n".utf8)) == .integer(42))
        #expect(try Decoding.integer.value(of: Bytes("-9223372036854775808".utf8)) == .integer(.min))
        #expect(try Decoding.number.value(of: Bytes("42".utf8)) == .integer(42))
        #expect(try Decoding.number.value(of: Bytes("9.50".utf8)) == .number("9.5"))
        for text in ["9.5", "x", "9223372036854775808", "0x1f", " "] {
            #expect(throws: MappingFault.undecodable("the data is no integer of 64 bits")) {
                try Decoding.integer.value(of: Bytes(text.utf8))
            }
        }
        for text in ["nan", "inf", "0x1p3", "1e999", "", "x"].filter({ !$0.isEmpty }) {
            #expect(throws: MappingFault.undecodable("the data is no number")) {
                try Decoding.number.value(of: Bytes(text.utf8))
            }
        }
    }

    @Test func base64() throws {
        #expect(try Decoding.base64.value(of: Bytes("aGVs\nbG8=\n".utf8)) == .bytes(Bytes("hello".utf8)))
        #expect(throws: MappingFault.undecodable("the data is not valid base64")) {
            try Decoding.base64.value(of: Bytes("a*b=".utf8))
        }
    }

    @Test func membersAreFoundByNameAndIndex() throws {
        let value = try Decoding.json.value(of: Bytes(#"{"list":[10,{"x":1}],"1":"one"}"#.utf8))
        #expect(value.member(at: ["list", "0"]) == .integer(10))
        #expect(value.member(at: ["list", "1", "x"]) == .integer(1))
        #expect(value.member(at: ["1"]) == .text("one"))
        for steps in [
            ["list", "2"], ["list", "-1"], ["list", "x"], ["list", "0", "y"], ["none"], ["list", "+0x"],
        ] {
            #expect(value.member(at: steps[...]) == nil)
        }
    }
}
