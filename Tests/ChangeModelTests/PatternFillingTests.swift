import TestRandom
import Testing

@testable import ChangeModel

/// The way back from captures to the path.
@Suite struct PatternFillingTests {
    @Test(
        arguments: [
            ("/a/{x}", ["x": "b"], "/a/b"), ("/a/{x}", [:], nil), ("/a/{x}", ["x": "b/c"], nil),
            ("/a/{x}", ["x": ""], nil), ("/a/{x}", ["x": ".."], nil),
            ("/a/b-{x}-{y}", ["x": "1", "y": "2"], "/a/b-1-2"),
            ("/{r...}/z", ["r": "a/b"], "/a/b/z"), ("/{r...}/z", ["r": "a//b"], nil),
            ("/{r...}/z", ["r": "/a"], nil), ("/a/*", [:], nil), ("/a/**", [:], nil), ("/a/b", [:], "/a/b"),
            ("/{k:b|c}", ["k": "b"], "/b"), ("/{k:b|c}", ["k": "d"], nil), ("/", [:], "/"),
        ] as [(String, [String: String], String?)])
    func fill(pattern: String, captures: [String: String], path: String?) throws {
        #expect(try PathPattern(pattern).path(filling: captures) == path)
    }

    @Test func isTold() throws {
        for told in ["/a/{x}", "/a/{r...}/{x}", "/{k:a|b}", "/a"] { #expect(try PathPattern(told).isTold) }
        for open in ["/a/*", "/a/**/{x}", "/a/b*"] { #expect(try !PathPattern(open).isTold) }
    }

    /// A failing seed is added here.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func whatIsCapturedLeadsBack(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let words = ["a", "b", "{x}", "{y}-{z}", "{k:a|b}", "a{w}", "{r...}"]
        var led = 0
        for _ in 0..<3000 {
            func text(_ words: [String], _ counts: ClosedRange<Int>) -> String {
                let count = Int.random(in: counts, using: &random)
                return (0..<count).map { _ in "/" + (words.randomElement(using: &random) ?? "a") }.joined()
            }
            guard let pattern = try? PathPattern(text(words, 1...4)) else { continue }
            let path = text(["a", "b", "ab", "a-b"], 1...5)
            guard let captures = pattern.captures(in: path) else { continue }
            led += 1
            let named = Dictionary(
                uniqueKeysWithValues: zip(pattern.captureNames, captures.map(String.init)))
            #expect(pattern.path(filling: named) == path, "\(pattern.text)")
        }
        #expect(led > 50)
    }
}
