import ChangeModel
import Mapping
import Testing

@testable import PipelineDefinition

/// The keys of a rule that say what it matches and what it decodes.
@Suite struct RuleKeyTests {
    private func text(_ rule: String) -> String {
        definition(transform: "transform: [{rules: [{match: \"/a/{x...}\", \(rule)}]}]")
    }

    private func rule(_ keys: String) throws -> Rule {
        try #require(try valid(text(keys)).transform.rules?.first)
    }

    @Test func whatIsLeftOutIsOff() throws {
        let rule = try rule("decode: json")
        #expect(rule.exclude == [])
        #expect(!rule.continues)
        #expect(rule.compression == .none)
        #expect(rule.from == nil)
    }

    @Test func allAreRead() throws {
        let rule = try rule(
            "exclude: [\"/a/**/lock-*\", /a/b], continue: true, compression: auto, decode: yaml")
        #expect(rule.exclude.map(\.text) == ["/a/**/lock-*", "/a/b"])
        #expect(rule.continues)
        #expect(rule.compression == .auto)
        #expect(rule.decode == .yaml)
        let fromPath = try self.rule("from: \"{x}\", decode: url, set: {h: \"{value.host}\"}")
        #expect(fromPath.from == (try Template("{x}")))
        #expect(fromPath.decode == .url)
    }

    @Test(arguments: [
        ("exclude: /a/b", "exclude needs a list, not text"),
        ("exclude: [b]", "the pattern 'b': a path pattern begins with a slash"),
        ("continue: maybe", "continue is one of true, false, not 'maybe'"),
        ("compression: zst", "compression is one of none, gzip, lz4, zstd, auto, not 'zst'"),
        ("from: \"{value}\"", "from needs {value}, but it is the path that is decoded here"),
        ("from: \"{y}\"", "from needs {y}, which this rule does not capture (match: /a/{x...})"),
        (
            "from: \"{x}\", compression: gzip",
            "compression says how the data is compressed, but 'from' is decoded instead of it"
        ),
        (
            "decode: xml",
            "decode is one of json, yaml, properties, url, text, integer, number, base64, none, not 'xml'"
        ),
    ])
    func mistakesAreNamed(keys: String, message: String) {
        #expect(messages(text(keys)) == [message])
    }
}
