/// What a peer may make us hold in memory. A reply beyond a limit ends the connection with `limitExceeded`.
public struct RESPLimits: Sendable, Hashable {
    /// Nested arrays, maps, sets and attributes.
    public var maximumDepth: Int
    /// Bytes of one bulk string, verbatim string or bulk error. Redis itself allows 512 MiB.
    public var maximumBulkBytes: Int
    /// Bytes of memory that one reply may take, and that all replies to one batch may take.
    public var maximumReplyBytes: Int
    /// Values of one reply, all levels together; the key and the value of a map's entry are two.
    public var maximumElements: Int

    public init(
        maximumDepth: Int = 32, maximumBulkBytes: Int = 64 << 20, maximumReplyBytes: Int = 512 << 20,
        maximumElements: Int = 1 << 22
    ) {
        self.maximumDepth = maximumDepth
        self.maximumBulkBytes = maximumBulkBytes
        self.maximumReplyBytes = maximumReplyBytes
        self.maximumElements = maximumElements
    }

    /// Bytes of a line: a simple string or error, a number, a length. Redis writes short ones only.
    static let maximumLineBytes = 64 << 10
}
