/// What every part of the reading shares: the environment, and the list of what was found.
final class LoadContext {
    let file: String
    let environment: [String: String]
    private(set) var diagnostics: [Diagnostic] = []
    /// Errors, and warnings; more are not kept.
    private static let maximumDiagnostics = 1_000
    private static let maximumMessage = 4_096
    private var counts = [0, 0]

    init(file: String, environment: [String: String]) {
        self.file = file
        self.environment = environment
    }

    func error(_ position: Position, _ message: String, fix: String? = nil) {
        report(.error, position, message, fix)
    }

    func warning(_ position: Position, _ message: String, fix: String? = nil) {
        report(.warning, position, message, fix)
    }

    /// For what the contract has and this version has not: one wording, so that it is easy to find.
    func unsupported(_ position: Position, _ what: String, fix: String? = nil) {
        error(position, "\(what) is not supported by this version yet", fix: fix)
    }

    var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    private func report(
        _ severity: Diagnostic.Severity, _ position: Position, _ message: String, _ fix: String?
    ) {
        let number = severity == .error ? 0 : 1
        guard counts[number] < LoadContext.maximumDiagnostics else { return }
        counts[number] += 1
        diagnostics.append(
            Diagnostic(
                file: file, line: position.line, column: position.column, severity: severity,
                message: LoadContext.shortened(message), fix: fix.map(LoadContext.shortened)))
    }

    /// Messages quote the definition, which may be a MiB in one word.
    private static func shortened(_ text: String) -> String {
        text.utf8.count <= maximumMessage
            ? text : String(text.unicodeScalars.prefix(maximumMessage / 4)) + "…"
    }

    /// The text of a scalar with its variables filled in; `nil`, and reported, where it is no text or empty.
    func text(_ node: Node, _ what: String) -> Located<String>? {
        guard let text = optionalText(node, what) else { return nil }
        guard !text.value.isEmpty else {
            error(node.position, "\(what) is empty", fix: "write one, or leave the key out")
            return nil
        }
        return text
    }

    /// As `text`, but the text may be empty (`""`, or a variable that is).
    func optionalText(_ node: Node, _ what: String) -> Located<String>? {
        guard case .scalar(let raw, _) = node.content, !node.isEmpty else {
            error(
                node.position, "\(what) needs a text, not \(node.kind)",
                fix: "write one in quotation marks, on the same line")
            return nil
        }
        do {
            return Located(value: try Variables.resolve(raw, environment), position: node.position)
        } catch {
            self.error(node.position, error.message, fix: error.fix)
            return nil
        }
    }

    /// The items of a list; `nil`, and reported, where it is none.
    func list(_ node: Node, _ what: String, example: String) -> [Node]? {
        guard case .list(let items) = node.content else {
            error(node.position, "\(what) needs a list, not \(node.kind)", fix: "write \(example)")
            return nil
        }
        return items
    }

    /// One of the values of an enumeration.
    func choice<Choice: RawRepresentable & CaseIterable>(
        _ node: Node, _ what: String, of type: Choice.Type
    ) -> Choice? where Choice.RawValue == String {
        guard let text = text(node, what) else { return nil }
        if let choice = Choice(rawValue: text.value) { return choice }
        let known = Choice.allCases.map(\.rawValue)
        error(
            text.position, "\(what) is one of \(known.joined(separator: ", ")), not '\(text.value)'",
            fix: Suggestion.nearest(to: text.value, among: known).map { "did you mean '\($0)'?" }
                ?? known.first.map { "write for example \($0)" })
        return nil
    }
}

/// What a key that is on or off may say.
enum YesOrNo: String, CaseIterable {
    case `true`, `false`
}
