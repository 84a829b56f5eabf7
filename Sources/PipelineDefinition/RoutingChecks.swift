import ChangeModel
import Mapping

/// What can only be seen with rules and sinks together: names, captures and values that one needs of
/// the other.
struct RoutingChecks {
    let context: LoadContext
    let stages: [ReadStage]
    let sinks: [ReadSink]
    /// The captured subtrees; empty where they are not known.
    let paths: [String]
    /// What the source leaves out.
    let excluded: [PathPattern]
    /// Whether every transaction is captured, and by nothing else; `nil` where it is not known.
    let isObserved: Bool?

    /// Those of all stages.
    var rules: [ReadRule] { stages.compactMap(\.rules).flatMap { $0 } }

    /// Those whose records the sinks get; `nil`: no stage has rules.
    var lastRules: [ReadRule]? { stages.last { $0.rules != nil }?.rules }

    /// Whether a stage behind the last rules makes new values, of which nothing is known.
    var endsWithJQ: Bool {
        stages.reversed().prefix { $0.rules == nil }.contains {
            if case .other(.jq?, _) = $0 { true } else { false }
        }
    }

    var transform: TransformSpecification {
        TransformSpecification(stages: stages.compactMap(\.specification))
    }

    func run() {
        for rule in rules {
            checkTargets(rule)
            checkShape(rule)
            check(rule.from, of: "from", in: rule)
            check(rule.ttl, of: "ttl", in: rule)
            for field in rule.set ?? [] {
                let name = "the field '\(field.definition.name)'"
                for reference in field.references { check(reference, of: name, in: rule, isOwn: true) }
            }
        }
        checkLifetimes()
        checkThrottle()
        checkEntryIDs()
        checkKinds()
        for sink in sinks {
            checkAddress(sink)
            checkReferences(sink)
        }
        // What a mistake elsewhere may have caused is not worth a warning.
        if !context.hasErrors { warn() }
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

    private func checkShape(_ rule: ReadRule) {
        guard let key = rule.shapeKey, let decode = rule.decode, !rule.hasMembers else { return }
        context.error(
            key.position,
            "\(key.value) is for the members of the value, but this rule has 'decode: \(decode.rawValue)', "
                + "which gives a value without members",
            fix: "write 'decode: json' in this rule, or remove it")
    }

    private func check(_ template: Located<Template>?, of what: String, in rule: ReadRule) {
        guard let template else { return }
        for reference in template.value.distinctReferences {
            check(Located(value: reference, position: template.position), of: what, in: rule, isOwn: true)
        }
    }

    private func checkReferences(_ sink: ReadSink) {
        let lifetime = sink.ttl.map { [(key: "ttl", template: $0)] } ?? []
        for (key, template) in sink.templates + lifetime {
            let name = "the \(key) of sink '\(sink.name)'"
            for reference in template.value.distinctReferences {
                let located = Located(value: reference, position: template.position)
                guard let lastRules else {
                    checkWithoutRules(located, of: name)
                    continue
                }
                if endsWithJQ, reference.needsValue { continue }
                for rule in lastRules where rule.writes(to: sink.name) {
                    check(located, of: name, in: rule, isOwn: false)
                }
            }
        }
    }

    /// A capture must be captured, and a member of `value` needs data that has members.
    private func check(_ reference: Located<Reference>, of what: String, in rule: ReadRule, isOwn: Bool) {
        let place = isOwn ? "this rule" : "the rule at line \(rule.position.line)"
        switch reference.value {
        case .capture(let name):
            guard let pattern = rule.match?.value, !pattern.captureNames.contains(name),
                !rule.scope.captures.contains(name)
            else { return }
            let known = pattern.captureNames + rule.scope.captures + Reference.reservedNames
            let near = Suggestion.nearest(to: name, among: known).map { "did you mean {\($0)}?" }
            context.error(
                reference.position,
                "\(what) needs {\(name)}, which \(place) does not capture (match: \(pattern.text))",
                fix: near ?? (isOwn ? nil : "capture it there, or give that rule a 'to' without this sink"))
        case .value(let steps):
            check(steps, at: reference, of: what, in: rule, place: place)
        case .metadata:
            break
        }
    }

    private func check(
        _ steps: [String], at reference: Located<Reference>, of what: String, in rule: ReadRule, place: String
    ) {
        guard let first = steps.first, let decode = rule.decode else { return }
        guard rule.hasMembers else {
            context.error(
                reference.position,
                "\(what) needs {\(reference.value)}, but \(place) has 'decode: \(decode.rawValue)', "
                    + "which gives a value without members",
                fix: "write 'decode: json' in \(place), or {value} for all of the data")
            return
        }
        guard let known = rule.knownMembers, !known.contains(first) else { return }
        let near = Suggestion.nearest(to: first, among: known).map { "did you mean {value.\($0)}?" }
        context.error(
            reference.position,
            "\(what) needs {\(reference.value)}, but the value of \(place) has no member '\(first)'",
            fix: near ?? "its members are \(known.joined(separator: ", "))")
    }

    private func checkWithoutRules(_ reference: Located<Reference>, of what: String) {
        switch reference.value {
        case .capture(let name):
            let near = Suggestion.nearest(to: name, among: Reference.reservedNames)
            context.error(
                reference.position, "\(what) needs {\(name)}, but without a transform nothing is captured",
                fix: near.map { "did you mean {\($0)}?" } ?? "add a rule whose match has {\(name)}")
        case .value(let steps) where !steps.isEmpty && !endsWithJQ:
            context.error(
                reference.position,
                "\(what) needs {\(reference.value)}, but without a transform nothing is decoded",
                fix: "add a rule with 'decode: json'")
        case .value, .metadata:
            break
        }
    }

    /// A lifetime is that of a key, and of what the last rules make.
    private func checkLifetimes() {
        for (index, stage) in stages.enumerated() {
            for rule in stage.rules ?? [] {
                guard let ttl = rule.ttl else { continue }
                if stages[(index + 1)...].contains(where: { $0.rules != nil }) {
                    context.error(
                        ttl.position,
                        "a ttl here has no effect: a later stage of rules decides what is written",
                        fix: "move it there, or to the sink")
                    continue
                }
                for sink in sinks where rule.writes(to: sink.name) {
                    guard case .stream? = sink.definition?.specification.write else { continue }
                    context.error(
                        ttl.position, "a ttl is not for the stream '\(sink.name)': its entries have none",
                        fix: "use maxlen or minid there, and give the rule a 'to' without it")
                }
            }
        }
    }

    /// A key has one type: of two sinks that write it in different forms one is refused each time, or replaces what the
    /// other has written.
    private func checkKinds() {
        for (index, sink) in sinks.enumerated() {
            guard let definition = sink.definition, let url = definition.redisURL,
                let key = sink.templates.first(where: { $0.key == "key" })?.template
            else { continue }
            let other = sinks[..<index].first { other in
                guard let first = other.definition, first.redisURL == url else { return false }
                return first.specification.key?.text == key.value.text
                    && !first.specification.write.hasTypeOf(definition.specification.write)
                    && (lastRules ?? []).allSatisfy { $0.writes(to: other.name) == $0.writes(to: sink.name) }
            }
            guard let other else { continue }
            context.error(
                key.position,
                "the sinks '\(other.name)' and '\(sink.name)' write the key '\(key.value.text)' as different types",
                fix: "give each sink keys of its own")
        }
    }

    /// A change that is held back comes behind later ones of other nodes.
    private func checkThrottle() {
        let throttle = stages.first { if case .other(.throttle?, _) = $0 { true } else { false } }
        guard case .other(_, let position)? = throttle else { return }
        for sink in sinks {
            guard let definition = sink.definition else { continue }
            if definition.specification.holdsState, let (parts, origin) = sharedParts(sink).first {
                context.error(
                    position,
                    "znodes that differ only in \(parts.joined(separator: ", "))\(origin) share what the sink "
                        + "'\(sink.name)' writes, and throttle may let the older of two of them come last",
                    fix: "use \(parts.first { $0 != "*" } ?? "{path}") in the key, or remove the stage")
            }
            if case .stream = definition.specification.write {
                context.error(
                    position,
                    "throttle is not for the stream '\(sink.name)': its entries keep the order of the log, which a "
                        + "change held back leaves",
                    fix: "give the stream a pipeline of its own, or remove the stage")
            }
        }
    }

    /// IDs made of zxids need exact ones.
    private func checkEntryIDs() {
        for sink in sinks {
            guard case .stream(let options)? = sink.definition?.specification.write, options.id == .zxid,
                isObserved == false
            else { continue }
            context.error(
                sink.idPosition ?? sink.position,
                "'id: zxid' needs each transaction as it was committed, which only an observer sees",
                fix: "write capture: observer in source.zookeeper, or id: offset")
        }
    }

    /// What needs the store to remember which key belongs to which path, and where that cannot be.
    private func checkAddress(_ sink: ReadSink) {
        guard let definition = sink.definition else { return }
        let specification = definition.specification
        let addresses = specification.addressTemplates.map(\.name)
        let references = sink.templates.filter { addresses.contains($0.key) }.flatMap { key, template in
            template.value.references.map { (key: key, reference: $0, position: template.position) }
        }
        guard specification.holdsState else {
            let takesDeletes =
                lastRules?.contains { $0.writes(to: sink.name) && $0.operations.contains(.delete) } ?? true
            for (key, reference, position) in references where reference.needsValue && takesDeletes {
                context.error(
                    position, "a stream's \(key) with {\(reference)}, which a delete does not have",
                    fix: "write on: [c, u, r] in the rules that write to it, or use captures of the path")
            }
            return
        }
        guard specification.remembersAddresses(transform) else { return }
        let moving = references.first { !$0.reference.isPathDetermined }
        let why =
            moving.map {
                "a \($0.key) with {\($0.reference)}, which can differ between changes of one znode,"
            }
            ?? "what several znodes write, where a filter may let one of them no more through,"
        let fix =
            moving == nil
            ? "write on_filtered: keep, or use all captures" : "use captures of the path, or {path}"
        if let position = sink.leavesBehind {
            context.error(
                position,
                "on_delete: \(specification.onDelete.rawValue) is not for \(why) since the sink has to remember it",
                fix: "write on_delete: delete, or \(fix.hasPrefix("write ") ? String(fix.dropFirst(6)) : fix)"
            )
        }
    }
}

extension WriteKind {
    /// Whether both are the same type to Redis.
    fileprivate func hasTypeOf(_ other: WriteKind) -> Bool {
        switch (self, other) {
        case (.stream, .stream), (.hash, .hash), (.set, .set), (.sortedSet, .sortedSet),
            (.string, .string), (.children, .children):
            true
        default: false
        }
    }
}

extension Template {
    /// Each reference once, in order.
    var distinctReferences: [Reference] {
        references.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
}
