import ChangeModel
import Mapping

/// Reads `tests:`. Texts below it stand for themselves: `${…}` is not filled in.
struct TestReader {
    let context: LoadContext
    let sinks: [ReadSink]

    private static let example = "- {name: …, input: [{op: c, path: /a, data: \"1\"}], output: {sink: […]}}"
    private static let inputKeys = [
        "op", "path", "data", "data_base64", "ephemeral", "version", "zxid", "ts_ms",
    ]

    func read(_ root: Section) -> [PipelineTest] {
        guard let node = root.node("tests"),
            let items = context.list(node, "tests", example: TestReader.example)
        else { return [] }
        return items.compactMap(readTest)
    }

    private func readTest(_ node: Node) -> PipelineTest? {
        guard
            let section = Section(
                node, "a test", keys: ["name", "environment", "input", "output"], context: context)
        else { return nil }
        let name = section.required("name", example: "what it shows").flatMap { text($0, "name") }
        let inputs = section.required("input", example: "[{op: c, path: /a, data: \"1\"}]")
            .flatMap { context.list($0, "input", example: "[{op: c, path: /a}]") }
        let output = section.required("output", example: "{sink: [{key: a, string: \"1\"}]}")
        var environment: [String: String] = [:]
        for entry in section.node("environment").map({ entries($0, "environment") }) ?? [] {
            environment[entry.key] = text(entry.value, "a variable")
        }
        let changes = (inputs ?? []).enumerated().compactMap { readInput($1, number: $0) }
        let expected = output.map(readOutput) ?? []
        guard let name else { return nil }
        return PipelineTest(
            name: name, line: section.position.line, environment: environment, inputs: changes,
            output: expected)
    }

    private func readInput(_ node: Node, number: Int) -> Change? {
        guard let section = Section(node, "an input", keys: TestReader.inputKeys, context: context),
            let path = section.required("path", example: "/a").flatMap({ text($0, "path") })
        else { return nil }
        // The name of a node may have stars and braces in it.
        guard path == "/" || path.hasPrefix("/") && !path.hasSuffix("/") && !path.contains("//") else {
            context.error(section.position(of: "path"), "'\(path)' is no path of a node", fix: "write /a/b")
            return nil
        }
        var operation = ChangeModel.Operation.create
        if let node = section.node("op"), let letter = text(node, "op") {
            guard let known = ChangeModel.Operation(letter: letter) else {
                context.error(
                    node.position, "op is one of c, u, r, d, not '\(letter)'", fix: "write for example op: u")
                return nil
            }
            operation = known
        }
        let data = readData(section)
        if operation == .delete, data != nil {
            context.error(
                section.position, "a delete carries no data", fix: "remove data from the input with op: d")
        }
        let zxid = Zxid(integer(section, "zxid") ?? Int64(number + 1))
        let owner: Int64 = section.choice("ephemeral", default: YesOrNo.false) == .true ? 1 : 0
        let version = integer(section, "version") ?? 0
        return Change(
            operation: operation, path: path, data: operation == .delete ? nil : data ?? [], zxid: zxid,
            timestamp: integer(section, "ts_ms") ?? 0,
            stat: NodeStat(
                czxid: zxid, mzxid: zxid, version: Int32(clamping: version), ephemeralOwner: owner))
    }

    private func readData(_ section: Section) -> Bytes? {
        guard let node = section.node("data_base64") else {
            return section.node("data").flatMap { text($0, "data") }.map { Bytes($0.utf8) }
        }
        section.refuse("data", "cannot stand beside 'data_base64'")
        guard let text = text(node, "data_base64") else { return nil }
        guard let data = Decoding.base64(Bytes(text.utf8)) else {
            context.error(
                node.position, "data_base64 is no base64", fix: "write for example data_base64: aGVsbG8=")
            return nil
        }
        return data
    }

    // MARK: Output

    private func readOutput(_ node: Node) -> [(sink: String, writes: [ExpectedWrite])] {
        entries(node, "output").compactMap { entry in
            if !sinks.contains(where: { $0.name == entry.key }) {
                let near = Suggestion.nearest(to: entry.key, among: sinks.map(\.name))
                context.error(
                    entry.position, "there is no sink '\(entry.key)'",
                    fix: near.map { "did you mean '\($0)'?" })
                return nil
            }
            let items =
                context.list(entry.value, "what a sink gets", example: "[{key: a, string: \"1\"}]") ?? []
            return (entry.key, items.compactMap(readWrite))
        }
    }

    private static let writeKeys =
        ["key", "score", "ttl", "partial"] + WriteForm.Kind.allCases.map(\.rawValue)

    private func readWrite(_ node: Node) -> ExpectedWrite? {
        guard let section = Section(node, "a write", keys: TestReader.writeKeys, context: context) else {
            return nil
        }
        let kinds = WriteForm.Kind.allCases.filter { section.node($0.rawValue) != nil }
        guard kinds.count == 1, let kind = kinds.first, let content = section.node(kind.rawValue) else {
            context.error(
                section.position,
                kinds.isEmpty
                    ? "the write does not say what is written"
                    : "the write says \(kinds.map(\.rawValue).joined(separator: " and "))",
                fix: "write one of \(WriteForm.Kind.allCases.map(\.rawValue).joined(separator: ", "))")
            return nil
        }
        var form = WriteForm(kind)
        form.key = section.node("key").flatMap { text($0, "key") }.map { Bytes($0.utf8) }
        form.score = section.node("score").flatMap { text($0, "score") }.map { Bytes($0.utf8) }
        form.ttlMilliseconds = section.milliseconds("ttl", in: 1...(1 << 50), context: context)
        switch kind {
        case .hash, .entry, .setField:
            form.fields = entries(content, kind.rawValue).compactMap { entry in
                text(entry.value, "a field").map { Field(name: entry.key, value: Bytes($0.utf8)) }
            }
        case .delete, .release, .envelope:
            if text(content, kind.rawValue) != "true" {
                context.error(content.position, "\(kind.rawValue) can only be true")
            }
        case .string, .add, .remove, .removeField, .addItem, .removeItem, .failed:
            form.text = text(content, kind.rawValue).map { Bytes($0.utf8) } ?? []
        }
        let isPartial = section.choice("partial", default: YesOrNo.false) == .true
        if isPartial, kind != .hash, kind != .entry { section.refuse("partial", "is for a hash or an entry") }
        return ExpectedWrite(form: form, isPartial: isPartial, line: section.position.line)
    }

    // MARK: Parts

    private func entries(_ node: Node, _ what: String) -> [Node.Entry] {
        guard case .mapping(let entries) = node.content else {
            context.error(node.position, "\(what) needs a mapping, not \(node.kind)")
            return []
        }
        return entries
    }

    /// A text as it stands, which may be empty.
    private func text(_ node: Node, _ what: String) -> String? {
        guard case .scalar(let text, _) = node.content, !node.isEmpty else {
            context.error(node.position, "\(what) needs a text, not \(node.kind)", fix: "write \"\" for none")
            return nil
        }
        return text
    }

    private func integer(_ section: Section, _ key: String) -> Int64? {
        guard let node = section.node(key), let text = text(node, key) else { return nil }
        guard let number = Int64(text), number >= 0 else {
            context.error(
                node.position, "\(key) is no whole number: '\(text)'", fix: "write for example \(key): 7")
            return nil
        }
        return number
    }
}
