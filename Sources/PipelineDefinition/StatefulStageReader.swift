import Mapping

/// Stages that look at what a node has written before.
extension TransformReader {
    /// Both look at what would be written, and so stand behind all that decides it.
    func checkOrder(_ stages: [ReadStage]) {
        var stateful: String?
        for stage in stages {
            switch stage {
            case .other(.dedupe?, _): stateful = "dedupe"
            case .other(.throttle?, _): stateful = "throttle"
            case .other(let other, let position):
                guard let stateful, other != nil else { continue }
                context.error(
                    position, "this stage stands behind '\(stateful)', which looks at what would be written",
                    fix: "move it before '\(stateful)'")
            case .rules(let rules):
                guard let stateful, let rule = rules.first else { continue }
                context.error(
                    rule.position,
                    "these rules stand behind '\(stateful)', which looks at what would be written",
                    fix: "move them before '\(stateful)'")
            }
        }
    }

    func dedupe(_ node: Node) -> TransformSpecification.Stage? {
        guard let choice = context.choice(node, "dedupe", of: YesOrNo.self) else { return nil }
        if choice == .false {
            context.error(node.position, "a dedupe stage that is off does nothing", fix: "remove the stage")
            return nil
        }
        return .dedupe
    }

    /// `1s`
    func throttle(_ stage: Section) -> TransformSpecification.Stage? {
        stage.milliseconds("throttle", in: 1...3_600_000, context: context).map {
            .throttle(milliseconds: $0)
        }
    }
}
