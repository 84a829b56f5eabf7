import ChangeModel
import JQ

/// A stage of the transform ready to be applied.
enum CompiledStage: Sendable {
    /// The first of its rules among those of all stages.
    case rules(first: Int, PathMatcher)
    case filter(CompiledFilter)
    case jq(JQProgram, line: Int)

    /// `dedupe` and `throttle` remember earlier changes: delivery sees to them, there is nothing to map.
    init?(_ stage: TransformSpecification.Stage, firstRule: Int) {
        switch stage {
        case .rules(let rules): self = .rules(first: firstRule, PathMatcher(rules.map(\.match)))
        case .drop(let filter): self = .filter(CompiledFilter(filter, keeps: false))
        case .select(let filter): self = .filter(CompiledFilter(filter, keeps: true))
        case .jq(let program, let line): self = .jq(program, line: line)
        case .dedupe, .throttle: return nil
        }
    }
}

/// What a `drop` or `select` stage looks at.
struct CompiledFilter: Sendable {
    private let matcher: PathMatcher?
    private let operations: Set<Operation>
    private let keeps: Bool
    private let isPathDetermined: Bool

    /// `keeps`: what matches goes on; otherwise what does not.
    init(_ filter: ChangeFilter, keeps: Bool) {
        self.keeps = keeps
        matcher = filter.match.isEmpty ? nil : PathMatcher(filter.match)
        operations = filter.operations
        isPathDetermined = filter.operations.count == Operation.allCases.count
    }

    enum Verdict {
        case goesOn
        /// Another change of the node may have gone on.
        case filtered
        /// No change of the node ever goes on.
        case dropped
    }

    func verdict(_ change: Change) -> Verdict {
        let matchesPath = matcher.map { $0.matches(change.path) } ?? true
        let matches = matchesPath && operations.contains(change.operation)
        if matches == keeps { return .goesOn }
        return isPathDetermined || (keeps && !matchesPath) ? .dropped : .filtered
    }
}
