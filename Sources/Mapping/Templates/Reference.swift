/// A name that stands for part of a change: what a template has between braces, and what `from:` takes.
public enum Reference: Sendable, Hashable {
    /// What the rule's `match` captured under this name.
    case capture(String)
    case metadata(Metadata)
    /// The decoded data, or a member of it: `value`, `value.address.host`, `value.list.0`.
    case value([String])

    /// What is known of every change.
    public enum Metadata: String, Sendable, Hashable, CaseIterable {
        case path, op, zxid, version
        case timestamp = "ts_ms"
        case offset, ephemeral
    }

    /// Names that a `match` may not capture, since templates know them as something else.
    public static let reservedNames: [String] = ["value"] + Metadata.allCases.map(\.rawValue)

    /// Reads the text between two braces.
    public init(_ text: String) throws(Template.SyntaxError) {
        let steps = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if steps.first == "value" {
            guard steps.allSatisfy({ !$0.isEmpty }) else {
                throw .init("'\(text)' has an empty step between two dots")
            }
            self = .value(Array(steps.dropFirst()))
        } else if let metadata = Metadata(rawValue: text) {
            self = .metadata(metadata)
        } else if Reference.isName(text) {
            self = .capture(text)
        } else if text.isEmpty {
            throw .init("'{}' names nothing (for a literal brace write '{{' or '}}')")
        } else {
            throw .init(
                "'{\(text)}' is neither a capture nor value… (for a literal brace write '{{' or '}}')")
        }
    }

    /// Whether it needs the decoded data, which a delete does not have.
    public var needsValue: Bool {
        if case .value = self { true } else { false }
    }

    /// Whether the znode's path alone decides it, so that it is the same for every change of that node.
    public var isPathDetermined: Bool {
        switch self {
        case .capture, .metadata(.path): true
        case .metadata, .value: false
        }
    }

    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, isNameByte(first), !isDigit(first) else { return false }
        return text.utf8.allSatisfy(isNameByte)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte == UInt8(ascii: "_")
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}

extension Reference: CustomStringConvertible {
    public var description: String {
        switch self {
        case .capture(let name): name
        case .metadata(let metadata): metadata.rawValue
        case .value(let steps): (["value"] + steps).joined(separator: ".")
        }
    }
}
