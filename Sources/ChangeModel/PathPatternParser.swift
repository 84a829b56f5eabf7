/// Reads the text of a pattern, one pass.
struct PathPatternParser {
    private let text: String
    private(set) var captureNames: [String] = []

    init(_ text: String) {
        self.text = text
    }

    mutating func parse() throws(PathPattern.SyntaxError) -> [PathPattern.Segment] {
        guard text.utf8.count <= PathPattern.maximumBytes else {
            throw .init(message: "a path pattern has at most \(PathPattern.maximumBytes) bytes", column: 1)
        }
        guard text.hasPrefix("/") else {
            throw .init(message: "a path pattern begins with a slash", column: 1)
        }
        if text == "/" { return [] }
        var segments: [PathPattern.Segment] = []
        var column = 2
        for part in text.utf8.dropFirst().split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false
        ).map({ Substring($0) }) {
            segments.append(try parseSegment(part, column: column))
            column += part.count + 1
        }
        return segments
    }

    private mutating func parseSegment(
        _ part: Substring, column: Int
    ) throws(PathPattern.SyntaxError) -> PathPattern.Segment {
        guard !part.isEmpty else {
            throw .init(message: "empty path segment (two slashes, or one at the end)", column: column)
        }
        if part == "**" { return .many(name: nil) }
        if part.hasPrefix("{"), part.hasSuffix("...}"), !part.dropFirst().dropLast().contains("{") {
            let name = String(part.dropFirst().dropLast(4))
            try addCapture(name, column: column)
            return .many(name: name)
        }
        if let choice = try parseChoice(part, column: column) { return choice }
        var pieces: [PathPattern.Piece] = []
        var literal = ""
        var index = part.startIndex
        func position() -> Int { column + part.distance(from: part.startIndex, to: index) }
        func flush() {
            if !literal.isEmpty { pieces.append(.literal(literal)) }
            literal = ""
        }
        while index < part.endIndex {
            switch part[index] {
            case "*":
                flush()
                if pieces.last != .any { pieces.append(.any) }
            case "{":
                guard let end = part[index...].firstIndex(of: "}") else {
                    throw .init(message: "'{' without '}'", column: position())
                }
                flush()
                if case .capture = pieces.last {
                    throw .init(message: "two captures need text between them", column: position())
                }
                let name = String(part[part.index(after: index)..<end])
                if name.hasSuffix("...") || name.contains(":") {
                    throw .init(message: "{\(name)} must be a whole path segment", column: position())
                }
                try addCapture(name, column: position())
                pieces.append(.capture(name))
                index = end
            case "}":
                throw .init(message: "'}' without '{'", column: position())
            default:
                literal.append(part[index])
            }
            index = part.index(after: index)
        }
        flush()
        return .one(pieces)
    }

    /// `{name:a|b}`
    private mutating func parseChoice(
        _ part: Substring, column: Int
    ) throws(PathPattern.SyntaxError) -> PathPattern.Segment? {
        guard part.hasPrefix("{"), part.hasSuffix("}"), let colon = part.firstIndex(of: ":"),
            !part.dropFirst().dropLast().contains(where: { $0 == "{" || $0 == "}" })
        else { return nil }
        let name = String(part[..<colon].dropFirst())
        try addCapture(name, column: column)
        let options = part[part.index(after: colon)...].dropLast().split(
            separator: "|", omittingEmptySubsequences: false
        ).map(String.init)
        guard !options.contains("") else {
            throw .init(message: "{\(name)} has an empty alternative", column: column)
        }
        guard options.allSatisfy({ !$0.contains("*") }) else {
            throw .init(message: "the alternatives of {\(name)} are plain text, without '*'", column: column)
        }
        return .choice(name: name, options)
    }

    private mutating func addCapture(_ name: String, column: Int) throws(PathPattern.SyntaxError) {
        let isName =
            name.first.map { $0.isASCII && ($0.isLetter || $0 == "_") } == true
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        guard isName else {
            throw .init(
                message: "'\(name)' is no capture name: letters, digits and _, not beginning with a digit",
                column: column)
        }
        guard !captureNames.contains(name) else {
            throw .init(message: "{\(name)} is captured twice", column: column)
        }
        captureNames.append(name)
    }
}
