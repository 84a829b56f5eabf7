import Testing

@testable import ChangeModel

@Suite struct PathPatternTests {
    @Test(
        arguments: [
            ("/", "/", []), ("/a", "/a", []), ("/a/{x}", "/a/b", ["b"]), ("/{x}/{y}", "/a/b", ["a", "b"]),
            ("/a/*", "/a/b", []), ("/a/{rest...}", "/a/b", ["b"]), ("/a/{rest...}", "/a/b/c/d", ["b/c/d"]),
            ("/a/**", "/a/b/c", []), ("/**", "/a", []), ("/broker-{id}", "/broker-12", ["12"]),
            ("/{a}-{b}", "/x-y-z", ["x-y", "z"]), ("/lock-*", "/lock-", []), ("/lock-*", "/lock-0001", []),
            ("/*-lock", "/a-lock", []), ("/*a*b*", "/xaxbx", []), ("/{x}*", "/abc", ["abc"]),
            ("/*{x}", "/abc", ["c"]),
            ("/{a...}/m/{b...}", "/x/m/y/m/z", ["x/m/y", "z"]), ("/**/{x}", "/a/b/c", ["c"]),
            ("/**/k/{x}/**", "/a/k/b/k/c/d", ["c"]), ("/{a...}/{b}/{c...}", "/1/2/3/4", ["1/2", "3", "4"]),
            ("/a/**/l-{n}/{t...}", "/a/b/l-1/l-2/z", ["2", "z"]), ("/{x}.{y}", "/a.b.c", ["a.b", "c"]),
            ("/é{x}", "/éa", ["a"]), ("/{x}", "/😀", ["😀"]), ("/*{x}", "/a😀", ["😀"]),
            ("/a/{x}", "/a/\u{301}b", ["\u{301}b"]), ("/{x}/b", "/e\u{301}/b", ["e\u{301}"]),
            ("/{k:a|b}/{x}", "/b/c", ["b", "c"]), ("/**/{k:a|b}", "/a/b", ["b"]),
            ("/aXbXc", "/aXbXc", []), ("/a{x}a", "/aaa", ["a"]), ("/{x}ab{y}", "/abababab", ["abab", "ab"]),
        ] as [(String, String, [String])])
    func matches(pattern: String, path: String, captures: [String]) throws {
        #expect(try PathPattern(pattern).captures(in: path)?.map(String.init) == captures)
    }

    @Test(arguments: [
        ("/", "/a"), ("/a", "/"), ("/a", "/a/b"), ("/a", "/A"), ("/a/{x}", "/a"), ("/a/{x}", "/a/b/c"),
        ("/a/{rest...}", "/a"), ("/a/**", "/a"), ("/**", "/"), ("/broker-{id}", "/broker-"),
        ("/lock-*", "/lock"),
        ("/{a}-{b}", "/-x"), ("/{a}-{b}", "/x-"), ("/{a}-{b}", "/xy"), ("/a{x}a", "/aa"), ("/ab*ba", "/aba"),
        ("/**/a/**", "/a/b"), ("/**/a/**", "/b/a"), ("/{a...}/{b...}", "/x"), ("/**/x", "/x"),
        ("/e", "/e\u{301}"), ("/{k:a|b}", "/c"), ("/{k:a|b}", "/a/b"), ("/{k:a|b}", "/ab"),
        ("/**/k/{x}/**", "/a/k/b"), ("/{x}*{y}", "/a"), ("/a{x}", "/a"), ("/{x}a", "/a"),
    ])
    func doesNotMatch(pattern: String, path: String) throws {
        #expect(try PathPattern(pattern).captures(in: path) == nil)
    }

    @Test func exclusionsTakeTheSubtree() throws {
        let locks = try PathPattern("/services/**/lock-*")
        #expect(locks.matchesPathOrAncestor("/services/a/lock-1"))
        #expect(locks.matchesPathOrAncestor("/services/a/lock-1/x/y"))
        #expect(!locks.matchesPathOrAncestor("/services/lock-1"))
        #expect(!locks.matchesPathOrAncestor("/services/a"))
        #expect(try PathPattern("/zookeeper").matchesPathOrAncestor("/zookeeper"))
        #expect(try !PathPattern("/zookeeper").matchesPathOrAncestor("/zookeeper2"))
        #expect(try !PathPattern("/zookeeper").matchesPathOrAncestor("/"))
        #expect(try PathPattern("/").matchesPathOrAncestor("/"))
    }

