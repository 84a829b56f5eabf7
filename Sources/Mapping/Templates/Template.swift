/// Text with references in braces: `svc:{service|lower}:{instance}`. `{{` and `}}` are literal braces.
public struct Template: Sendable, Hashable {
    /// As it stands in the definition.
    public let text: String
    public let pieces: [Piece]

    public enum Piece: Sendable, Hashable {
        case literal(Bytes)
        case reference(Reference, [TemplateFilter])
    }

    /// Why a template was refused, in words that quote it.
    public struct SyntaxError: Error, Hashable, CustomStringConvertible {
        public var description: String

        init(_ description: String) {
            self.description = description
        }
    }

    /// Parses a template. Throws `SyntaxError` for a lone brace or a name that can be no reference.
    public init(_ text: String) throws(SyntaxError) {
        self.text = text
        var pieces: [Piece] = []
        var literal: Bytes = []
        var rest = text[...]
        while let index = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            literal += Bytes(rest[..<index].utf8)
            let brace = rest[index]
            rest = rest[rest.index(after: index)...]
            if rest.first == brace {
                literal += Bytes(brace.utf8)
                rest = rest.dropFirst()
                continue
            }
            guard brace == "{" else { throw SyntaxError("'}' without '{' (for a literal brace write '}}')") }
            guard let end = rest.firstIndex(of: "}") else {
                throw SyntaxError("'{' without '}' (for a literal brace write '{{')")
            }
            if !literal.isEmpty { pieces.append(.literal(literal)) }
            literal = []
            pieces.append(try Template.piece(rest[..<end]))
            rest = rest[rest.index(after: end)...]
        }
        literal += Bytes(rest.utf8)
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        self.pieces = pieces
    }

    /// A name and its filters.
    private static func piece(_ text: Substring) throws(SyntaxError) -> Piece {
        let parts = text.split(separator: "|", omittingEmptySubsequences: false)
        var filters: [TemplateFilter] = []
        for part in parts.dropFirst() { filters.append(try TemplateFilter(String(part))) }
        return .reference(try Reference(String(parts.first ?? "")), filters)
    }

    public var references: [Reference] {
        pieces.compactMap { if case .reference(let reference, _) = $0 { reference } else { nil } }
    }

    /// The one thing that the template is, with nothing around it; `nil` where it is more, or filtered.
    var soleReference: Reference? {
        guard pieces.count == 1, case .reference(let reference, let filters) = pieces[0], filters.isEmpty
        else {
            return nil
        }
        return reference
    }

    /// The captures that it needs, in order.
    public var captureNames: [String] {
        references.compactMap { if case .capture(let name) = $0 { name } else { nil } }
    }

    /// Whether any part of it needs the decoded data, which a delete does not have.
    public var needsValue: Bool { references.contains(where: \.needsValue) }

    /// Whether the znode's path alone decides the text, so that it is the same for every change of that node.
    public var isPathDetermined: Bool { references.allSatisfy(\.isPathDetermined) }
}
