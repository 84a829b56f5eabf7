import JQ
import Mapping

/// Reads what a rule does to the decoded value.
struct ShapeReader {
    let context: LoadContext

    static let keys = ["flatten", "rename", "select", "drop", "default", "cast", "hash", "mask"]

    func read(_ rule: Section) -> Shape {
        var shape = Shape()
        shape.flatten = rule.text("flatten").map { $0.value == "true" ? "." : $0.value }
        shape.rename = entries(rule, "rename", example: "{old: new}").compactMap { name, value in
            path(value, "the new name of '\(name.joined(separator: "."))'").map { .init(from: name, to: $0) }
        }
        shape.select = rule.node("select").flatMap { paths($0, "select") }
        shape.drop = rule.node("drop").flatMap { paths($0, "drop") } ?? []
        shape.defaults = entries(rule, "default", example: "{port: 80}").compactMap { name, value in
            context.optionalText(value, "a default").map { .init(name: name, text: $0.value) }
        }
        shape.casts = entries(rule, "cast", example: "{port: integer}").compactMap { name, value in
            context.choice(value, "a cast", of: FieldType.self).map { .init(name: name, type: $0) }
        }
        shape.mask = rule.node("mask").flatMap { paths($0, "mask") } ?? []
        readHash(rule, into: &shape)
        return shape
    }

    /// A list of names, or `{fields: [email], key: "${SECRET}"}`.
    private func readHash(_ rule: Section, into shape: inout Shape) {
        guard let node = rule.node("hash") else { return }
        guard case .mapping = node.content else {
            shape.hash = paths(node, "hash") ?? []
            return
        }
        guard let section = Section(node, "hash", keys: ["fields", "key"], context: context) else { return }
        shape.hash = section.required("fields", example: "[email]").flatMap { paths($0, "fields") } ?? []
        shape.hashKey = section.text("key")?.value
    }

    private func paths(_ node: Node, _ what: String) -> [[String]]? {
        guard let items = context.list(node, what, example: "\(what): [name, address.host]") else {
            return nil
        }
        if items.isEmpty {
            context.error(node.position, "\(what) is empty", fix: "name something, or leave it out")
        }
        return items.compactMap { path($0, "a name in \(what)") }
    }

    private func entries(_ rule: Section, _ key: String, example: String) -> [(name: [String], value: Node)] {
        guard let node = rule.node(key) else { return [] }
        guard case .mapping(let entries) = node.content, !entries.isEmpty else {
            context.error(
                node.position, "\(key) needs a mapping, not \(node.kind)", fix: "write \(key): \(example)")
            return []
        }
        return entries.compactMap { entry in
            let name = Node(position: entry.position, content: .scalar(entry.key, plain: true))
            return path(name, "a name in \(key)").map { ($0, entry.value) }
        }
    }

    /// `address.host`: names of members, as templates have them behind `value.`.
    private func path(_ node: Node, _ what: String) -> [String]? {
        guard let text = context.text(node, what) else { return nil }
        let steps = text.value.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard !steps.contains(""), !text.value.contains("{") else {
            context.error(
                text.position, "\(what) is no name of a member: '\(text.value)'",
                fix: "write for example address.host")
            return nil
        }
        if steps.first == "value", steps.count > 1 {
            context.warning(
                text.position, "'\(text.value)' is looked for inside of value",
                fix: "write \(steps.dropFirst().joined(separator: "."))")
        }
        return steps
    }
}

extension LoadContext {
    /// A jq program; reported where it is none.
    func jq(_ node: Node) -> JQProgram? {
        guard let text = text(node, "jq") else { return nil }
        do {
            return try JQProgram(text.value)
        } catch {
            self.error(
                text.position, "jq: \(error.message)",
                fix: error.code == .unavailable ? nil : "try it with: jq '\(text.value)'")
            return nil
        }
    }
}
