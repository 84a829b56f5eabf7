public import Mapping

/// A thing that a sink writes: a key, or a field, member or item of one.
public struct SinkItem: Hashable, Sendable {
    public enum Kind: Sendable, Hashable {
        case string, hash
        /// A field of a hash that several nodes share.
        case hashField
        case member, scoredMember
        /// A text in the JSON array that a string holds.
        case listItem

        /// `nil` where the sink holds no state.
        public init?(_ sink: SinkSpecification) {
            switch sink.write {
            case .string: self = .string
            case .hash: self = sink.field == nil ? .hash : .hashField
            case .set: self = .member
            case .sortedSet: self = .scoredMember
            case .children: self = .listItem
            case .stream, .stdout: return nil
            }
        }

        /// Whether it is the key itself.
        public var isWhole: Bool { self == .string || self == .hash }
    }

    public var kind: Kind
    public var key: Bytes
    /// Empty for a whole key.
    public var part: Bytes

    public init(kind: Kind, key: Bytes, part: Bytes = []) {
        self.kind = kind
        self.key = key
        self.part = part
    }

    var wholeKey: SinkItem { SinkItem(kind: kind, key: key) }
}

/// What is there of an item.
public enum ItemContent: Sendable, Hashable {
    case absent
    /// Of a string or a field what it holds, of a scored member the score; empty for a member or list item.
    case value(Bytes)
    /// Of a whole hash, by name.
    case fields([Bytes: Bytes])
    /// The key holds another type.
    case otherType
}

/// An item as 16 bytes, for tables of all that is expected.
struct Fingerprint: Hashable {
    private let low: Int
    private let high: Int

    init(_ item: SinkItem) {
        low = Fingerprint.hash(item, salt: 0)
        high = Fingerprint.hash(item, salt: 1)
    }

    private static func hash(_ item: SinkItem, salt: UInt8) -> Int {
        var hasher = Hasher()
        hasher.combine(salt)
        hasher.combine(item.key.count)
        item.key.withUnsafeBytes { hasher.combine(bytes: $0) }
        item.part.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }
}
