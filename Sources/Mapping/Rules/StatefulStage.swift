/// A stage that looks at what a node has written before. It is not part of the mapping, which knows of one change
/// alone: delivery carries it out.
public enum StatefulStage: Sendable, Hashable {
    case dedupe
    case throttle(milliseconds: Int64)

    public init?(_ stage: TransformSpecification.Stage) {
        switch stage {
        case .dedupe: self = .dedupe
        case .throttle(let milliseconds): self = .throttle(milliseconds: milliseconds)
        case .rules, .drop, .select, .jq: return nil
        }
    }
}
