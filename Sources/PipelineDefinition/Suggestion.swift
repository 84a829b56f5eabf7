/// "Did you mean": the known name that a misspelt one is nearest to.
enum Suggestion {
    /// `nil` where none is near: more than a third of the letters would have to change.
    static func nearest(to word: String, among known: [String]) -> String? {
        // Not for thousands of names, which nobody has written by hand.
        let known = known.prefix(200)
        let word = word.lowercased().prefix(64)
        let limit = max(1, word.count / 3)
        let ranked = known.map { (name: $0, distance: distance(Array(word), Array($0.lowercased()))) }
        guard let best = ranked.min(by: { $0.distance < $1.distance }), best.distance <= limit else {
            return nil
        }
        return best.name
    }

    /// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
    static func distance(_ left: [Character], _ right: [Character]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in left.indices {
            var current = [row + 1]
            for column in right.indices {
                let cost = left[row] == right[column] ? 0 : 1
                var best = min(last[column + 1] + 1, current[column] + 1, last[column] + cost)
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    best = min(best, beforeLast[column - 1] + 1)
                }
                current.append(best)
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }
}
