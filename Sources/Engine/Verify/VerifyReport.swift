import Mapping

/// One thing that a sink holds otherwise than the tree says.
public struct Difference: Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        case missing, extra, different
    }

    /// What a repair came to.
    public enum Repair: Sendable, Hashable {
        case done
        case failed(String)
    }

    public var kind: Kind
    public var sink: String
    public var item: SinkItem
    /// The node that it comes from, or came from.
    public var path: String
    /// For people: shortened, all of it printable. `nil`: nothing.
    public var expected: String?
    public var found: String?
    /// `nil` where none was tried.
    public var repair: Repair?
}

/// What a comparison of a tree with its sinks has found.
public struct VerifyReport: Sendable {
    public struct Sink: Sendable {
        public var name: String
        /// Keys, fields, members and items that were looked at because of live nodes.
        public var compared = 0
        /// By kind.
        public var differences: [Difference.Kind: Int] = [:]
        public var repaired = 0
        /// Nodes that cannot be mapped: they are among the dead letters, and not compared.
        public var unmapped = 0
        /// Nodes that changed at every look, and are not compared.
        public var changing = 0
        /// Changes of the log that are still to be delivered: what differs may be theirs.
        public var behind: Int64 = 0
        /// Why something extra may have gone unnoticed.
        public var blindness: String?

        public var differenceCount: Int { differences.values.reduce(0, +) }
        /// Differences that are still there.
        public var remaining: Int { differenceCount - repaired }
    }

    /// Nodes that were read.
    public var nodes = 0
    /// Nodes that may not be read; nothing below them is compared.
    public var hidden = 0
    public var sinks: [Sink] = []
    /// The first of them; the sinks count all.
    public var differences: [Difference] = []
}

/// What items hold, in words: shortened, and all of it printable.
enum ShownContent {
    private static let maximumBytes = 200
    private static let maximumFields = 8

    static func texts(_ wanted: Wanted.Content?, _ found: ItemContent) -> (expected: String?, found: String?)
    {
        if case .fields(let wanted)? = wanted, case .fields(let found) = found {
            // Only what differs.
            let names = Set(wanted.keys).union(found.keys).filter { name in
                guard let value = wanted[name], let other = found[name] else { return true }
                return value != nil && value != other
            }
            return (
                fields(wanted.filter { names.contains($0.key) }),
                fields(found.filter { names.contains($0.key) }.mapValues { $0 })
            )
        }
        return (text(wanted), text(found))
    }

    private static func text(_ content: Wanted.Content?) -> String? {
        switch content {
        case nil, .absent?: nil
        case .value(let value)?: value.map(quoted) ?? "something"
        case .fields(let contents)?: fields(contents)
        }
    }

    private static func text(_ content: ItemContent) -> String? {
        switch content {
        case .absent: nil
        case .value(let value): quoted(value)
        case .fields(let contents): fields(contents.mapValues { $0 })
        case .otherType: "a key of another type"
        }
    }

    private static func fields(_ contents: [Bytes: Bytes?]) -> String {
        let sorted = contents.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        let shown = sorted.prefix(maximumFields).map { name, value in
            "\(printable(name))=\(value.map(quoted) ?? "…")"
        }
        return "{" + (shown + (sorted.count > shown.count ? ["…"] : [])).joined(separator: " ") + "}"
    }

    private static func quoted(_ bytes: Bytes) -> String {
        "\"" + printable(bytes.prefix(maximumBytes)) + "\"" + (bytes.count > maximumBytes ? "…" : "")
    }

    private static func printable(_ bytes: some Sequence<UInt8>) -> String { bytes.printable }
}

extension Sequence<UInt8> {
    /// The text, with what is no printable UTF-8 as `\xNN`.
    public var printable: String {
        var text = ""
        let bytes = Array(self)
        guard let valid = String(validating: bytes, as: UTF8.self) else {
            for byte in bytes {
                if (0x20..<0x7f).contains(byte), byte != UInt8(ascii: "\\") {
                    text.unicodeScalars.append(Unicode.Scalar(byte))
                } else {
                    text += escaped(byte)
                }
            }
            return text
        }
        for scalar in valid.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
                for byte in String(scalar).utf8 { text += escaped(byte) }
            default:
                if scalar == "\\" { text += "\\\\" } else { text.unicodeScalars.append(scalar) }
            }
        }
        return text
    }

    private func escaped(_ byte: UInt8) -> String {
        if byte == UInt8(ascii: "\\") { return "\\\\" }
        let digits = String(byte, radix: 16)
        return "\\x" + (digits.count < 2 ? "0" : "") + digits
    }
}
