/// A mapping whose keys are known. Making one reports every key that is not.
struct Section {
    /// For messages: `source.zookeeper`, `sink 'registry'`; empty for the whole file.
    let name: String
    /// Where to report a key that is missing.
    let position: Position
    private let context: LoadContext
    private var values: [String: Node] = [:]
    private var keyPositions: [String: Position] = [:]

    /// - Parameters:
    ///   - keys: what this version reads.
    ///   - later: what the contract has and a later version will read.
    /// Returns `nil`, and reports it, where the node is no mapping.
    init?(
        _ node: Node, _ name: String, at position: Position? = nil, keys: [String], later: [String] = [],
        context: LoadContext
    ) {
        self.name = name
        self.position = position ?? node.position
        self.context = context
        let place = name.isEmpty ? "a definition" : name
        guard case .mapping(let entries) = node.content else {
            context.error(
                node.position, "\(place) needs a mapping, not \(node.kind)",
                fix: "its keys are \(keys.joined(separator: ", "))")
            return nil
        }
        for entry in entries {
            if keys.contains(entry.key) {
                values[entry.key] = entry.value
                keyPositions[entry.key] = entry.position
            } else if later.contains(entry.key) {
                context.unsupported(entry.position, "'\(entry.key)'")
            } else {
                let near = Suggestion.nearest(to: entry.key, among: keys + later)
                context.error(
                    entry.position, "unknown key '\(entry.key)'" + (name.isEmpty ? "" : " in \(name)"),
                    fix: near.map { "did you mean '\($0)'?" } ?? "known keys: \(keys.joined(separator: ", "))"
                )
            }
        }
    }

    /// The value of a key, where it stands.
    func node(_ key: String) -> Node? { values[key] }

    /// Where the key itself stands.
    func position(of key: String) -> Position { keyPositions[key] ?? position }

    /// As `node`, and reported where it is missing.
    func required(_ key: String, example: String) -> Node? {
        if let node = values[key] { return node }
        let place = name.isEmpty ? "the definition" : name
        context.error(position, "\(place) has no '\(key)'", fix: "add \(key): \(example)")
        return nil
    }

    func text(_ key: String) -> Located<String>? {
        values[key].flatMap { context.text($0, key) }
    }

    /// The fallback where the key is missing, `nil` where its value is wrong.
    func choice<Choice: RawRepresentable & CaseIterable>(
        _ key: String, default fallback: Choice
    ) -> Choice? where Choice.RawValue == String {
        guard let node = values[key] else { return fallback }
        return context.choice(node, key, of: Choice.self)
    }

    /// A key that this section may not have together with something else.
    func refuse(_ key: String, _ reason: String) {
        guard values[key] != nil else { return }
        context.error(position(of: key), "'\(key)' \(reason)", fix: "remove it")
    }
}
