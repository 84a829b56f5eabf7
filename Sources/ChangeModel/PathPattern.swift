/// A pattern over znode paths: `/services/{service}/{instance}`, `/config/**`, `/t/{rest...}`.
///
/// `{name}` captures one segment, `{name...}` one or more, `{name:a|b}` one that is `a` or `b`; `*` stands for one
/// segment or, inside a segment, for any run of characters; `**` for one or more segments. Literal text may
/// surround a capture inside a segment (`broker-{id}`).
public struct PathPattern: Sendable, Hashable {
    /// Whoever reads patterns looks at each capture beside all others, and quotes them in messages.
    static let maximumBytes = 4096

    public let text: String
    /// The captures in the order in which they stand.
    public let captureNames: [String]
    let segments: [Segment]
    /// Where `.many` stands among the segments.
    private let manyIndices: [Int]
    /// For each segment the index of its first capture.
    private let captureStarts: [Int]
    /// For each segment its bytes, where it has no wildcard.
    private let wholes: [[UInt8]?]
    /// For each segment its one capture, where it is nothing else; -1: it is something else.
    private let loneCaptures: [Int]

    /// Why a pattern was refused; `column` counts characters of the pattern from 1.
    public struct SyntaxError: Error, Hashable, CustomStringConvertible {
        public var message: String
        public var column: Int

        public var description: String { message }
    }

    enum Segment: Sendable, Hashable {
        /// Literal pieces with wildcards between them; no wildcard at all means an exact segment.
        case one([Piece])
        /// One of these segments, captured under a name.
        case choice(name: String, [String])
        /// One or more segments, captured under a name or not.
        case many(name: String?)

        var captureCount: Int {
            switch self {
            case .one(let pieces): pieces.count { $0.isCapture }
            case .choice: 1
            case .many(let name): name == nil ? 0 : 1
            }
        }
    }

    enum Piece: Sendable, Hashable {
        case literal(String)
        case any
        case capture(String)

        var isCapture: Bool { if case .capture = self { true } else { false } }
    }

    /// Parses a pattern. Throws `SyntaxError` for a relative path, an empty segment or an unclosed brace.
    public init(_ text: String) throws(SyntaxError) {
        var parser = PathPatternParser(text)
        let segments = try parser.parse()
        self.segments = segments
        manyIndices = segments.indices.filter { if case .many = segments[$0] { true } else { false } }
        var captures = 0
        captureStarts = segments.map { segment in
            defer { captures += segment.captureCount }
            return captures
        }
        wholes = segments.map { segment in
            guard case .one(let pieces) = segment, pieces.count == 1, case .literal(let text) = pieces[0]
            else {
                return nil
            }
            return Array(text.utf8)
        }
        loneCaptures = zip(segments, captureStarts).map { segment, capture in
            guard case .one(let pieces) = segment, pieces.count == 1, pieces[0].isCapture else { return -1 }
            return capture
        }
        captureNames = parser.captureNames
        self.text = text
    }

    /// Whether the pattern has neither captures nor wildcards, and so matches one path alone.
    public var isLiteral: Bool {
        segments.allSatisfy { segment in
            guard case .one(let pieces) = segment else { return false }
            return pieces.allSatisfy { if case .literal = $0 { true } else { false } }
        }
    }

    /// The values of the captures, in the order of `captureNames`, or `nil` where the path does not match.
    ///
    /// Where several ways fit, what stands further left takes as much as it can. Nothing is tried twice, so
    /// that no path, however made, takes long.
    public func captures(in path: String) -> [Substring]? {
        var found = [Substring](repeating: "", count: captureNames.count)
        if manyIndices.isEmpty { return matchFixed(path, &found) ? found : nil }
        return match(PathPattern.split(path)[...], path, &found) ? found : nil
    }

    public func matches(_ path: String) -> Bool { captures(in: path) != nil }

    /// Whether the pattern matches the path or one of its ancestors: an exclusion takes the subtree with it.
    public func matchesPathOrAncestor(_ path: String) -> Bool {
        let parts = PathPattern.split(path)
        var ignored = [Substring](repeating: "", count: captureNames.count)
        if parts.isEmpty { return segments.isEmpty }
        return (1...parts.count).contains { match(parts.prefix($0), path, &ignored) }
    }

    /// The segments of a path; the root has none. Bytes decide: a slash before a combining mark is a slash.
    static func split(_ path: String) -> [Substring] {
        path.utf8.split(separator: UInt8(ascii: "/")).map { Substring($0) }
    }

    /// Without `.many` the segments are taken one by one, with no list of them.
    private func matchFixed(_ path: String, _ found: inout [Substring]) -> Bool {
        let isMatch = path.utf8.withContiguousStorageIfAvailable { matchFixed($0, path, &found) }
        return isMatch ?? match(PathPattern.split(path)[...], path, &found)
    }

    private func matchFixed(
        _ bytes: UnsafeBufferPointer<UInt8>, _ path: String, _ found: inout [Substring]
    ) -> Bool {
        var start = 0
        var segment = 0
        while true {
            while start < bytes.count, bytes[start] == UInt8(ascii: "/") { start += 1 }
            guard start < bytes.count else { return segment == segments.count }
            var end = start
            while end < bytes.count, bytes[end] != UInt8(ascii: "/") { end += 1 }
            guard segment < segments.count else { return false }
            if let literal = wholes[segment] {
                guard literal.elementsEqual(bytes[start..<end]) else { return false }
            } else {
                // A string that is stored as UTF-8 finds a place in it at once.
                let first = path.utf8.index(path.startIndex, offsetBy: start)
                let text = path[first..<path.utf8.index(first, offsetBy: end - start)]
                let capture = loneCaptures[segment]
                if capture >= 0 {
                    found[capture] = text
                } else if !matchOne(segment, text, &found) {
                    return false
                }
            }
            segment += 1
            start = end
        }
    }