    @Test(arguments: [
        ("a", 1, "a path pattern begins with a slash"), ("", 1, "a path pattern begins with a slash"),
        ("/a//b", 4, "empty path segment (two slashes, or one at the end)"),
        ("/a/", 4, "empty path segment (two slashes, or one at the end)"),
        ("/a/{b", 4, "'{' without '}'"), ("/a/b}", 5, "'}' without '{'"),
        ("/a/{x}{y}", 7, "two captures need text between them"), ("/{x}/{x}", 6, "{x} is captured twice"),
        ("/a{x...}", 3, "{x...} must be a whole path segment"),
        ("/{1}", 2, "'1' is no capture name: letters, digits and _, not beginning with a digit"),
        ("/{k:a|}", 2, "{k} has an empty alternative"),
        ("/{k:a*|b}", 2, "the alternatives of {k} are plain text, without '*'"),
        ("/x{k:a|b}", 3, "{k:a|b} must be a whole path segment"),
        ("/{}", 2, "'' is no capture name: letters, digits and _, not beginning with a digit"),
        ("/{...}", 2, "'' is no capture name: letters, digits and _, not beginning with a digit"),
    ])
    func syntaxErrorsHaveAColumn(pattern: String, column: Int, message: String) {
        #expect(throws: PathPattern.SyntaxError(message: message, column: column)) {
            try PathPattern(pattern)
        }
    }

    @Test func literalPatternsAreKnown() throws {
        #expect(try PathPattern("/a/b").isLiteral)
        #expect(try PathPattern("/").isLiteral)
        for pattern in ["/a/*", "/{x}", "/**", "/a-{x}", "/{x...}"] {
            #expect(try !PathPattern(pattern).isLiteral)
        }
    }

    /// Paths come from whoever may write to ZooKeeper: none may take long. A matcher that tries every way
    /// would not end before the universe does.
    @Test func hostilePathsAreQuick() throws {
        let deep = "/" + Array(repeating: "a", count: 20_000).joined(separator: "/")
        #expect(try PathPattern("/**/a/**/a/**/a/**/a/**/b").captures(in: deep) == nil)
        #expect(try PathPattern("/**/a/**/a/**/a/**/{x}").captures(in: deep) == ["a"])
        let wide = "/" + String(repeating: "a", count: 200_000)
        #expect(try PathPattern("/*a*a*a*a*a*b").captures(in: wide) == nil)
        #expect(try PathPattern("/*a*b*a*a*a*a").captures(in: wide) == nil)
    }

    /// Compared with a matcher that is slow and plain, over all short paths of a small alphabet.
    @Test func agreesWithAPlainMatcher() throws {
        let patterns = [
            "/{x}a{y}", "/*a*", "/a*{x}b", "/{x}*{y}", "/{x...}/a/{y...}", "/**/{x}/b", "/{x}/**/{y}",
            "/*{x}a*",
            "/**/a/b/**", "/{x...}/*a/{y...}/{z}",
        ]
        var names = ["a", "b", "ab", "ba", "aab", "bab"]
        names += names.flatMap { left in names.map { left + "/" + $0 } }
        names += ["a/b/a", "a/a/a", "b/a/b/a", "a/b/a/b/ab", "a/ab/ba/a/b/b"]
        for pattern in try patterns.map({ try PathPattern($0) }) {
            for path in names.map({ "/" + $0 }) {
                let expected = PlainMatcher.matches(Array(pattern.text), Array(path))
                #expect(pattern.matches(path) == expected, "\(pattern.text) \(path)")
            }
        }
    }
}

/// Tries every way, character by character.
private enum PlainMatcher {
    static func matches(_ pattern: [Character], _ path: [Character]) -> Bool {
        match(tokens(String(pattern)), path[...])
    }

    private enum Token {
        case character(Character)
        /// At least so many characters, slashes among them or not.
        case run(minimum: Int, slashes: Bool)
    }

    private static func tokens(_ pattern: String) -> [Token] {
        var tokens: [Token] = []
        for segment in pattern.dropFirst().split(separator: "/") {
            tokens.append(.character("/"))
            if segment == "**" || segment.hasSuffix("...}") {
                tokens.append(.run(minimum: 1, slashes: true))
                continue
            }
            var rest = segment
            while let first = rest.first {
                if first == "{" {
                    tokens.append(.run(minimum: 1, slashes: false))
                    rest = rest.drop { $0 != "}" }.dropFirst()
                } else {
                    // A lone star is a whole segment, which is never empty in a path of this test.
                    tokens.append(first == "*" ? .run(minimum: 0, slashes: false) : .character(first))
                    rest = rest.dropFirst()
                }
            }
        }
        return tokens
    }

    private static func match(_ tokens: [Token], _ path: ArraySlice<Character>) -> Bool {
        guard let first = tokens.first else { return path.isEmpty }
        let rest = Array(tokens.dropFirst())
        switch first {
        case .character(let character):
            return path.first == character && match(rest, path.dropFirst())
        case .run(let minimum, let slashes):
            var length = minimum
            while length <= path.count {
                let run = path.prefix(length)
                if !slashes, run.contains("/") { return false }
                let isWhole = !slashes || (run.first != "/" && run.last != "/")
                if isWhole, match(rest, path.dropFirst(length)) { return true }
                length += 1
            }
            return false
        }
    }
}
