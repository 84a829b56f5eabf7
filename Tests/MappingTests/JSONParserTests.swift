import TestRandom
import Testing

@testable import Mapping

/// simdjson reads a document as Foundation does, or leaves it to Foundation.
@Suite struct JSONParserTests {
    private static let documents = [
        "{}", "[]", "[null,true,false]", #"{"a":{"b":[1,"x",{}]},"c":[]}"#, " {\"a\" : 1 }\n", "[1,]",
        "[1 2]", "{\"a\" 1}",
        "{\"a\":1,}", "{\"a\":1}x", "{\"a\":1}{}", "[", "{\"a\":", "[tru]", "[nul]", "[truex]", "[01]",
        "[+1]", "[.5]", "[1.]",
        "[1e]", "[-]", "[-0]", "[0]", "[-0.0]", "[1.0]", "[1.5]", "[1e2]", "[1E-2]",
        "[0.12345678901234567890]",
        "[9223372036854775807]", "[9223372036854775808]", "[-9223372036854775808]", "[-9223372036854775809]",
        "[18446744073709551615]", "[18446744073709551616]", "[123456789012345678901234567890]", "[1e400]",
        "[NaN]",
        #"["\u0041\ud83d\ude00"]"#, #"["\ud800"]"#, #"["\ud800x"]"#, #"["\udc00"]"#, #"["\u0000"]"#,
        #"["\n\/\\\"\b\f"]"#,
        #"["\x"]"#, #"["\u12"]"#, "[\"a\u{1}b\"]", "[\"a\nb\"]", #"{"a":1,"a":2}"#, #"{"é":1}"#,
        #"{"a":1,"\u0061":2}"#,
        "\u{feff}{}", "[\"\"]", "{\"\":\"\"}", "{1:2}", "[//\n]", "['a']", "[\u{a0}1]", "[\"\u{10ffff}\"]",
    ]

    @Test(arguments: documents) func asFoundation(document: String) {
        check(Bytes(document.utf8))
    }

    @Test(arguments: [510, 511, 512, 513, 514, 2000]) func depth(depth: Int) {
        check(Bytes((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8))
        let object = String(repeating: "{\"a\":", count: depth) + "1" + String(repeating: "}", count: depth)
        check(Bytes(object.utf8))
    }

    @Test func bytesThatAreNoText() {
        for bytes: Bytes in [
            [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0],
        ] {
            check(Bytes("[\"".utf8) + bytes + Bytes("\"]".utf8))
            check(Bytes("[".utf8) + bytes + Bytes("]".utf8))
        }
    }

    @Test func mostDocumentsAreReadQuickly() {
        #expect(JSONEvents.value(of: Bytes(#"{"a":{"b":[1,-2,3.5,"x",null,true]}}"#.utf8), .all) != nil)
    }

    @Test func brokenDocuments() {
        var random = SeededGenerator(seed: 2026)
        let alphabet = Bytes(#"{}[],:"\0123456789.eE+-truefalsn ud8"#.utf8) + [0x0a, 0x80, 0xc3, 0xff]
        for _ in 0..<20_000 {
            var document = Bytes(JSONParserTests.documents.randomElement(using: &random)?.utf8 ?? "".utf8)
            for _ in 0...Int.random(in: 0..<3, using: &random) {
                let place = Int.random(in: 0...document.count, using: &random)
                let byte = alphabet.randomElement(using: &random) ?? 0
                if place < document.count, Bool.random(using: &random) {
                    document[place] = byte
                } else {
                    document.insert(byte, at: place)
                }
            }
            check(document)
        }
    }

    private func check(_ document: Bytes) {
        guard let value = JSONEvents.value(of: document, .all) else { return }
        #expect(value == (try? Value.foundationJSON(document)), "\(document)")
        // Who looks at one member gets the same of it.
        guard case .object(let object) = value else { return }
        for member in object.members.prefix(3) {
            let part = JSONEvents.value(of: document, .named([[0], Bytes(member.name.utf8)]))
            guard case .object(let found)? = part else { Issue.record("\(document)"); continue }
            #expect(found[member.name] == object[member.name], "\(document)")
        }
    }
}
