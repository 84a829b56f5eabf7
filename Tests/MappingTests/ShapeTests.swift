import ChangeModel
import JQ
import Testing

@testable import Mapping

@Suite struct ShapeTests {
    private func shaped(_ json: String, _ edit: (inout Shape) -> Void) throws -> String {
        var shape = Shape()
        edit(&shape)
        let value = try Decoding.json.value(of: Bytes(json.utf8))
        return String(decoding: try shape.apply(to: value).textBytes, as: UTF8.self)
    }

    @Test func membersAreKeptLeftOutRenamedAndFilledIn() throws {
        let json = #"{"a":{"b":1,"c":2},"d":"x","e":null}"#
        #expect(try shaped(json) { $0.select = [["a", "b"], ["d"], ["no"]] } == #"{"a":{"b":1},"d":"x"}"#)
        #expect(
            try shaped(json) { $0.drop = [["a", "c"], ["e"], ["no", "no"]] } == #"{"a":{"b":1},"d":"x"}"#)
        #expect(
            try shaped(json) {
                $0.rename = [.init(from: ["a", "b"], to: ["port"]), .init(from: ["no"], to: ["x"])]
            }
                == #"{"a":{"c":2},"d":"x","e":null,"port":1}"#)
        #expect(
            try shaped(json) {
                $0.defaults = [.init(name: ["e"], text: "1"), .init(name: ["f", "g"], text: "2")]
            }
                == #"{"a":{"b":1,"c":2},"d":"x","e":"1","f":{"g":"2"}}"#)
        #expect(
            try shaped(json) { $0.flatten = "." } == #"{"a.b":1,"a.c":2,"d":"x","e":null}"#)
        #expect(
            try shaped(json) {
                $0.flatten = "_"
                $0.select = [["a_b"]]
            } == #"{"a_b":1}"#)
    }

    @Test func itemsOfArraysAreReached() throws {
        let json = #"{"u":[{"p":"x","q":1},{"p":"y"}]}"#
        #expect(
            try shaped(json) { $0.mask = [["u", "0", "p"]] } == #"{"u":[{"p":"********","q":1},{"p":"y"}]}"#)
        #expect(
            try shaped(json) { $0.drop = [["u", "1"], ["u", "0", "q"], ["u", "7"]] } == #"{"u":[{"p":"x"}]}"#)
        #expect(try shaped(json) { $0.hash = [["u", "1", "p"]] }.contains("\"y\"") == false)
    }

    @Test func flattenIsBounded() {
        let name = String(repeating: "n", count: 600)
        let head = String(repeating: "{\"\(name)\":", count: 400)
        let leaves = (0..<2000).map { "\"\($0)\":0" }.joined(separator: ",")
        let json = head + "{\(leaves)}" + String(repeating: "}", count: 400)
        #expect(throws: MappingFault.wrongShape("flatten would give names of more than 16777216 bytes")) {
            try shaped(json) { $0.flatten = "." }
        }
    }

    @Test(arguments: [
        (FieldType.integer, "\"80\"", "80"), (.integer, "80.0", "80"), (.number, "\"9.50\"", "9.5"),
        (.boolean, "\"1\"", "true"), (.string, "80", "\"80\""),
        (.time, "1700000000123", "\"2023-11-14T22:13:20.123Z\""),
        (.timeOfSeconds, "1700000000", "\"2023-11-14T22:13:20.000Z\""),
        (.epochMilliseconds, "\"2023-11-14T22:13:20.123Z\"", "1700000000123"),
        (.epochMilliseconds, "\"2023-11-14T22:13:20Z\"", "1700000000000"),
        (.epochMilliseconds, "\"2023-11-14T23:13:20+01:00\"", "1700000000000"),
        (.epochSeconds, "\"2023-11-14T22:13:20.999Z\"", "1700000000"),
        (.time, "\"2023-11-14T22:13:20Z\"", "\"2023-11-14T22:13:20.000Z\""),
    ])
    func casts(type: FieldType, json: String, expected: String) throws {
        let text = try shaped("{\"x\":\(json)}") { $0.casts = [.init(name: ["x"], type: type)] }
        #expect(text == "{\"x\":\(expected)}")
    }

    @Test(arguments: [
        (FieldType.integer, "9.5"), (.integer, "\"x\""), (.number, "true"), (.boolean, "2"),
        (.time, "\"yesterday\""),
        (.epochMilliseconds, "9223372036854775807"), (.timeOfSeconds, "9223372036854775807"), (.time, "[]"),
    ])
    func castsThatFail(type: FieldType, json: String) {
        #expect(throws: MappingFault.self) {
            try shaped("{\"x\":\(json)}") { $0.casts = [.init(name: ["x"], type: type)] }
        }
    }

    @Test func secretsAreHidden() throws {
        let json = #"{"user":"ada","password":"p","card":{"number":"4111"}}"#
        #expect(
            try shaped(json) {
                $0.mask = [["password"], ["card", "number"], ["none"]]
            } == #"{"card":{"number":"********"},"password":"********","user":"ada"}"#)
        let plain = try shaped(json) { $0.hash = [["user"]] }
        #expect(plain.contains("52c9fb9f9d1d4fb6d1d0b8a0b9b1c2d3") == false)
        #expect(plain.contains(DigestAlgorithm.sha256.hexadecimal(of: Bytes("ada".utf8))))
        let keyed = try shaped(json) {
            $0.hash = [["user"]]
            $0.hashKey = "secret"
        }
        #expect(keyed != plain)
        #expect(!keyed.contains("ada"))
    }

    @Test func onlyObjectsHaveAShapeAndNoDataStaysNone() throws {
        var shape = Shape()
        shape.drop = [["a"]]
        #expect(throws: MappingFault.self) { try shape.apply(to: .array([])) }
        #expect(try shape.apply(to: .null) == .null)
    }

    @Test func digestsAreThoseOfOthers() {
        let abc = Bytes("abc".utf8)
        #expect(
            DigestAlgorithm.sha256.hexadecimal(of: abc)
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(DigestAlgorithm.md5.hexadecimal(of: abc) == "900150983cd24fb0d6963f7d28e17f72")
        // RFC 4231, test case 2.
        #expect(
            DigestAlgorithm.sha256.hexadecimal(
                of: Bytes("what do ya want for nothing?".utf8), key: Bytes("Jefe".utf8))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }
}

