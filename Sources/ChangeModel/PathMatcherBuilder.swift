/// Puts patterns together into the states of a `PathMatcher`. Patterns that begin alike share their states.
struct PathMatcherBuilder {
    private var states = [PathMatcher.State()]
    /// Edges that are no plain fields of a state: what leads from a state to another.
    private var edges: [Edge: Int32] = [:]

    private enum Edge: Hashable {
        case literal(Int32, String)
        case choice(Int32, [String])
        case partial(Int32, [PathPattern.Piece])
    }

    mutating func insert(_ pattern: PathPattern, index: Int32) {
        var state: Int32 = 0
        for segment in pattern.segments { state = target(of: segment, from: state) }
        states[Int(state)].accepts.append(index)
    }

    func build() -> [PathMatcher.State] {
        var states = self.states
        for index in states.indices {
            states[index].literals.build()
            states[index].partials.build()
        }
        return states
    }

    private mutating func target(of segment: PathPattern.Segment, from state: Int32) -> Int32 {
        switch segment {
        case .many:
            if states[Int(state)].many < 0 {
                states[Int(state)].many = newState()
                states[Int(states[Int(state)].many)].repeats = true
            }
            return states[Int(state)].many
        case .choice(_, let options):
            return target(.choice(state, options)) { matcher, target in
                for option in options { matcher.literals.add(target, for: option) }
            }
        case .one(let pieces):
            return target(of: pieces.map(\.withoutName), from: state)
        }
    }

    private mutating func target(of pieces: [PathPattern.Piece], from state: Int32) -> Int32 {
        if pieces.count == 1 {
            switch pieces[0] {
            case .literal(let text):
                return target(.literal(state, text)) { matcher, target in
                    matcher.literals.add(target, for: text)
                }
            case .any, .capture:
                if states[Int(state)].any < 0 { states[Int(state)].any = newState() }
                return states[Int(state)].any
            }
        }
        return target(.partial(state, pieces)) { matcher, target in
            matcher.partials.add(pieces, target: target)
        }
    }

    private mutating func target(
        _ edge: Edge, _ connect: (inout PathMatcher.State, Int32) -> Void
    ) -> Int32 {
        if let known = edges[edge] { return known }
        let target = newState()
        edges[edge] = target
        let source: Int32 =
            switch edge {
            case .literal(let state, _), .choice(let state, _), .partial(let state, _): state
            }
        connect(&states[Int(source)], target)
        return target
    }

    private mutating func newState() -> Int32 {
        states.append(PathMatcher.State())
        return Int32(states.count - 1)
    }
}

extension PathPattern.Piece {
    /// Patterns that differ only in the names of their captures match alike.
    fileprivate var withoutName: PathPattern.Piece { isCapture ? .capture("") : self }
}
