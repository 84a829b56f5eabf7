public import Mapping

/// A write, a refusal or a removal in the form in which definitions' tests and `millrace map` show it.
public struct WriteForm: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        case string, hash, entry, add, remove, delete, release, envelope, failed
        case setField = "set_field"
        case removeField = "remove_field"
        case addItem = "add_item"
        case removeItem = "remove_item"
    }

    public var kind: Kind
    /// `nil` where the write has none.
    public var key: Bytes?
    /// Of a hash, an entry or a field: names and values.
    public var fields: [Field] = []
    /// The text, the member, the item, the name of a field, or the message.
    public var text: Bytes = []
    public var score: Bytes?
    public var ttlMilliseconds: Int64?

    public init(_ kind: Kind, key: Bytes? = nil, fields: [Field] = [], text: Bytes = [], score: Bytes? = nil)
    {
        self.kind = kind
        self.key = key
        self.fields = fields
        self.text = text
        self.score = score
    }

    public init(_ write: SinkWrite) {
        switch write {
        case .streamAdd(let key, let fields): self.init(.entry, key: key, fields: fields.fields)
        case .setString(let key, let value): self.init(.string, key: key, text: value)
        case .replaceHash(let key, let fields): self.init(.hash, key: key, fields: fields.fields)
        case .setHashField(let key, let name, let value):
            self.init(.setField, key: key, fields: [Field(name: name, value: value)])
        case .removeHashField(let key, let name): self.init(.removeField, key: key, text: name)
        case .addMember(let key, let member): self.init(.add, key: key, text: member)
        case .addScoredMember(let key, let member, let score):
            self.init(.add, key: key, text: member, score: score)
        case .removeMember(let key, let member), .removeScoredMember(let key, let member):
            self.init(.remove, key: key, text: member)
        case .addListItem(let key, let item): self.init(.addItem, key: key, text: item)
        case .removeListItem(let key, let item): self.init(.removeItem, key: key, text: item)
        case .deleteKey(let key): self.init(.delete, key: key)
        case .expiring(let write, let milliseconds):
            self.init(write)
            ttlMilliseconds = milliseconds
        case .release: self.init(Kind.release)
        case .envelope: self.init(Kind.envelope)
        }
    }

    /// What a change becomes for a sink; nothing where it is dropped.
    public static func list(_ result: MappingResult) -> [WriteForm] {
        switch result {
        case .writes(let writes): writes.map(WriteForm.init)
        case .dropped: []
        case .failed(let error): [WriteForm(.failed, text: Bytes("\(error)".utf8))]
        }
    }

    /// As a definition would have it: `{key: "a", hash: {host: "h"}}`.
    public var description: String {
        var parts = key.map { ["key: \(WriteForm.quoted($0))"] } ?? []
        switch kind {
        case .hash, .entry, .setField:
            let members = fields.map { "\(WriteForm.name($0.name)): \(WriteForm.quoted($0.value))" }
            parts.append("\(kind.rawValue): {\(members.joined(separator: ", "))}")
        case .delete, .release, .envelope:
            parts.append("\(kind.rawValue): true")
        case .string, .add, .remove, .removeField, .addItem, .removeItem, .failed:
            parts.append("\(kind.rawValue): \(WriteForm.quoted(text))")
        }
        if let score { parts.append("score: \(WriteForm.quoted(score))") }
        if let ttlMilliseconds { parts.append("ttl: \(ttlMilliseconds)ms") }
        return "{\(parts.joined(separator: ", "))}"
    }

    /// In quotation marks; bytes that are no text as hexadecimal digits.
    static func quoted(_ bytes: Bytes) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let digits = bytes.prefix(64).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            return "(hex) \(digits.joined())\(bytes.count > 64 ? "… \(bytes.count) bytes" : "")"
        }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            default:
                quoted +=
                    scalar.properties.generalCategory == .control
                    ? "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
                    : String(scalar)
            }
        }
        return quoted + "\""
    }

    private static func name(_ bytes: Bytes) -> String {
        let isPlain = bytes.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || byte == 0x5f || byte == 0x2d || byte == 0x2e
        }
        return isPlain && !bytes.isEmpty ? String(decoding: bytes, as: UTF8.self) : quoted(bytes)
    }
}
