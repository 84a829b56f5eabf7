import TestRandom
import Testing

@testable import ChangeModel

@Suite struct PathMatcherTests {
    private func matches(_ patterns: [String], _ path: String) throws -> [Int] {
        var found: [Int] = []
        PathMatcher(try patterns.map { try PathPattern($0) }).forEachMatch(path) { index in
            found.append(index)
            return true
        }
        return found
    }

    @Test func allThatMatchComeInOrder() throws {
        let patterns = [
            "/a/{x}", "/a/b", "/**", "/a/*", "/{k:a|c}/b", "/", "/a/b-{id}", "/a/{rest...}", "/*/*b*",
            "/a/{y}",
        ]
        #expect(try matches(patterns, "/a/b") == [0, 1, 2, 3, 4, 7, 8, 9])
        #expect(try matches(patterns, "/a/b-1") == [0, 2, 3, 6, 7, 8, 9])
        #expect(try matches(patterns, "/c/b") == [2, 4, 8])
        #expect(try matches(patterns, "/") == [5])
        #expect(try matches(patterns, "/x") == [2])
        #expect(try matches([], "/x") == [])
    }

    @Test func nothingIsToldBehindTheOneThatIsEnough() throws {
        var found: [Int] = []
        PathMatcher(try ["/a/b", "/a/{x}", "/**"].map { try PathPattern($0) }).forEachMatch("/a/b") { index in
            found.append(index)
            return index < 1
        }
        #expect(found == [0, 1])
    }

    /// Against the patterns one by one, over words that meet and miss each other often. A failing seed is added here.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func agreesWithPatternsOneByOne(seed: UInt64) throws {
        print("PathMatcherTests seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        let words = ["a", "b", "ab", "a-b", "a-1", "b-1-a", "é", "aa", "a.b"]
        let segments =
            words + [
                "*", "**", "{}", "{...}", "a-{}", "{}-{}", "*b", "a*", "*-*", "{}*", "{:a|b}", "{:ab|é}",
            ]
        for _ in 0..<60 {
            let patterns = try (0..<Int.random(in: 1...40, using: &generator)).map { _ in
                var names = 0
                let parts = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
                    var part = segments.randomElement(using: &generator) ?? "a"
                    while let place = part.firstRange(of: "{}") ?? part.firstRange(of: "{...}")
                        ?? part.firstRange(of: "{:")
                    {
                        names += 1
                        part.insert(contentsOf: "n\(names)", at: part.index(after: place.lowerBound))
                    }
                    return part
                }
                return try PathPattern("/" + parts.joined(separator: "/"))
            }
            let matcher = PathMatcher(patterns)
            for _ in 0..<60 {
                let parts = (0..<Int.random(in: 0...5, using: &generator)).map { _ in
                    words.randomElement(using: &generator) ?? "a"
                }
                let path = "/" + parts.joined(separator: "/")
                var found: [Int] = []
                matcher.forEachMatch(path) { index in
                    found.append(index)
                    return true
                }
                let expected = patterns.indices.filter { patterns[$0].matches(path) }
                #expect(found == expected, "\(path) and \(patterns.map(\.text))")
            }
        }
    }

    /// What it takes to follow a path to all that matches.
    private func work(_ matcher: PathMatcher, _ path: String) -> Int {
        Array(path.utf8).withUnsafeBufferPointer { matcher.follow($0, path) { _ in true } }
    }

    /// A thousand patterns take what ten do: counted, since a clock would also measure what else the machine does.
    @Test func theCostDoesNotGrowWithThePatterns() throws {
        func most(_ count: Int) throws -> Int {
            let matcher = PathMatcher(
                try (0..<count).flatMap { number in
                    [
                        try PathPattern("/services/s\(number)/{instance}"),
                        try PathPattern("/locks/{owner}/lock-\(number)-*"),
                        try PathPattern("/queues/{owner}/*-q\(number)"),
                    ]
                })
            return (0..<count).map { number in
                work(matcher, "/services/s\(number)/i-1") + work(matcher, "/locks/me/lock-\(number)-000001")
                    + work(matcher, "/queues/me/7-q\(number)")
            }.max() ?? 0
        }
        #expect(try most(3) > 0)
        #expect(try most(333) == most(3))
    }

    /// Each state at most once for each segment, however the path is made.
    @Test func hostilePathsAreQuick() throws {
        let patterns = ["/**/a/**/a/**/a/**/b", "/**/{x}/**/c", "/{a...}/a/{b...}/d"]
        let matcher = PathMatcher(try patterns.map { try PathPattern($0) })
        let segments = 20_000
        let deep = "/" + Array(repeating: "a", count: segments).joined(separator: "/")
        let states = patterns.reduce(1) { $0 + $1.split(separator: "/").count }
        #expect(work(matcher, deep) > segments)
        #expect(work(matcher, deep) <= segments * states)
        let start = ContinuousClock.now
        matcher.forEachMatch(deep) { _ in
            Issue.record("matched")
            return false
        }
        #expect(ContinuousClock.now - start < .seconds(2))
    }
}
