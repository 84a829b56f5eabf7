/// What a template does to the text of a name: `{service|lower}`, `{id|pad:10}`, `{path|hash:sha256:12}`.
public enum TemplateFilter: Sendable, Hashable {
    case lower, upper, trim
    /// Zeros, or another character, before it until it has so many characters.
    case pad(Int, Character)
    /// Stands in where the name is missing or null.
    case fallback(String)
    /// The first so many hexadecimal digits of its digest.
    case hash(DigestAlgorithm, digits: Int)
    /// Percent escapes resolved; with `form` a plus is a blank.
    case urlDecode(form: Bool)
    case urlEncode
    case base64
    case replace(String, String)
    /// One of the parts between a separator, counted from 0, or from the end: -1 is the last.
    case split(String, Int)
    /// At most so many characters.
    case truncate(Int)
    /// Stars, but for so many characters at the end.
    case mask(Int)

    public static let names = [
        "lower", "upper", "trim", "pad", "default", "hash", "urldecode", "urlencode", "base64", "replace",
        "split",
        "truncate", "mask",
    ]

    /// How wide a pad may be, and how much of a text a mask may show.
    private static let maximumWidth = 1024

    /// Reads `pad:10`.
    init(_ text: String) throws(Template.SyntaxError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let name = parts.first?.trimmed ?? ""
        let arguments = Array(parts.dropFirst())
        func number(_ index: Int, _ bounds: ClosedRange<Int>, default fallback: Int?) throws(Template
            .SyntaxError) -> Int
        {
            if index >= arguments.count, let fallback { return fallback }
            guard index < arguments.count, let number = Int(arguments[index]), bounds.contains(number) else {
                throw .init(
                    "the filter '\(name)' needs a number from \(bounds.lowerBound) to \(bounds.upperBound)")
            }
            return number
        }
        func check(_ counts: ClosedRange<Int>, _ example: String) throws(Template.SyntaxError) {
            guard counts.contains(arguments.count) else {
                throw .init("the filter '\(name)' is written \(example)")
            }
        }
        switch name {
        case "lower", "upper", "trim", "urlencode", "base64":
            try check(0...0, "without arguments")
            self =
                [
                    "lower": .lower, "upper": .upper, "trim": .trim, "urlencode": .urlEncode,
                    "base64": .base64,
                ][name] ?? .trim
        case "pad":
            try check(1...2, "pad:10 or pad:10:x")
            let fill = arguments.count > 1 ? arguments[1] : "0"
            guard fill.count == 1, let character = fill.first else {
                throw .init("'pad' needs one character to pad with")
            }
            self = .pad(try number(0, 1...TemplateFilter.maximumWidth, default: nil), character)
        case "default":
            guard !arguments.isEmpty else { throw .init("the filter 'default' is written default:text") }
            self = .fallback(arguments.joined(separator: ":"))
        case "hash":
            try check(0...2, "hash:sha256 or hash:sha256:12")
            let name = arguments.first ?? DigestAlgorithm.sha256.rawValue
            guard let algorithm = DigestAlgorithm(rawValue: name) else {
                let known = DigestAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
                throw .init("'\(name)' is no digest; there are \(known)")
            }
            let all = algorithm.hexadecimalDigits
            self = .hash(algorithm, digits: try number(1, 1...all, default: all))
        case "urldecode":
            guard arguments.isEmpty || arguments == ["form"] else {
                throw .init("'urldecode' takes 'form' or nothing")
            }
            self = .urlDecode(form: !arguments.isEmpty)
        case "replace":
            try check(2...2, "replace:old:new")
            guard !arguments[0].isEmpty else { throw .init("'replace' needs a text to replace") }
            self = .replace(arguments[0], arguments[1])
        case "split":
            try check(2...2, "split:-:0")
            guard !arguments[0].isEmpty else { throw .init("'split' needs a separator") }
            self = .split(arguments[0], try number(1, -1000...1000, default: nil))
        case "truncate":
            try check(1...1, "truncate:100")
            self = .truncate(try number(0, 1...(1 << 20), default: nil))
        case "mask":
            try check(0...1, "mask or mask:4")
            self = .mask(try number(0, 0...TemplateFilter.maximumWidth, default: 0))
        default:
            let near = TemplateFilter.names.first { $0.hasPrefix(name.prefix(3)) && !name.isEmpty }
            throw .init(
                "there is no filter '\(name)'"
                    + (near.map { "; did you mean '\($0)'?" }
                        ?? "; there are \(TemplateFilter.names.joined(separator: ", "))"))
        }
    }

    /// `name` is what the text comes from, for the error.
    func apply(_ text: String, _ name: String) throws(MappingFault) -> String {
        switch self {
        case .lower: return text.lowercased()
        case .upper: return text.uppercased()
        case .trim: return text.trimmed
        case .pad(let width, let fill):
            return String(repeating: fill, count: max(0, width - text.count)) + text
        case .fallback: return text
        case .hash(let algorithm, let digits):
            return String(algorithm.hexadecimal(of: Bytes(text.utf8)).prefix(digits))
        case .urlDecode(let form):
            guard let decoded = (form ? text.replacing("+", with: " ") : text).percentDecoded else {
                throw .wrongType("\(name) has a percent escape that stands for no text")
            }
            return decoded
        case .urlEncode: return text.percentEncoded
        case .base64: return text.base64
        case .replace(let old, let new): return text.replacing(old, with: new)
        case .split(let separator, let index):
            let parts = text.split(separator: separator, omittingEmptySubsequences: false)
            let place = index < 0 ? parts.count + index : index
            guard parts.indices.contains(place) else {
                throw .missing("\(name) has \(parts.count) parts between '\(separator)', not part \(index)")
            }
            return String(parts[place])
        case .truncate(let count): return String(text.prefix(count))
        case .mask(let count):
            let visible = text.count > count ? count : 0
            return String(repeating: "*", count: 8) + text.suffix(visible)
        }
    }
}

extension String {
    /// Without the white space around it.
    var trimmed: String {
        let start = drop(while: \.isWhitespace)
        guard let end = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...end])
    }
}
