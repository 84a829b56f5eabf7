import ChangeModel
import Mapping

/// The keys (and their parts) that a sink's templates can name, and the paths that a key may come from.
struct ItemPattern {
    let kind: SinkItem.Kind
    private let key: [Piece]
    private let part: [Piece]
    private let rules: [PathPattern]
    /// Patterns of rules whose keys do not tell the path.
    let untold: [String]

    private enum Piece {
        case literal(Bytes)
        case name(String)
        /// Text that a filter has changed: it tells nothing back.
        case anything
    }

    private static let path = Reference.Metadata.path.rawValue

    /// `nil` where data decides what is written, and no template names it.
    init?(_ sink: SinkSpecification, _ transform: TransformSpecification) {
        guard let kind = SinkItem.Kind(sink), let key = sink.key else { return nil }
        let part = kind == .hashField ? sink.field : kind.isWhole ? nil : sink.member
        guard !sink.remembersAddresses(transform),
            sink.addressTemplates.allSatisfy({ $0.template.isPathDetermined })
        else { return nil }
        self.kind = kind
        self.key = ItemPattern.pieces(key)
        self.part = part.map(ItemPattern.pieces) ?? []
        let names = Set(
            (self.key + self.part).compactMap { if case .name(let name) = $0 { name } else { nil } })
        let matches = (transform.rules ?? []).filter { $0.to?.contains(sink.name) ?? true }.map(\.match)
        if names.contains(ItemPattern.path) {
            (rules, untold) = ([], [])
        } else {
            let told = matches.filter { $0.isTold && names.isSuperset(of: $0.captureNames) }
            rules = told
            untold = matches.filter { !told.contains($0) }.map(\.text) + (matches.isEmpty ? ["/**"] : [])
        }
    }

    private static func pieces(_ template: Template) -> [Piece] {
        template.pieces.map { piece in
            switch piece {
            case .literal(let bytes): .literal(bytes)
            case .reference(.capture(let name), let filters) where filters.isEmpty: .name(name)
            case .reference(.metadata(.path), let filters) where filters.isEmpty: .name(path)
            case .reference: .anything
            }
        }
    }

    /// Whether any key tells a path.
    var isTelling: Bool { untold.isEmpty || !rules.isEmpty }

    /// Redis's glob for all keys.
    var glob: Bytes {
        var glob: Bytes = []
        for piece in key {
            if case .literal(let bytes) = piece {
                for byte in bytes {
                    if "*?[]\\".utf8.contains(byte) { glob.append(UInt8(ascii: "\\")) }
                    glob.append(byte)
                }
            } else if glob.last != UInt8(ascii: "*") || glob.dropLast().last == UInt8(ascii: "\\") {
                glob.append(UInt8(ascii: "*"))
            }
        }
        return glob
    }

    /// Every path that an item may come from, each to be mapped forward for a proof; none where the templates do not
    /// name it, and where it can be read in more ways than are looked at.
    func paths(of item: SinkItem) -> [String] {
        var steps = 0
        guard item.key.count + item.part.count <= ItemPattern.maximumBytes else { return [] }
        guard let keys = ItemPattern.readings(of: item.key, key, &steps),
            let parts = kind.isWhole ? [[:]] : ItemPattern.readings(of: item.part, part, &steps)
        else { return [] }
        var paths: [String] = []
        for key in keys {
            for part in parts {
                guard let names = ItemPattern.union(key, part) else { continue }
                let found =
                    names[ItemPattern.path].map { [$0] } ?? rules.compactMap { $0.path(filling: names) }
                for path in found where PathPattern.isNodePath(path) && !paths.contains(path) {
                    paths.append(path)
                }
                if paths.count > ItemPattern.maximumPaths { return [] }
            }
        }
        return paths
    }

    private static let maximumBytes = 8192
    private static let maximumPaths = 64
    private static let maximumSteps = 10_000

    private static func union(_ one: [String: String], _ other: [String: String]) -> [String: String]? {
        var union = one
        for (name, text) in other where union.updateValue(text, forKey: name) ?? text != text { return nil }
        return union
    }

    /// Every way in which a text can be made of the pieces; `nil` where they are too many.
    private static func readings(of text: Bytes, _ pieces: [Piece], _ steps: inout Int) -> [[String: String]]?
    {
        var found: [[String: String]] = []
        var names: [String: String] = [:]
        guard read(text[...], pieces[...], &names, &found, &steps) else { return nil }
        return found
    }

    private static func read(
        _ text: ArraySlice<UInt8>, _ pieces: ArraySlice<Piece>, _ names: inout [String: String],
        _ found: inout [[String: String]], _ steps: inout Int
    ) -> Bool {
        steps += 1
        guard steps <= maximumSteps, found.count <= maximumPaths else { return false }
        guard let piece = pieces.first else {
            if text.isEmpty { found.append(names) }
            return true
        }
        let rest = pieces.dropFirst()
        if case .literal(let literal) = piece {
            return text.starts(with: literal)
                ? read(text.dropFirst(literal.count), rest, &names, &found, &steps) : true
        }
        // The last piece takes all; one before a literal ends where that stands.
        let shortest = rest.isEmpty ? text.count : 0
        for count in shortest...max(shortest, text.count) {
            if case .literal(let next)? = rest.first, !text.dropFirst(count).starts(with: next) { continue }
            guard case .name(let name) = piece else {
                guard read(text.dropFirst(count), rest, &names, &found, &steps) else { return false }
                continue
            }
            guard count > 0, let value = String(validating: text.prefix(count), as: UTF8.self) else {
                continue
            }
            let known = names[name]
            guard known ?? value == value else { continue }
            names[name] = value
            defer { names[name] = known }
            guard read(text.dropFirst(count), rest, &names, &found, &steps) else { return false }
        }
        return true
    }
}
