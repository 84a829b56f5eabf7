import ChangeModel
import Mapping

/// A rule as far as it could be read, and the places that later checks point at.
struct ReadRule {
    var position: Position
    /// `nil` where it is missing or wrong.
    var match: Located<PathPattern>?
    var exclude: [Located<PathPattern>] = []
    var continues = false
    var operations: Set<Operation>
    var compression = Compression.none
    var from: Located<Template>?
    /// `nil` where it is wrong.
    var decode: Decoding?
    var set: [ReadField]?
    var to: [Located<String>]?

    /// `nil` where anything that it needs is wrong.
    var rule: Rule? {
        guard let match, let decode else { return nil }
        return Rule(
            match: match.value, exclude: exclude.map(\.value), continues: continues, operations: operations,
            compression: compression, from: from?.value, decode: decode, set: set?.map(\.definition),
            to: to?.map(\.value), line: position.line)
    }

    func writes(to sink: String) -> Bool {
        to?.contains { $0.value == sink } ?? true
    }
}

/// Reads `transform:`.
struct TransformReader {
    let context: LoadContext

    private static let laterStages = ["jq", "select", "drop", "dedupe", "throttle"]
    private static let ruleKeys = [
        "match", "exclude", "continue", "on", "compression", "from", "decode", "set", "to",
    ]
    private static let laterRuleKeys = ["jq"]

    /// The rules; `nil` where there is no transform.
    func read(_ root: Section) -> [ReadRule]? {
        guard let node = root.node("transform") else { return nil }
        guard let stages = context.list(node, "transform", example: "- rules: […]"), !stages.isEmpty else {
            return nil
        }
        var rules: [ReadRule] = []
        var rulesAt: Position?
        for stage in stages {
            guard
                let section = Section(
                    stage, "a stage of transform", keys: ["rules"], later: TransformReader.laterStages,
                    context: context),
                let list = section.node("rules")
            else { continue }
            if rulesAt != nil {
                context.unsupported(section.position(of: "rules"), "a second stage of 'rules'")
                continue
            }
            rulesAt = section.position(of: "rules")
            rules += readRules(list)
        }
        return rules
    }

    private func readRules(_ node: Node) -> [ReadRule] {
        guard let items = context.list(node, "rules", example: "- match: \"/services/{service}\"") else {
            return []
        }
        if items.isEmpty { context.error(node.position, "rules is empty: every change would be dropped") }
        return items.compactMap(readRule)
    }

    private func readRule(_ node: Node) -> ReadRule? {
        guard
            let section = Section(
                node, "a rule", keys: TransformReader.ruleKeys, later: TransformReader.laterRuleKeys,
                context: context)
        else { return nil }
        let match = section.required("match", example: "\"/services/{service}\"")
            .flatMap { context.text($0, "match") }.flatMap(pattern)
        let operations = section.node("on").flatMap(operations) ?? Set(Operation.allCases)
        let decode = section.choice("decode", default: Decoding.none)
        let set = section.node("set").flatMap(FieldReader(context: context).read)
        let exclude = section.node("exclude").flatMap(excluded) ?? []
        let compression = section.choice("compression", default: Compression.none) ?? .none
        let from = section.node("from").flatMap(from)
        if from != nil, compression != .none, let node = section.node("compression") {
            context.error(
                node.position,
                "compression says how the data is compressed, but 'from' is decoded instead of it",
                fix: "remove one of the two")
        }
        return ReadRule(
            position: section.position, match: match, exclude: exclude,
            continues: section.choice("continue", default: YesOrNo.false) == .true, operations: operations,
            compression: compression, from: from, decode: decode, set: set,
            to: section.node("to").flatMap(targets))
    }

    private func pattern(_ text: Located<String>) -> Located<PathPattern>? {
        guard let pattern = context.pattern(text) else { return nil }
        for name in pattern.captureNames where Reference.reservedNames.contains(name) {
            context.error(
                text.position, "the capture {\(name)} has a name that templates know as something else",
                fix: "choose another name")
            return nil
        }
        return Located(value: pattern, position: text.position)
    }

    private func excluded(_ node: Node) -> [Located<PathPattern>]? {
        context.list(node, "exclude", example: "[\"/services/**/lock-*\"]")?.compactMap { item in
            guard let text = context.text(item, "a pattern of exclude"), let pattern = context.pattern(text)
            else {
                return nil
            }
            return Located(value: pattern, position: text.position)
        }
    }

    /// What is decoded instead of the data.
    private func from(_ node: Node) -> Located<Template>? {
        guard let text = context.text(node, "from"), let template = context.template(text) else { return nil }
        if let reference = template.references.first(where: { !$0.isPathDetermined }) {
            context.error(
                text.position, "from needs {\(reference)}, but it is the path that is decoded here",
                fix: "use captures and {path}, or leave from out to decode the data")
            return nil
        }
        return Located(value: template, position: text.position)
    }

    private func operations(_ node: Node) -> Set<Operation>? {
        guard let items = context.list(node, "on", example: "[c, u, r, d]") else { return nil }
        if items.isEmpty { context.error(node.position, "on is empty: the rule would drop what it matches") }
        var operations: Set<Operation> = []
        for item in items {
            guard let text = context.text(item, "an operation") else { continue }
            if let operation = Operation(letter: text.value) {
                operations.insert(operation)
            } else {
                context.error(
                    text.position, "'\(text.value)' is no operation",
                    fix: "c is created, u updated, r read by a snapshot, d deleted")
            }
        }
        return operations
    }

    private func targets(_ node: Node) -> [Located<String>]? {
        context.list(node, "to", example: "[registry]")?.compactMap { context.text($0, "the name of a sink") }
    }
}
