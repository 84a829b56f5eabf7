import ChangeModel
import Mapping

/// What works, but hardly as it was meant.
extension RoutingChecks {
    func warn() {
        for stage in stages {
            guard let rules = stage.rules else { continue }
            for index in rules.indices { checkReach(index, among: rules) }
        }
        for sink in sinks {
            checkWriters(sink)
            checkDistinct(sink)
        }
        checkSharedKeys()
        checkDedupe()
        checkHidden()
    }

    private func checkReach(_ index: Int, among rules: [ReadRule]) {
        guard let match = rules[index].match else { return }
        let pattern = match.value.text
        let earlier = rules[..<index].first { rule in
            !rule.continues && rule.exclude.isEmpty && rule.match?.value.covers(match.value) == true
        }
        if let earlier, let other = earlier.match?.value {
            let what =
                other.text == pattern ? "has the same match" : "matches all that it does (\(other.text))"
            context.warning(
                match.position,
                "this rule is never reached: the one at line \(earlier.position.line) \(what)",
                fix:
                    "the first rule that matches decides: move this one before it, or give that one 'continue: true'"
            )
        }
        let exclude = rules[index].exclude.first { $0.value.covers(match.value) }
        if let exclude {
            context.warning(
                match.position,
                "this rule matches nothing: its exclude (\(exclude.value.text)) leaves out all that it matches"
            )
        }
        if let exclude = excluded.first(where: { $0.covers(match.value) }) {
            context.warning(
                match.position,
                "this rule matches nothing: source.zookeeper.exclude (\(exclude.text)) leaves out all that it matches"
            )
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
        let isWritten = stages.compactMap(\.rules).allSatisfy { rules in
            rules.contains { $0.writes(to: sink.name) }
        }
        guard !isWritten else { return }
        context.warning(
            sink.position, "no rule writes to the sink '\(sink.name)'",
            fix: "name it in a rule's 'to', or remove it")
    }

    /// Several znodes that are sure to write the same key of a sink that holds the present state.
    private func checkDistinct(_ sink: ReadSink) {
        // Where the sink remembers who has written it, it goes with the last of them.
        guard let specification = sink.definition?.specification, specification.holdsState,
            !specification.remembersAddresses(transform)
        else { return }
        let position = sink.templates.first { $0.key == "key" }?.template.position ?? sink.position
        for (parts, origin) in sharedParts(sink) {
            context.warning(
                position,
                "znodes that differ only in \(parts.joined(separator: ", "))\(origin) share what the sink "
                    + "'\(sink.name)' writes: the last one wins, and deleting one removes it",
                fix: "use \(parts.first { $0 != "*" } ?? "{path}") in the key")
        }
    }

    /// By rule: what tells znodes apart that write the same thing, where that is sure.
    func sharedParts(_ sink: ReadSink) -> [(parts: [String], origin: String)] {
        guard let specification = sink.definition?.specification else { return [] }
        let references = specification.addressTemplates.flatMap(\.template.references)
        if references.contains(.metadata(.path)) || references.contains(where: \.needsValue) { return [] }
        guard let lastRules else { return [(["{path}"], "")] }
        return lastRules.compactMap { rule in
            guard rule.writes(to: sink.name), let pattern = rule.match?.value else { return nil }
            let parts = specification.undistinguished(pattern)
            return parts.isEmpty ? nil : (parts, " (rule at line \(rule.position.line))")
        }
    }

    private func checkDedupe() {
        let dedupe = stages.first { if case .other(.dedupe?, _) = $0 { true } else { false } }
        guard case .other(_, let position)? = dedupe,
            sinks.contains(where: { $0.ttl != nil }) || rules.contains(where: { $0.ttl != nil })
        else { return }
        context.warning(
            position, "a ttl is not renewed by a change that writes the same again: dedupe takes it out",
            fix: "remove one of the two, unless that is meant")
    }

    /// What mask and hash hide in the value is in the bytes all the same.
    private func checkHidden() {
        for rule in lastRules ?? [] where !rule.shape.mask.isEmpty || !rule.shape.hash.isEmpty {
            for sink in sinks where rule.writes(to: sink.name) {
                guard let specification = sink.definition?.specification, !specification.holdsState else {
                    continue
                }
                let isEnvelope = specification.write == .stdout || specification.envelope != nil
                guard isEnvelope || rule.set == nil else { continue }
                context.warning(
                    rule.position,
                    "the sink '\(sink.name)' gets the data as it is, with what mask and hash hide in the value",
                    fix: isEnvelope
                        ? "give the rule a 'to' without it"
                        : "choose the fields by set, or give the rule a 'to' without it")
            }
        }
    }

    /// Two sinks of one Redis that write the same key: of different kinds one of them would be refused each time.
    private func checkSharedKeys() {
        for (index, sink) in sinks.enumerated() {
            guard let definition = sink.definition, definition.redisURL != nil,
                let key = sink.templates.first(where: { $0.key == "key" })?.template
            else { continue }
            let other = sinks[..<index].first { other in
                other.definition?.redisURL == definition.redisURL
                    && other.definition?.specification.key?.text == key.value.text
                    && !areApart(other.definition?.specification, definition.specification)
            }
            guard let other else { continue }
            context.warning(
                key.position,
                "the sinks '\(other.name)' and '\(sink.name)' write the same key '\(key.value.text)'",
                fix: "give each sink keys of its own")
        }
    }

    /// Members and fields of one key may come from several sinks.
    private func areApart(_ left: SinkSpecification?, _ right: SinkSpecification) -> Bool {
        guard let left, left.write == right.write else { return false }
        return left.member != right.member
            || left.field != right.field && left.field != nil && right.field != nil
    }
}
