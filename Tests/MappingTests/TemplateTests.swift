import Testing

@testable import Mapping

@Suite struct TemplateTests {
    @Test func piecesAreTakenApart() throws {
        let template = try Template("svc:{service}:{value.address.host}/{zxid}")
        #expect(
            template.pieces == [
                .literal(Bytes("svc:".utf8)), .reference(.capture("service"), []), .literal(Bytes(":".utf8)),
                .reference(.value(["address", "host"]), []), .literal(Bytes("/".utf8)),
                .reference(.metadata(.zxid), []),
            ])
        #expect(template.captureNames == ["service"])
        #expect(template.needsValue)
        #expect(!template.isPathDetermined)
    }

    @Test func doubledBracesAreLiteral() throws {
        #expect(try Template("a{{b}}c").pieces == [.literal(Bytes("a{b}c".utf8))])
        #expect(
            try Template("{{{x}}}").pieces == [
                .literal(Bytes("{".utf8)), .reference(.capture("x"), []), .literal(Bytes("}".utf8)),
            ])
        #expect(try Template("").pieces.isEmpty)
    }

    @Test(arguments: [
        ("a{b", "'{' without '}'"),
        ("a}b", "'}' without '{'"),
        ("{}", "'{}' names nothing"),
        ("{a-b}", "'{a-b}' is neither a capture nor value…"),
        ("{value..x}", "'value..x' has an empty step between two dots"),
        ("{value.}", "'value.' has an empty step between two dots"),
        ("{a.b}", "'{a.b}' is neither a capture nor value…"),
        ("{ x }", "'{ x }' is neither a capture nor value…"),
    ])
    func syntaxErrorsSayWhat(text: String, message: String) {
        let error = #expect(throws: Template.SyntaxError.self) { try Template(text) }
        #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "")")
    }

    @Test(arguments: [
        ("service", true), ("path", true), ("value", false), ("value.a", false), ("op", false),
        ("zxid", false),
        ("version", false), ("ts_ms", false), ("offset", false), ("ephemeral", false),
    ])
    func onlyCapturesAndThePathAreDeterminedByThePath(name: String, determined: Bool) throws {
        #expect(try Reference(name).isPathDetermined == determined)
        #expect(try Reference(name).description == name)
    }

    @Test func sinksKnowWhetherTheyHaveToRememberAddresses() throws {
        let plain = TransformSpecification(stages: [.rules([try rule("/{x}", decode: .json)])])
        #expect(try sink(.hash, key: "a:{value.id}").remembersAddresses(plain))
        #expect(try sink(.set, key: "a", member: "{value.id}").remembersAddresses(plain))
        #expect(try sink(.hash, key: "a", field: "{value.id}").remembersAddresses(plain))
        #expect(try sink(.hash, key: "a:{version}").remembersAddresses(plain))
        #expect(try !sink(.string, key: "a:{path}", value: "{value.id}").remembersAddresses(plain))
        #expect(try !sink(.stream(StreamOptions()), key: "{value.id}").remembersAddresses(plain))
        var fromPath = try rule("/{x}", decode: .url)
        fromPath.from = try Template("{x|urldecode}")
        let path = TransformSpecification(stages: [.rules([fromPath])])
        #expect(try !sink(.hash, key: "a:{value.host}").remembersAddresses(path))
    }
}
