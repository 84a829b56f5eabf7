/// One reply of Redis, of RESP2 or RESP3.
public enum RESPValue: Sendable, Equatable {
    /// A status such as `OK`. Bytes that are not UTF-8 are replaced by U+FFFD.
    case simpleString(String)
    /// The server refused or failed a command.
    case error(RedisServerError)
    case integer(Int64)
    case bulkString([UInt8])
    /// RESP3's null, RESP2's null bulk string and null array.
    case null
    case array([RESPValue])
    /// RESP3. The order is the server's; nothing is said about keys that occur twice.
    case map([RESPMapEntry])
    /// RESP3. The order is the server's.
    case set([RESPValue])
    /// RESP3.
    case double(Double)
    /// RESP3.
    case boolean(Bool)
    /// RESP3. An optional minus and decimal digits.
    case bigNumber(String)
    /// RESP3. The format is three characters, such as `txt` or `mkd`.
    case verbatim(format: String, bytes: [UInt8])

    /// The text of a simple string, or of a bulk or verbatim string that is UTF-8.
    public var string: String? {
        switch self {
        case .simpleString(let text): text
        case .bulkString(let bytes), .verbatim(_, let bytes): String(validating: bytes, as: UTF8.self)
        default: nil
        }
    }

    /// The number of an integer; not of a string with digits in it.
    public var int: Int64? {
        if case .integer(let number) = self { number } else { nil }
    }

    /// The values of an array or a set; of a map, keys and values in turn, which is how RESP2 answers the
    /// same command.
    public var array: [RESPValue]? {
        switch self {
        case .array(let values), .set(let values): values
        case .map(let entries): entries.flatMap { [$0.key, $0.value] }
        default: nil
        }
    }
}

/// A key of a RESP3 map and its value.
public struct RESPMapEntry: Sendable, Equatable {
    public var key: RESPValue
    public var value: RESPValue

    public init(key: RESPValue, value: RESPValue) {
        self.key = key
        self.value = value
    }
}
