import Yams

/// Reads YAML text into nodes. The only place that knows the YAML library.
struct YAMLReader {
    /// A definition has a few hundred parts; aliases that multiply end here.
    static let maximumNodes = 20_000
    /// Each takes one more pass over the text.
    private static let maximumDuplicates = 64

    private let context: LoadContext
    private var nodes = 0
    /// Keys that stand twice in a mapping: the library stops at the first such pair, so the first of the two
    /// is renamed (keeping every position) until it is content; this remembers the names.
    private var renamed: [Position: String] = [:]

    init(context: LoadContext) {
        self.context = context
    }

    /// The definition's root; `nil`, and reported, where the text is no YAML or holds nothing.
    mutating func read(_ text: String) -> Node? {
        guard let root = compose(text) else { return nil }
        let node = convert(root)
        if nodes > YAMLReader.maximumNodes {
            let message =
                "the definition has more than \(YAMLReader.maximumNodes) parts, those of aliases included"
            context.error(Position(line: 1, column: 1), message)
            return nil
        }
        return node
    }

    private mutating func compose(_ original: String) -> Yams.Node? {
        var text = original
        while true {
            do {
                // The basic resolver leaves `on`, `no` and `off` the texts that they look like.
                if let root = try Yams.compose(yaml: text, .basic) { return root }
                context.error(Position(line: 1, column: 1), "the definition is empty")
                return nil
            } catch let error as YamlError {
                guard case .duplicatedKeysInMapping(let keys, let place) = error, let key = keys.first,
                    renamed.count < YAMLReader.maximumDuplicates,
                    let changed = rename(key, at: Position(place.mark), in: text)
                else {
                    report(error)
                    return nil
                }
                text = changed
            } catch {
                context.error(Position(line: 1, column: 1), "the definition cannot be read as YAML")
                return nil
            }
        }
    }

    /// The text with another name, as long as the old one, in the place of a key; `nil` where the key does
    /// not stand there as it reads (it has escapes, or comes from an alias).
    private mutating func rename(_ key: String, at position: Position, in text: String) -> String? {
        var scalars = Array(text.unicodeScalars)
        guard var index = YAMLReader.index(of: position, in: scalars) else { return nil }
        if index < scalars.count, scalars[index] == "\"" || scalars[index] == "'" { index += 1 }
        let name = Array(key.unicodeScalars)
        let end = index + name.count
        guard !name.isEmpty, end <= scalars.count, scalars[index..<end].elementsEqual(name),
            let replacement = Unicode.Scalar(0xE000 + UInt32(renamed.count))
        else { return nil }
        for place in index..<end { scalars[place] = replacement }
        renamed[position] = key
        return String(String.UnicodeScalarView(scalars))
    }

    private static func index(of position: Position, in scalars: [Unicode.Scalar]) -> Int? {
        var line = 1
        var index = 0
        while line < position.line {
            guard index < scalars.count else { return nil }
            switch scalars[index] {
            case "\r":
                if index + 1 < scalars.count, scalars[index + 1] == "\n" { index += 1 }
                line += 1
            case "\n", "\u{85}", "\u{2028}", "\u{2029}":
                line += 1
            default:
                break
            }
            index += 1
        }
        return index + position.column - 1
    }

    private mutating func convert(_ node: Yams.Node) -> Node {
        nodes += 1
        let position = node.mark.map(Position.init) ?? Position(line: 1, column: 1)
        let empty = Node(position: position, content: .scalar("", plain: true))
        guard nodes <= YAMLReader.maximumNodes else { return empty }
        switch node {
        case .scalar(let scalar):
            return Node(position: position, content: .scalar(scalar.string, plain: scalar.style == .plain))
        case .sequence(let items):
            return Node(position: position, content: .list(items.map { convert($0) }))
        case .mapping(let pairs):
            return Node(position: position, content: .mapping(entries(pairs)))
        case .alias:
            return empty
        }
    }

    private mutating func entries(_ pairs: Yams.Node.Mapping) -> [Node.Entry] {
        var entries: [Node.Entry] = []
        var first: [String: Position] = [:]
        for (key, value) in pairs {
            let position = key.mark.map(Position.init) ?? Position(line: 1, column: 1)
            guard case .scalar(let scalar) = key else {
                context.error(position, "a key is a text, not a list or a mapping")
                continue
            }
            let name = renamed[position] ?? scalar.string
            if name == "<<" {
                context.error(position, "merge keys ('<<') are not read", fix: "write the keys out")
            } else if let earlier = first[name] {
                context.error(
                    position, "the key '\(name)' stands twice in this mapping",
                    fix: "the first is at line \(earlier.line)")
            } else {
                first[name] = position
                entries.append(Node.Entry(key: name, position: position, value: convert(value)))
            }
        }
        return entries
    }

    private func report(_ error: YamlError) {
        let fix = "quote text that holds any of { } [ ] : # & * ! | > % @ or begins with a quote or a dash"
        switch error {
        case .scanner(let place, let problem, let mark, _), .parser(let place, let problem, let mark, _),
            .composer(let place, let problem, let mark, _):
            let around = place.map { "\($0.text) (line \($0.mark.line)): " } ?? ""
            context.error(Position(mark), "this is no YAML: \(around)\(problem)", fix: fix)
        case .reader(let problem, let offset, _, let yaml):
            let before = yaml.prefix(offset ?? 0)
            let line = before.reduce(1) { $1.isNewline ? $0 + 1 : $0 }
            let column = before.reversed().prefix { !$0.isNewline }.count + 1
            context.error(Position(line: line, column: column), "this is no YAML: \(problem)")
        case .duplicatedKeysInMapping(let keys, let place):
            context.error(Position(place.mark), "the key '\(keys.first ?? "")' stands twice in this mapping")
        default:
            context.error(Position(line: 1, column: 1), "the definition cannot be read as YAML")
        }
    }
}

extension Position {
    init(_ mark: Mark) {
        self.init(line: mark.line, column: mark.column)
    }
}