@Suite struct TemplateFilterTests {
    private func render(_ template: String, _ json: String = "{}") throws -> String {
        let mapper = mapper([try rule("/{x}", decode: .json)], try sink(.string, key: "k", value: template))
        return mapper.write(change(.create, "/Ab%20C-7", json))
    }

    @Test(arguments: [
        ("{x|lower}", "ab%20c-7"), ("{x|upper}", "AB%20C-7"), ("{x|urldecode}", "Ab C-7"),
        ("{x|urldecode|lower|replace: :_}", "ab_c-7"), ("{x|split:-:1|pad:4}", "0007"),
        ("{x|split:-:-1|pad:3:x}", "xx7"),
        ("{value.n|default:none}", "none"), ("{value.n|default:a:b|upper}", "A:B"), ("{value.s|trim}", "s p"),
        ("{x|truncate:2}", "Ab"), ("{x|base64}", "QWIlMjBDLTc="), ("{x|urlencode}", "Ab%2520C-7"),
        ("{value.s|mask}", "********"), ("{value.long|mask:4}", "********6789"),
        ("{path|hash:sha256:12}", "a5a0ecc52b16"),
        ("{x|hash:md5|truncate:4}x", "9a33x"), ("{value.o}", #"{"a":1}"#),
        ("{value.plus|urldecode:form}", "a b+"),
    ])
    func filters(template: String, expected: String) throws {
        let json = #"{"s":" s p ","n":null,"long":"123456789","o":{"a":1},"plus":"a+b%2B"}"#
        let written = try render(template, json)
        if template.contains("hash") {
            #expect(written.count == "SET k '\(expected)'".count)
        } else {
            #expect(written == "SET k '\(expected)'")
        }
    }

    @Test(arguments: [
        ("{value.n|lower}", "value.n is missing"), ("{x|split:-:5}", "x has 2 parts between '-', not part 5"),
        ("{value.bad|urldecode}", "value.bad has a percent escape that stands for no text"),
    ])
    func filtersThatFail(template: String, reason: String) throws {
        #expect(try render(template, #"{"bad":"%zz"}"#).contains(reason))
    }

    @Test(arguments: [
        ("{x|lowr}", "there is no filter 'lowr'; did you mean 'lower'?"),
        ("{x|pad}", "the filter 'pad' is written pad:10 or pad:10:x"),
        ("{x|pad:0}", "the filter 'pad' needs a number from 1 to 1024"),
        ("{x|hash:crc}", "'crc' is no digest"),
        ("{x|hash:md5:33}", "the filter 'hash' needs a number from 1 to 32"),
        ("{x|}", "there is no filter ''"),
        ("{x|lower:2}", "the filter 'lower' is written without arguments"),
        ("{|lower}", "'{}' names nothing"),
    ])
    func filtersAreChecked(text: String, message: String) {
        let error = #expect(throws: Template.SyntaxError.self) { try Template(text) }
        #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "")")
    }
}
