import ChangeModel
import Mapping

/// What can only be seen with rules and sinks together: names, captures and values that one needs of
/// the other.
struct RoutingChecks {
    let context: LoadContext
    /// `nil`: there is no transform.
    let rules: [ReadRule]?
    let sinks: [ReadSink]
    /// The captured subtrees; empty where they are not known.
    let paths: [String]

    func run() {
        for rule in rules ?? [] {
            checkTargets(rule)
            for reference in rule.from?.value.references ?? [] {
                let located = Located(value: reference, position: rule.from?.position ?? rule.position)
                check(located, of: "from", in: rule, isOwn: true)
            }
            for field in rule.set ?? [] {
                let name = "the field '\(field.definition.name)'"
                for reference in field.references { check(reference, of: name, in: rule, isOwn: true) }
            }
        }
        for sink in sinks {
            checkAddress(sink)
            checkReferences(sink)
        }
        // What a mistake elsewhere may have caused is not worth a warning.
        guard !context.hasErrors else { return }
        for index in (rules ?? []).indices { checkReach(index) }
        for sink in sinks {
            checkWriters(sink)
            checkDistinct(sink)
        }
    }

    // MARK: Errors

    private func checkTargets(_ rule: ReadRule) {
        let names = sinks.map(\.name)
        for target in rule.to ?? [] where !names.contains(target.value) {
            let near = Suggestion.nearest(to: target.value, among: names)
            context.error(
                target.position, "there is no sink '\(target.value)'",
                fix: near.map { "did you mean '\($0)'?" } ?? "the sinks are \(names.joined(separator: ", "))")
        }
    }

    private func checkReferences(_ sink: ReadSink) {
        for (key, template) in sink.templates {
            let name = "the \(key) of sink '\(sink.name)'"
            for reference in template.value.distinctReferences {
                let located = Located(value: reference, position: template.position)
                if let rules {
                    for rule in rules where rule.writes(to: sink.name) {
                        check(located, of: name, in: rule, isOwn: false)
                    }
                } else {
                    checkWithoutTransform(located, of: name)
                }
            }
        }
    }

    /// A capture must be captured, and a member of `value` needs data that has members.
    private func check(_ reference: Located<Reference>, of what: String, in rule: ReadRule, isOwn: Bool) {
        let place = isOwn ? "this rule" : "the rule at line \(rule.position.line)"
        switch reference.value {
        case .capture(let name):
            guard let pattern = rule.match?.value, !pattern.captureNames.contains(name) else { return }
            let known = pattern.captureNames + Reference.reservedNames
            let near = Suggestion.nearest(to: name, among: known).map { "did you mean {\($0)}?" }
            context.error(
                reference.position,
                "\(what) needs {\(name)}, which \(place) does not capture (match: \(pattern.text))",
                fix: near ?? (isOwn ? nil : "capture it there, or give that rule a 'to' without this sink"))
        case .value(let steps):
            guard !steps.isEmpty, let decode = rule.decode, !decode.givesMembers else { return }
            context.error(
                reference.position,
                "\(what) needs {\(reference.value)}, but \(place) has 'decode: \(decode.rawValue)', "
                    + "which gives a value without members",
                fix: "write 'decode: json' in \(place), or {value} for all of the data")
        case .metadata:
            break
        }
    }

    private func checkWithoutTransform(_ reference: Located<Reference>, of what: String) {
        switch reference.value {
        case .capture(let name):
            let near = Suggestion.nearest(to: name, among: Reference.reservedNames)
            context.error(
                reference.position, "\(what) needs {\(name)}, but without a transform nothing is captured",
                fix: near.map { "did you mean {\($0)}?" } ?? "add a rule whose match has {\(name)}")
        case .value(let steps) where !steps.isEmpty:
            context.error(
                reference.position,
                "\(what) needs {\(reference.value)}, but without a transform nothing is decoded",
                fix: "add a rule with 'decode: json'")
        case .value, .metadata:
            break
        }
    }

    /// The one place that refuses what needs the store to remember which key belongs to which path.
    private func checkAddress(_ sink: ReadSink) {
        guard let specification = sink.definition?.specification else { return }
        let addresses = specification.addressTemplates.map(\.name)
        for (key, template) in sink.templates where addresses.contains(key) {
            let moving = template.value.references.first { reference in
                specification.holdsState ? !reference.isPathDetermined : reference.needsValue
            }
            guard let moving else { continue }
            context.unsupported(
                template.position,
                "a \(key) with {\(moving)}, which can differ between changes of one znode,",
                fix: "use captures of the path, or {path}")
        }
    }

    // MARK: Warnings

    private func checkReach(_ index: Int) {
        guard let rules, let match = rules[index].match else { return }
        let pattern = match.value.text
        if let first = rules[..<index].first(where: {
            $0.match?.value.text == pattern && !$0.continues && $0.exclude.isEmpty
        }) {
            context.warning(
                match.position,
                "this rule is never reached: the one at line \(first.position.line) has the same match",
                fix: "the first rule that matches decides")
        }
        let segments = pattern.dropFirst().split(separator: "/")
        let fixed = segments.prefix { !$0.contains("*") && !$0.contains("{") }
        let prefix = "/" + fixed.joined(separator: "/")
        let isWithin = paths.contains { path in
            SourceReader.isInside(prefix, path)
                || (fixed.count < segments.count && SourceReader.isInside(path, prefix))
        }
        if !isWithin {
            context.warning(
                match.position, "this rule matches nothing: \(pattern) lies outside source.zookeeper.paths")
        }
    }

    private func checkWriters(_ sink: ReadSink) {
        guard let rules, !rules.contains(where: { $0.writes(to: sink.name) }) else { return }
        context.warning(
            sink.position, "no rule writes to the sink '\(sink.name)'",
            fix: "name it in a rule's 'to', or remove it")
    }

    /// Several znodes that are sure to write the same key of a sink that holds the present state.
    private func checkDistinct(_ sink: ReadSink) {
        guard let specification = sink.definition?.specification, specification.holdsState else { return }
        let references = specification.addressTemplates.flatMap { $0.template.references }
        guard !references.contains(.metadata(.path)) else { return }
        let position = sink.templates.first { $0.key == "key" }?.template.position ?? sink.position
        guard let rules else {
            warnShared(sink, position, ["{path}"], "")
            return
        }
        for rule in rules where rule.writes(to: sink.name) {
            guard let pattern = rule.match?.value else { continue }
            let unused = pattern.captureNames.filter { !references.contains(.capture($0)) }.map { "{\($0)}" }
            let wildcards = pattern.text.contains("*") ? ["*"] : []
            warnShared(sink, position, unused + wildcards, " (rule at line \(rule.position.line))")
        }
    }

    private func warnShared(_ sink: ReadSink, _ position: Position, _ parts: [String], _ origin: String) {
        guard !parts.isEmpty else { return }
        context.warning(
            position,
            "znodes that differ only in \(parts.joined(separator: ", "))\(origin) share what the sink "
                + "'\(sink.name)' writes: the last one wins, and deleting one removes it",
            fix: "use \(parts.first { $0 != "*" } ?? "{path}") in the key")
    }
}

extension Template {
    /// Each reference once, in order.
    fileprivate var distinctReferences: [Reference] {
        references.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
}
