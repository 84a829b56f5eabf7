extension Value {
    /// Reads a Java properties file in UTF-8 (`java.util.Properties.load`): an object of texts. Names keep their dots.
    static func properties(_ bytes: Bytes) throws(MappingFault) -> Value {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .undecodable("the data is not valid UTF-8")
        }
        var members: [ObjectValue.Member] = []
        var reader = PropertiesReader(text)
        while let line = reader.nextLine() {
            let (name, value) = PropertiesReader.split(line)
            guard let name = PropertiesReader.unescaped(name), let value = PropertiesReader.unescaped(value)
            else {
                throw .undecodable("the data has a \\u escape that stands for no character")
            }
            members.append(.init(name: name, value: .text(value)))
        }
        return .object(ObjectValue(members))
    }
}

private struct PropertiesReader {
    private var rest: Substring.UnicodeScalarView

    init(_ text: String) {
        rest = text.unicodeScalars[...]
    }

    /// The next line that says something, with those that continue it; escapes as they stand.
    mutating func nextLine() -> Substring.UnicodeScalarView? {
        while !rest.isEmpty {
            var line = nextNaturalLine()
            guard let first = line.first, first != "#", first != "!" else { continue }
            while PropertiesReader.continues(line) {
                line.removeLast()
                line.append(contentsOf: nextNaturalLine())
            }
            return line
        }
        return nil
    }

    /// Without the white space before it and the break behind it.
    private mutating func nextNaturalLine() -> Substring.UnicodeScalarView {
        let line = rest.prefix { $0 != "\n" && $0 != "\r" }
        rest = rest[line.endIndex...]
        if rest.first == "\r" { rest = rest.dropFirst() }
        if rest.first == "\n" { rest = rest.dropFirst() }
        return line.drop(while: PropertiesReader.isBlank)
    }

    /// Whether it ends in a backslash that no other one escapes.
    private static func continues(_ line: Substring.UnicodeScalarView) -> Bool {
        line.reversed().prefix { $0 == "\\" }.count % 2 == 1
    }

    /// The name ends before the first `=`, `:` or blank that is not escaped.
    static func split(
        _ line: Substring.UnicodeScalarView
    ) -> (Substring.UnicodeScalarView, Substring.UnicodeScalarView) {
        var isEscaped = false
        let end =
            line.firstIndex { scalar in
                defer { isEscaped = scalar == "\\" && !isEscaped }
                return !isEscaped && (scalar == "=" || scalar == ":" || isBlank(scalar))
            } ?? line.endIndex
        var value = line[end...].drop(while: isBlank)
        if value.first == "=" || value.first == ":" { value = value.dropFirst().drop(while: isBlank) }
        return (line[..<end], value)
    }

    /// `nil` for a \u escape that is none, or half of a pair.
    static func unescaped(_ text: Substring.UnicodeScalarView) -> String? {
        guard text.contains("\\") else { return String(text) }
        var units: [UInt16] = []
        var rest = text
        while let scalar = rest.popFirst() {
            guard scalar == "\\" else {
                units.append(contentsOf: UTF16.encode(scalar).map(Array.init) ?? [])
                continue
            }
            switch rest.popFirst() {
            case "u"?:
                let digits = String(rest.prefix(4))
                guard digits.utf8.count == 4, let unit = UInt16(digits, radix: 16) else { return nil }
                units.append(unit)
                rest = rest.dropFirst(4)
            case "t"?: units.append(0x09)
            case "n"?: units.append(0x0a)
            case "r"?: units.append(0x0d)
            case "f"?: units.append(0x0c)
            case let other?: units.append(contentsOf: UTF16.encode(other).map(Array.init) ?? [])
            case nil: break
            }
        }
        return String(validating: units, as: UTF16.self)
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\u{c}"
    }
}