    /// Fixed segments stand at both ends; from the right, each run of fixed segments between two `.many` is
    /// taken where it stands furthest right, which leaves the most to what is before it.
    private func match(_ parts: ArraySlice<Substring>, _ path: String, _ found: inout [Substring]) -> Bool {
        guard let first = manyIndices.first, let last = manyIndices.last else {
            return parts.count == segments.count && matchRun(0..<segments.count, parts, at: 0, &found)
        }
        var end = parts.count - (segments.count - last - 1)
        guard parts.count >= segments.count, matchRun(0..<first, parts, at: 0, &found),
            matchRun((last + 1)..<segments.count, parts, at: end, &found)
        else { return false }
        for (before, many) in zip(manyIndices, manyIndices.dropFirst()).reversed() {
            let run = (before + 1)..<many
            var start = end - 1 - run.count
            while start > first, !matchRun(run, parts, at: start, &found) { start -= 1 }
            guard start > first else { return false }
            capture(many, parts[(start + run.count)..<end], path, &found)
            end = start
        }
        guard end > first else { return false }
        capture(first, parts[first..<end], path, &found)
        return true
    }

    private func capture(
        _ many: Int, _ parts: ArraySlice<Substring>, _ path: String, _ found: inout [Substring]
    ) {
        guard case .many(.some) = segments[many], let first = parts.first, let last = parts.last else {
            return
        }
        found[captureStarts[many]] = path[first.startIndex..<last.endIndex]
    }

    /// Whether a run of `.one` segments stands at a place among the parts.
    private func matchRun(
        _ run: Range<Int>, _ parts: ArraySlice<Substring>, at start: Int, _ found: inout [Substring]
    ) -> Bool {
        run.allSatisfy { matchOne($0, parts[start + $0 - run.lowerBound], &found) }
    }

    /// Whether one segment of the pattern, which is not `.many`, takes a segment of the path.
    private func matchOne(_ index: Int, _ text: Substring, _ found: inout [Substring]) -> Bool {
        switch segments[index] {
        case .one(let pieces):
            return PathPattern.match(pieces, text, captureStarts[index], &found)
        case .choice(_, let options):
            guard options.contains(where: { $0.utf8.elementsEqual(text.utf8) }) else { return false }
            found[captureStarts[index]] = text
            return true
        case .many:
            return false
        }
    }

    /// One segment, in the same way: from the right, each literal is taken where it stands furthest right.
    static func match(
        _ pieces: [Piece], _ text: Substring, _ firstCapture: Int, _ found: inout [Substring]
    ) -> Bool {
        if pieces.count == 1, case .literal(let literal) = pieces[0] {
            return text.utf8.elementsEqual(literal.utf8)
        }
        if pieces.count == 1, pieces[0].isCapture {
            found[firstCapture] = text
            return !text.isEmpty
        }
        var captureIndex = firstCapture + pieces.count { $0.isCapture }
        var end = text.endIndex
        var wildcard: Piece?
        /// Gives the wildcard that waits for its left end the text from there.
        func close(_ start: Substring.Index) -> Bool {
            guard let closing = wildcard else { return start == end }
            wildcard = nil
            if closing.isCapture {
                guard start < end else { return false }
                captureIndex -= 1
                found[captureIndex] = text[start..<end]
            }
            end = start
            return true
        }
        for (index, piece) in pieces.enumerated().reversed() {
            guard case .literal(let literal) = piece else {
                // Two wildcards side by side: the right one takes as little as it can.
                if let waiting = wildcard {
                    guard !waiting.isCapture || end > text.startIndex else { return false }
                    guard close(waiting.isCapture ? scalarBefore(end, in: text) : end) else { return false }
                }
                wildcard = piece
                continue
            }
            let limit =
                wildcard?.isCapture == true && end > text.startIndex ? text.utf8.index(before: end) : end
            let isAnchored = wildcard == nil
            guard
                let place = lastPlace(
                    of: literal, in: text, upTo: limit, first: index == 0, last: isAnchored),
                close(place.upperBound)
            else { return false }
            end = place.lowerBound
        }
        return wildcard == nil ? end == text.startIndex : close(text.startIndex)
    }

    /// Where a literal stands furthest right before `limit`; at the very start where it is the `first`
    /// piece, directly before the limit where it is the `last` of what is left.
    private static func lastPlace(
        of literal: String, in text: Substring, upTo limit: Substring.Index, first: Bool, last: Bool
    ) -> Range<Substring.Index>? {
        let bytes = text.utf8[text.startIndex..<limit]
        let length = literal.utf8.count
        guard bytes.count >= length else { return nil }
        var start = first ? bytes.startIndex : bytes.index(bytes.endIndex, offsetBy: -length)
        while true {
            let end = bytes.index(start, offsetBy: length)
            if bytes[start..<end].elementsEqual(literal.utf8) { return start..<end }
            guard !first, !last, start > bytes.startIndex else { return nil }
            start = bytes.index(before: start)
        }
    }

    private static func scalarBefore(_ end: Substring.Index, in text: Substring) -> Substring.Index {
        text.unicodeScalars.index(before: end)
    }
}
