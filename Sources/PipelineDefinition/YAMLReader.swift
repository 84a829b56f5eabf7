import Mapping
import Yams

/// Reads YAML text into nodes. The only place that knows the YAML library.
struct YAMLReader {
    /// A definition has a few hundred parts; aliases that multiply end here.
    static let maximumNodes = 20_000
    /// libyaml's own bound, which aliases could pass.
    private static let maximumDepth = 1_000
    /// Each takes one more pass over the text; all passes together read at most so many bytes.
    private static let maximumDuplicates = 64
    private static let maximumBytesOfPasses = 4 << 20

    private let context: LoadContext
    private let aliases: HiddenAliases
    private var nodes = 0
    /// Keys that stand twice in a mapping: the library stops at the first such pair, so the first of the two
    /// is renamed (keeping every position) until it is content; this remembers the names.
    private var renamed: [Position: String] = [:]
    private var anchors: [String: Part] = [:]
    private var hasBrokenAlias = false

    /// A node and how much it is.
    private struct Part {
        var node: Node
        var nodes: Int
        var depth: Int
    }

    /// The root of the definition in a text; `nil`, and reported, where the text is no YAML or holds nothing.
    static func read(_ text: String, context: LoadContext) -> Node? {
        guard let aliases = HiddenAliases(text) else {
            context.error(Position(line: 1, column: 1), "the definition cannot be read as YAML")
            return nil
        }
        var reader = YAMLReader(context: context, aliases: aliases)
        return reader.read()
    }

    private init(context: LoadContext, aliases: HiddenAliases) {
        self.context = context
        self.aliases = aliases
    }

    private mutating func read() -> Node? {
        let start = Position(line: 1, column: 1)
        guard !aliases.hasTooManyKeys else {
            context.error(start, "the definition has too many keys that are lists or mappings")
            return nil
        }
        // Anchors are known for as long as there is their parser.
        guard let (root, parser) = compose() else { return nil }
        let part = withExtendedLifetime(parser) { convert(root, depth: 1) }
        if nodes > YAMLReader.maximumNodes {
            let message =
                "the definition has more than \(YAMLReader.maximumNodes) parts, those of aliases included"
            context.error(start, message)
            return nil
        }
        return hasBrokenAlias ? nil : part.node
    }

    private mutating func compose() -> (root: Yams.Node, parser: Parser)? {
        var text = aliases.text
        var bytes = text.utf8.count
        while true {
            do {
                // The basic resolver leaves `on`, `no` and `off` the texts that they look like.
                let parser = try Parser(yaml: text, resolver: .basic)
                if let root = try parser.singleRoot() { return (root, parser) }
                context.error(Position(line: 1, column: 1), "the definition is empty")
                return nil
            } catch let error as YamlError {
                bytes += text.utf8.count
                guard case .duplicatedKeysInMapping(let keys, let place) = error, let key = keys.first,
                    renamed.count < YAMLReader.maximumDuplicates, bytes <= YAMLReader.maximumBytesOfPasses,
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

    private mutating func convert(_ node: Yams.Node, depth: Int) -> Part {
        nodes += 1
        let position = node.mark.map(Position.init) ?? Position(line: 1, column: 1)
        guard nodes <= YAMLReader.maximumNodes else { return YAMLReader.empty(position) }
        var part = YAMLReader.empty(position)
        let before = nodes
        switch node {
        case .scalar(let scalar):
            if let alias = alias(scalar, position, depth: depth) { return alias }
            let content = Node.Content.scalar(aliases.restored(scalar.string), plain: scalar.style == .plain)
            part.node.content = content
        case .sequence(let items):
            var list: [Node] = []
            for item in items { list.append(take(convert(item, depth: depth + 1), into: &part)) }
            part.node.content = .list(list)
        case .mapping(let pairs):
            part.node.content = .mapping(entries(pairs, depth: depth, into: &part))
        case .alias:
            break
        }
        part.nodes = 1 + nodes - before
        if let anchor = node.anchor { anchors[anchor.rawValue] = part }
        return part
    }

    private static func empty(_ position: Position) -> Part {
        Part(node: Node(position: position, content: .scalar("", plain: true)), nodes: 1, depth: 1)
    }

    private func take(_ child: Part, into part: inout Part) -> Node {
        part.depth = max(part.depth, child.depth + 1)
        return child.node
    }

    /// What an alias stands for; `nil` for any other scalar. One that stands for nothing is reported.
    private mutating func alias(_ scalar: Yams.Node.Scalar, _ position: Position, depth: Int) -> Part? {
        guard scalar.style == .plain, aliases.isAlias(scalar.string) else { return nil }
        let empty = YAMLReader.empty(position)
        guard let name = aliases.anchor(of: scalar.string), let part = anchors[name] else {
            let text = aliases.restored(scalar.string)
            context.error(
                position, "this is no YAML: '\(text)' is no alias of an anchor before it",
                fix: YAMLReader.quoting)
            hasBrokenAlias = true
            return empty
        }
        nodes += part.nodes - 1
        guard depth + part.depth <= YAMLReader.maximumDepth else {
            context.error(
                position,
                "the definition is nested more than \(YAMLReader.maximumDepth) deep, aliases included")
            hasBrokenAlias = true
            return empty
        }
        return nodes > YAMLReader.maximumNodes ? empty : part
    }

    private mutating func entries(
        _ pairs: Yams.Node.Mapping, depth: Int, into part: inout Part
    ) -> [Node.Entry] {
        var entries: [Node.Entry] = []
        var first: [String: Position] = [:]
        for (key, value) in pairs {
            let position = key.mark.map(Position.init) ?? Position(line: 1, column: 1)
            guard let text = text(ofKey: key, position) else {
                context.error(position, "a key is a text, not a list or a mapping", fix: "write name: value")
                continue
            }
            let name = renamed[position].map(aliases.restored) ?? text
            if name == "<<" {
                context.error(position, "merge keys ('<<') are not read", fix: "write the keys out")
            } else if let earlier = first[name] {
                context.error(
                    position, "the key '\(name)' stands twice in this mapping",
                    fix: "the first is at line \(earlier.line)")
            } else {
                first[name] = position
                let converted = take(convert(value, depth: depth + 1), into: &part)
                entries.append(Node.Entry(key: name, position: position, value: converted))
            }
        }
        return entries
    }

    private mutating func text(ofKey key: Yams.Node, _ position: Position) -> String? {
        guard case .scalar(let scalar) = key else { return nil }
        let alias = alias(scalar, position, depth: 1)
        if let alias, case .scalar(let text, _) = alias.node.content { return text }
        if let anchor = scalar.anchor {
            let content = Node.Content.scalar(aliases.restored(scalar.string), plain: scalar.style == .plain)
            anchors[anchor.rawValue] = Part(
                node: Node(position: position, content: content), nodes: 1, depth: 1)
        }
        return alias == nil ? aliases.restored(scalar.string) : nil
    }

    private static let quoting =
        "quote text that holds any of { } [ ] : # & * ! | > % @ or begins with a quote or a dash"

    private func report(_ error: YamlError) {
        let fix = YAMLReader.quoting
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
            context.error(
                Position(place.mark),
                "the key '\(aliases.restored(keys.first ?? ""))' stands twice in this mapping")
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
