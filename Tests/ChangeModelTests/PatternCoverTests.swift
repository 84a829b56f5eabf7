import TestRandom
import Testing

@testable import ChangeModel

/// Whether one pattern is known to match all that another does.
@Suite struct PatternCoverTests {
    @Test(
        arguments: [
            ("/a/{x}", "/a/b", true), ("/a/*", "/a/{x}", true), ("/a/b", "/a/{x}", false),
            ("/**", "/a/b", true),
            ("/a/**", "/a", false), ("/a/**", "/a/{rest...}", true), ("/a/{x}", "/a/**", false),
            ("/a/{k:b|c}", "/a/b", true), ("/a/{k:b|c}", "/a/{k:c|d}", false), ("/a/*", "/a/{k:c|d}", true),
            ("/a/lock-*", "/a/lock-{x}", true), ("/a/lock-*", "/a/lock-1", false), ("/**/c", "/a/b/c", true),
            ("/**/c", "/a/**", false), ("/a/**/c", "/a/c", false), ("/**/b/**", "/**/b/**", true),
        ] as [(String, String, Bool)])
    func cover(pattern: String, other: String, expected: Bool) throws {
        #expect(try PathPattern(pattern).covers(try PathPattern(other)) == expected)
    }

    /// A failing seed is added here.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func whatIsCoveredIsMatched(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let words = ["a", "b", "*", "{x}", "**", "{k:a|b}", "a*", "{r...}"]
        var covered = 0
        for _ in 0..<3000 {
            func text(_ words: [String], _ counts: ClosedRange<Int>) -> String {
                let count = Int.random(in: counts, using: &random)
                return (0..<count).map { _ in "/" + (words.randomElement(using: &random) ?? "a") }.joined()
            }
            // A text that names a capture twice is no pattern.
            guard let pattern = try? PathPattern(text(words, 1...4)),
                let other = try? PathPattern(text(words, 1...4)), pattern.covers(other)
            else { continue }
            covered += 1
            for _ in 0..<20 {
                let path = text(["a", "b", "ab", "c"], 1...5)
                if other.captures(in: path) != nil {
                    #expect(pattern.captures(in: path) != nil, "\(pattern.text) \(other.text) \(path)")
                }
            }
        }
        #expect(covered > 50)
    }
}
