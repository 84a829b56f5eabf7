/// Decoded data.
enum Value: Sendable, Hashable {
    case null
    case boolean(Bool)
    case integer(Int64)
    /// A number that is no 64-bit signed integer, in its decimal form (which is also its JSON form).
    case number(String)
    case text(String)
    /// Text or other bytes, as they stand in the znode.
    case bytes(Bytes)
    case array([Value])
    case object(ObjectValue)

    /// The member that the steps lead to; `nil` where there is none. A name may have dots of its own
    /// (`value.db.url` finds `db.url`).
    func member(at steps: ArraySlice<String>) -> Value? {
        guard let step = steps.first else { return self }
        switch self {
        case .object(let members):
            if steps.count == 1 { return members[step] }
            if let next = members[step] { return next.member(at: steps.dropFirst()) }
            return members[steps.joined(separator: ".")]
        case .array(let items):
            guard let index = Int(step), items.indices.contains(index) else { return nil }
            return items[index].member(at: steps.dropFirst())
        default:
            return nil
        }
    }

    /// Appends what a template or a field shows: text bare, everything nested as compact JSON with sorted
    /// keys, nothing for null.
    func appendText(to bytes: inout Bytes) {
        switch self {
        case .null: break
        case .boolean(let flag): bytes.append(contentsOf: (flag ? "true" : "false").utf8)
        case .integer(let number): bytes.append(copying: String(number))
        case .number(let text), .text(let text): bytes.append(copying: text)
        case .bytes(let raw): bytes.append(copying: raw)
        case .array, .object: appendJSON(to: &bytes)
        }
    }

    var textBytes: Bytes {
        if case .bytes(let raw) = self { return raw }
        var bytes: Bytes = []
        appendText(to: &bytes)
        return bytes
    }

    /// Appends compact JSON with sorted keys. The depth is bounded by the decoder.
    private func appendJSON(to bytes: inout Bytes) {
        switch self {
        case .null:
            bytes.append(contentsOf: "null".utf8)
        case .boolean, .integer, .number:
            appendText(to: &bytes)
        case .text(let text):
            Value.appendQuoted(text.utf8, to: &bytes)
        case .bytes(let raw):
            Value.appendQuoted(String(decoding: raw, as: UTF8.self).utf8, to: &bytes)
        case .array(let items):
            bytes.append(UInt8(ascii: "["))
            for (index, item) in items.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                item.appendJSON(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in members.members.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Value.appendQuoted(member.name.utf8, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                member.value.appendJSON(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static let digits = Bytes("0123456789abcdef".utf8)

    /// Quotes as RFC 8259 asks: the quote, the backslash and control characters are escaped, no others.
    private static func appendQuoted(_ text: String.UTF8View, to bytes: inout Bytes) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case UInt8(ascii: "\n"): bytes.append(contentsOf: "\\n".utf8)
            case UInt8(ascii: "\r"): bytes.append(contentsOf: "\\r".utf8)
            case UInt8(ascii: "\t"): bytes.append(contentsOf: "\\t".utf8)
            case 0..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// What it is, for error messages.
    var kind: String {
        switch self {
        case .null: "null"
        case .boolean: "a boolean"
        case .integer, .number: "a number"
        case .text, .bytes: "text"
        case .array: "an array"
        case .object: "an object"
        }
    }
}
