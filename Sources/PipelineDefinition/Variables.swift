/// `${VAR}`, `${VAR:default}` (`${VAR:-default}` means the same) and `$${`, a literal `${`.
enum Variables {
    struct Failure: Error {
        var message: String
        var fix: String?
    }

    /// Fills in the variables of one scalar. A variable that is set but empty counts as set.
    static func resolve(_ text: String, _ environment: [String: String]) throws(Failure) -> String {
        guard text.contains("${") else { return text }
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[dollar...]
            if rest.hasPrefix("$${") {
                result += "${"
                rest = rest.dropFirst(3)
            } else if rest.hasPrefix("${") {
                guard let end = rest.firstIndex(of: "}") else {
                    throw Failure(message: "'${' without '}'", fix: "write '$${' for a literal '${'")
                }
                result += try value(of: rest[..<end].dropFirst(2), environment)
                rest = rest[end...].dropFirst()
            } else {
                result += "$"
                rest = rest.dropFirst()
            }
        }
        return result + rest
    }

    private static func value(
        of reference: Substring, _ environment: [String: String]
    ) throws(Failure) -> String {
        let parts = reference.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts.first.map(String.init) ?? ""
        guard isName(name) else {
            throw Failure(
                message:
                    "'${\(name)}' is no variable name: letters, digits and _, not beginning with a digit",
                fix: "write '$${' for a literal '${'")
        }
        if let value = environment[name] { return value }
        guard parts.count == 2 else {
            throw Failure(
                message: "the environment variable \(name) is not set and has no default",
                fix: "set it, or write ${\(name):default}")
        }
        return String(parts[1].hasPrefix("-") ? parts[1].dropFirst() : parts[1])
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.first, first.isASCII, first.isLetter || first == "_" else { return false }
        return name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    }
}
