import Testing

@testable import PipelineDefinition

/// A file of a MiB is read in seconds, whatever is in it. Each of these once took minutes or all of the stack.
@Suite struct HostileDefinitionTests {
    private static let bytes = PipelineDefinition.maximumFileBytes - 1

    /// Pieces as long as there is room.
    private static func text(_ before: String = "", _ after: String = "", piece: (Int) -> String) -> String {
        var text = before
        var number = 0
        while true {
            let next = piece(number)
            guard text.utf8.count + next.utf8.count + after.utf8.count <= bytes else { return text + after }
            text += next
            number += 1
        }
    }

    private static func hostile(_ name: String) -> String {
        switch name {
        case "aliases to aliases in a key":
            "a0: &a0 [x, x]\n" + (1..<40).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined()
                + "? *a39\n: 1\n"
        case "a chain of aliases in a key":
            text("? [&a0 [x]", "]\n: 1\nk: *a60000\n") { ", &a\($0 + 1) [*a\($0)]" }
        case "keys that stand twice": text { "k\($0 / 2): 1\n" }
        case "keys in keys":
            text { _ in
                String(repeating: "{", count: 200) + "a: 1" + String(repeating: "}: 1", count: 200) + "\n"
            }
        case "long keys": String(repeating: "? ", count: 900) + text("[", "]\n") { _ in "1," }
        case "captures": text(before + "transform: [{rules: [{match: \"", "\"}]}]\n") { "/{a\($0)}" }
        case "captures of one segment":
            text(before + "transform: [{rules: [{match: \"/", "\"}]}]\n") { "{a\($0)}x" }
        case "targets that are not there":
            text(before + "  o: {write: stdout}\ntransform: [{rules: [{match: \"/**\", to: [", "]}]}]\n") {
                "s\($0),"
            }
        default: name
        }
    }

    private static let before = "name: a\nsource: {zookeeper: {connect: h, paths: [/]}}\nsinks:\n"

    @Test(arguments: [
        "aliases to aliases in a key", "a chain of aliases in a key", "keys that stand twice", "keys in keys",
        "long keys",
        "captures", "captures of one segment", "targets that are not there",
    ])
    func endsSoon(_ name: String) {
        let text = HostileDefinitionTests.hostile(name)
        let start = ContinuousClock.now
        let result = parse(text)
        #expect(result.definition == nil && !result.errors.isEmpty)
        #expect(ContinuousClock.now - start < .seconds(30))
    }

    @Test func thousandsOfPathsAreMerged() {
        let paths = (0..<15_000).flatMap { ["/a\($0)", "/a\($0)/b", "/a\($0)-b"] }
        #expect(SourceReader.merged(paths).count == 30_000)
        #expect(SourceReader.merged(["/a/b", "/-", "/a-b", "/a", "/a/b/c"]) == ["/-", "/a", "/a-b"])
        #expect(SourceReader.merged(["/-", "/", "/a"]) == ["/"])
    }

    @Test func aliasesStandForWhatTheirAnchorHolds() {
        #expect(
            messages("a: &a {b: &b x}\nc: [*a, *b]\n&k k: 1\n*k : 2\n").contains(
                "the key 'k' stands twice in this mapping"))
        #expect(messages("a: *b c").first == "this is no YAML: '*b c' is no alias of an anchor before it")
        #expect(messages("a: &a [*a]").first == "this is no YAML: '*a' is no alias of an anchor before it")
        #expect(messages("\"*a\": '*b'").first == "unknown key '*a'")
    }
}
