/// Segments with wildcards inside (`broker-{id}`, `*-lock`), found by the text that they begin or end with, so that
/// only those whose text fits are tried.
struct PartialSegments: Sendable {
    private struct Entry: Sendable {
        var pieces: [PathPattern.Piece]
        var captures: Int
        var target: Int32
    }

    private var entries: [Entry] = []
    private var prefixes = Affixes()
    private var suffixes = Affixes()
    /// Those that neither begin nor end with text.
    private var others: [Int32] = []

    /// Texts by which entries are found, and the lengths that there are.
    private struct Affixes: Sendable {
        var table = SegmentTable()
        var lengths: [Int] = []

        mutating func add(_ text: String, entry: Int32) {
            table.add(entry, for: text)
            if !lengths.contains(text.utf8.count) { lengths.append(text.utf8.count) }
        }
    }

    var isEmpty: Bool { entries.isEmpty }

    mutating func add(_ pieces: [PathPattern.Piece], target: Int32) {
        let index = Int32(entries.count)
        entries.append(Entry(pieces: pieces, captures: pieces.count { $0.isCapture }, target: target))
        if case .literal(let text)? = pieces.first {
            prefixes.add(text, entry: index)
        } else if case .literal(let text)? = pieces.last {
            suffixes.add(text, entry: index)
        } else {
            others.append(index)
        }
    }

    mutating func build() {
        prefixes.table.build()
        suffixes.table.build()
    }

    /// Returns how many were tried.
    func forEachMatch(
        _ segment: UnsafeBufferPointer<UInt8>, in path: String, at range: Range<Int>, _ body: (Int32) -> Void
    ) -> Int {
        let start = path.utf8.index(path.utf8.startIndex, offsetBy: range.lowerBound)
        let text = path[start..<path.utf8.index(start, offsetBy: range.count)]
        var tried = report(others, text, body)
        for length in prefixes.lengths where length <= segment.count {
            let prefix = UnsafeBufferPointer(rebasing: segment[..<length])
            tried += report(prefixes.table.targets(of: prefix), text, body)
        }
        for length in suffixes.lengths where length <= segment.count {
            let suffix = UnsafeBufferPointer(rebasing: segment[(segment.count - length)...])
            tried += report(suffixes.table.targets(of: suffix), text, body)
        }
        return tried
    }

    private func report(_ indices: [Int32], _ text: Substring, _ body: (Int32) -> Void) -> Int {
        for index in indices {
            let entry = entries[Int(index)]
            var found = [Substring](repeating: "", count: entry.captures)
            if PathPattern.match(entry.pieces, text, 0, &found) { body(entry.target) }
        }
        return indices.count
    }
}
