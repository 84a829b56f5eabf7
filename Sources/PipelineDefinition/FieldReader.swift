import Mapping

/// A field of `set` with the places of what it refers to.
struct ReadField {
    var definition: FieldDefinition
    var references: [Located<Reference>]
}

/// Reads `set:` of one rule.
struct FieldReader {
    let context: LoadContext

    func read(_ node: Node) -> [ReadField]? {
        guard case .mapping(let entries) = node.content, !entries.isEmpty else {
            context.error(
                node.position, "set needs a mapping of fields, not \(node.kind)",
                fix: "write for example host: \"{value.host}\", or leave set out")
            return nil
        }
        return entries.compactMap(readField)
    }

    private func readField(_ entry: Node.Entry) -> ReadField? {
        if entry.key.isEmpty || entry.key.contains("{") {
            context.error(
                entry.position, "the field name '\(entry.key)' is no plain text",
                fix: "templates stand in the value: host: \"{value.host}\"")
            return nil
        }
        switch entry.value.content {
        case .scalar:
            return template(entry)
        case .mapping:
            return cast(entry)
        case .list:
            context.error(
                entry.value.position, "the field '\(entry.key)' needs a template, not a list",
                fix: "write \"{value.name}\", or {from: value.name, type: integer}")
            return nil
        }
    }

    private func template(_ entry: Node.Entry) -> ReadField? {
        guard let text = context.optionalText(entry.value, "the field '\(entry.key)'"),
            let template = context.template(text)
        else { return nil }
        if case .value? = try? Reference(text.value) {
            context.warning(
                text.position, "the field '\(entry.key)' is the text '\(text.value)', not what it names",
                fix: "write \"{\(text.value)}\"")
        }
        let references = template.references.map { Located(value: $0, position: text.position) }
        let definition = FieldDefinition(
            name: entry.key, source: .template(template), line: entry.position.line)
        return ReadField(definition: definition, references: references)
    }

    private func cast(_ entry: Node.Entry) -> ReadField? {
        let name = "the field '\(entry.key)'"
        guard
            let section = Section(
                entry.value, name, at: entry.position, keys: ["from", "type", "default"], context: context)
        else { return nil }
        let type = section.choice("type", default: FieldType.string) ?? .string
        let reference = section.required("from", example: "value.name")
            .flatMap { context.text($0, "from") }.flatMap(reference)
        let fallback = section.node("default").flatMap { context.optionalText($0, "default") }
        if let fallback, !type.accepts(fallback.value) {
            context.error(
                fallback.position, "the default '\(fallback.value)' of \(name) is no \(type.rawValue)",
                fix: "write one, or another type")
        }
        guard let reference else { return nil }
        let definition = FieldDefinition(
            name: entry.key, source: .cast(from: reference.value, type: type, default: fallback?.value),
            line: entry.position.line)
        return ReadField(definition: definition, references: [reference])
    }

    private func reference(_ text: Located<String>) -> Located<Reference>? {
        if text.value.hasPrefix("{") {
            context.error(
                text.position, "from names one thing, without braces",
                fix: "write \(text.value.filter { $0 != "{" && $0 != "}" })")
            return nil
        }
        do {
            return Located(value: try Reference(text.value), position: text.position)
        } catch {
            context.error(
                text.position, "from: \(error.description)",
                fix: "write value.name, a capture or one of the metadata")
            return nil
        }
    }
}

extension LoadContext {
    /// A template; reported where its braces do not fit.
    func template(_ text: Located<String>) -> Template? {
        do {
            return try Template(text.value)
        } catch {
            self.error(
                text.position, "the template '\(text.value)': \(error.description)",
                fix: "write for example \"k:{path}\", or with a filter \"k:{name|lower}\"")
            return nil
        }
    }
}

extension LoadContext {
    /// A `ttl:`; one that no change decides is checked.
    func lifetime(_ text: Located<String>) -> Located<Template>? {
        guard let template = template(text) else { return nil }
        if template.references.isEmpty, (TimeSpan.milliseconds(text.value) ?? 0) <= 0 {
            error(
                text.position, "ttl is no duration: '\(text.value)'",
                fix: "write a number and ms, s, m, h or d, for example 30s or \"{value.ttl}s\"")
            return nil
        }
        return Located(value: template, position: text.position)
    }
}
