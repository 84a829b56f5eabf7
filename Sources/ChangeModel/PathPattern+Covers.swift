extension PathPattern {
    /// Whether it is sure that every path which `other` matches is matched by this pattern, too. Of patterns with
    /// several `**` only those that are alike are known to cover each other.
    public func covers(_ other: PathPattern) -> Bool {
        let many = segments.indices.filter { segments[$0].isMany }
        guard let place = many.first else {
            return segments.count == other.segments.count
                && zip(segments, other.segments).allSatisfy { $0.covers($1) }
        }
        guard many.count == 1 else {
            return segments.count == other.segments.count
                && zip(segments, other.segments).allSatisfy {
                    $0.isMany == $1.isMany && ($0.isMany || $0.covers($1))
                }
        }
        let tail = segments.count - place - 1
        guard other.segments.count >= segments.count else { return false }
        return zip(segments.prefix(place), other.segments).allSatisfy { $0.covers($1) }
            && zip(segments.suffix(tail), other.segments.suffix(tail)).allSatisfy { $0.covers($1) }
    }
}

extension PathPattern.Segment {
    fileprivate var isMany: Bool { if case .many = self { true } else { false } }

    /// Of single segments.
    fileprivate func covers(_ other: PathPattern.Segment) -> Bool {
        switch (self, other) {
        case (_, .many), (.many, _):
            return false
        case (.one(let pieces), _) where pieces.count == 1 && !pieces[0].isLiteral:
            return true
        case (.one(let pieces), .one(let others)):
            return pieces.count == others.count
                && zip(pieces, others).allSatisfy { $0 == $1 || !$0.isLiteral && $1.isCapture }
        case (.one(let pieces), .choice(_, let options)):
            return options.allSatisfy { pieces == [.literal($0)] }
        case (.choice(_, let options), .choice(_, let others)):
            return others.allSatisfy(options.contains)
        case (.choice(_, let options), .one(let pieces)):
            return options.contains { pieces == [.literal($0)] }
        }
    }
}

extension PathPattern.Piece {
    fileprivate var isLiteral: Bool { if case .literal = self { true } else { false } }
}
