import ChangeModel

extension SinkSpecification {
    /// Whether what a live node has written may depend on which change of it came last (and not on the node alone): a
    /// rule or a filter looks at the operation, or a template names what belongs to a change.
    public func dependsOnOperation(_ transform: TransformSpecification) -> Bool {
        let isSelective = transform.stages.contains { stage in
            switch stage {
            case .rules(let rules):
                rules.contains { $0.operations.count < Operation.allCases.count }
            case .drop(let filter), .select(let filter):
                filter.operations.count < Operation.allCases.count
            case .jq, .dedupe, .throttle: false
            }
        }
        return isSelective
            || references(transform).contains { reference in
                switch reference {
                case .metadata(.op), .metadata(.zxid), .metadata(.timestamp), .metadata(.offset): true
                case .metadata(.path), .metadata(.version), .metadata(.ephemeral), .capture, .value: false
                }
            }
    }

    /// Whether a template names the change's place in the log, of which the node knows nothing.
    public func dependsOnOffset(_ transform: TransformSpecification) -> Bool {
        references(transform).contains(.metadata(.offset))
    }

    private func references(_ transform: TransformSpecification) -> [Reference] {
        var references = [key, member, field, value, score, ttl].compactMap { $0 }.flatMap(\.references)
        for rule in transform.rules ?? [] {
            references += [rule.from, rule.ttl].compactMap { $0 }.flatMap(\.references)
            for field in rule.set ?? [] {
                switch field.source {
                case .template(let template): references += template.references
                case .cast(let reference, _, _): references.append(reference)
                }
            }
        }
        return references
    }
}
