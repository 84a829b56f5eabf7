import ChangeModel
import Mapping

/// Reads `transform:`.
struct TransformReader {
    let context: LoadContext

    private static let stageKeys = ["rules", "drop", "select", "jq", "dedupe", "throttle"]
    static let ruleKeys =
        ["match", "exclude", "continue", "on", "compression", "from", "decode", "jq"] + ShapeReader.keys
        + ["set", "ttl", "to"]

    /// The stages; none where there is no transform.
    func read(_ root: Section) -> [ReadStage] {
        guard let node = root.node("transform"),
            let items = context.list(node, "transform", example: "- rules: […]")
        else { return [] }
        var stages = items.compactMap(readStage)
        var scope = StageScope()
        for index in stages.indices { stages[index].take(&scope) }
        checkOrder(stages)
        return stages
    }

    private func readStage(_ node: Node) -> ReadStage? {
        guard
            let section = Section(
                node, "a stage of transform", keys: TransformReader.stageKeys, context: context)
        else { return nil }
        let keys = TransformReader.stageKeys.filter { section.node($0) != nil }
        guard keys.count == 1, let key = keys.first, let value = section.node(key) else {
            if keys.count > 1 {
                context.error(
                    section.position(of: keys[1]),
                    "a stage is one of \(keys.joined(separator: ", ")), not both",
                    fix: "write '- \(keys[1]): …' as a stage of its own")
            } else if case .mapping(let entries) = node.content, entries.isEmpty {
                context.error(node.position, "a stage of transform is empty", fix: "write - rules: […]")
            }
            return nil
        }
        let position = section.position(of: key)
        switch key {
        case "rules": return .rules(readRules(value))
        case "drop": return .other(filter(value, key).map { .drop($0) }, position)
        case "select": return .other(filter(value, key).map { .select($0) }, position)
        case "jq": return .other(context.jq(value).map { .jq($0, line: position.line) }, position)
        case "dedupe": return .other(dedupe(value), position)
        default: return .other(throttle(section), position)
        }
    }

    private func filter(_ node: Node, _ key: String) -> ChangeFilter? {
        switch node.content {
        case .scalar:
            return context.text(node, key).flatMap(context.pattern).map { ChangeFilter(match: [$0]) }
        case .list(let items):
            let patterns = items.compactMap {
                context.text($0, "a pattern of \(key)").flatMap(context.pattern)
            }
            guard !patterns.isEmpty else {
                if items.isEmpty {
                    context.error(node.position, "\(key) is empty", fix: "name a pattern, or remove it")
                }
                return nil
            }
            return ChangeFilter(match: patterns)
        case .mapping:
            guard let section = Section(node, key, keys: ["match", "on"], context: context) else {
                return nil
            }
            if section.node("match") == nil, section.node("on") == nil {
                context.error(
                    node.position, "\(key) has neither 'match' nor 'on'", fix: "add match: [\"/a/**\"]")
            }
            var filter = ChangeFilter(match: [])
            if let match = section.node("match") {
                guard let inner = self.filter(match, "match") else { return nil }
                filter.match = inner.match
            }
            if let on = section.node("on") { filter.operations = operations(on) ?? filter.operations }
            return filter
        }
    }

    private func readRules(_ node: Node) -> [ReadRule] {
        guard let items = context.list(node, "rules", example: "- match: \"/services/{service}\"") else {
            return []
        }
        if items.isEmpty {
            context.error(
                node.position, "rules is empty: every change would be dropped", fix: "add - match: \"/**\"")
        }
        return items.compactMap(readRule)
    }

    private func readRule(_ node: Node) -> ReadRule? {
        guard let section = Section(node, "a rule", keys: TransformReader.ruleKeys, context: context) else {
            return nil
        }
        let match = section.required("match", example: "\"/services/{service}\"")
            .flatMap { context.text($0, "match") }.flatMap(pattern)
        var rule = ReadRule(
            position: section.position, match: match,
            operations: section.node("on").flatMap(operations) ?? Set(Operation.allCases))
        rule.exclude = section.node("exclude").flatMap(excluded) ?? []
        rule.continues = section.choice("continue", default: YesOrNo.false) == .true
        rule.compression = section.choice("compression", default: Compression.none) ?? .none
        rule.from = section.node("from").flatMap(from)
        if rule.from != nil, rule.compression != .none, let node = section.node("compression") {
            context.error(
                node.position,
                "compression says how the data is compressed, but 'from' is decoded instead of it",
                fix: "remove one of the two")
        }
        rule.decode = section.choice("decode", default: Decoding.none)
        rule.hasJQ = section.node("jq") != nil
        rule.jq = section.node("jq").flatMap(context.jq)
        rule.shape = ShapeReader(context: context).read(section)
        rule.shapeKey = ShapeReader.keys.first { section.node($0) != nil }
            .map { Located(value: $0, position: section.position(of: $0)) }
        rule.ttl = section.text("ttl").flatMap(context.lifetime)
        rule.set = section.node("set").flatMap(FieldReader(context: context).read)
        rule.to = section.node("to").flatMap(targets)
        return rule
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
        if items.isEmpty {
            context.error(
                node.position, "on is empty: the rule would drop what it matches",
                fix: "write on: [c, u, r, d]")
        }
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
