/// Writes JSON objects; reading JSON is a library's work.
public struct JSONBytes {
    public private(set) var bytes: [UInt8] = []
    private var needsComma = false

    public init() {}

    public mutating func open(_ name: String? = nil) {
        if let name { key(name) } else { comma() }
        bytes.append(UInt8(ascii: "{"))
        needsComma = false
    }

    public mutating func close() {
        bytes.append(UInt8(ascii: "}"))
        needsComma = true
    }

    public mutating func field(_ name: String, _ value: String) {
        key(name)
        string(value)
        needsComma = true
    }

    /// A number, or `null`.
    public mutating func field(_ name: String, _ value: Int64?) {
        guard let value else { return null(name) }
        literal(name, String(value))
    }

    public mutating func field(_ name: String, _ value: Bool) {
        literal(name, value ? "true" : "false")
    }

    /// A text in an array.
    public mutating func item(_ value: String) {
        comma()
        string(value)
        needsComma = true
    }

    /// A whole JSON value, as it is.
    public mutating func field(_ name: String, json value: [UInt8]) {
        key(name)
        bytes.append(contentsOf: value)
        needsComma = true
    }

    public mutating func openArray(_ name: String) {
        literal(name, "[")
        needsComma = false
    }

    public mutating func closeArray() {
        bytes.append(UInt8(ascii: "]"))
        needsComma = true
    }

    public var text: String { String(decoding: bytes, as: UTF8.self) }

    public mutating func null(_ name: String) {
        literal(name, "null")
    }

    private mutating func literal(_ name: String, _ text: String) {
        key(name)
        bytes.append(contentsOf: text.utf8)
        needsComma = true
    }

    private mutating func comma() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
    }

    private mutating func key(_ name: String) {
        comma()
        string(name)
        bytes.append(UInt8(ascii: ":"))
    }

    private mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): bytes.append(contentsOf: "\\\"".utf8)
            case UInt8(ascii: "\\"): bytes.append(contentsOf: "\\\\".utf8)
            case UInt8(ascii: "\n"): bytes.append(contentsOf: "\\n".utf8)
            case UInt8(ascii: "\r"): bytes.append(contentsOf: "\\r".utf8)
            case UInt8(ascii: "\t"): bytes.append(contentsOf: "\\t".utf8)
            case 0..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                for nibble in [byte >> 4, byte & 15] {
                    bytes.append(nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10)
                }
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
