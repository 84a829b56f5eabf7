/// Commands whose keys are all of one slot.
public struct ClusterBatch: Sendable {
    public enum Target: Sendable, Hashable {
        /// Whoever the map of slots names.
        case owner
        /// The node that an `ASK` names. `ASKING` goes before each command, before `MULTI` for a whole
        /// transaction; its replies are not among those that the caller gets.
        case asking(RedisEndpoint.Address)
    }

    public var slot: HashSlot
    /// Every `MULTI` in it has its `EXEC` or `DISCARD` in it too.
    public var commands: RedisCommandBatch
    public var target: Target
    /// Where set, the commands go out on this connection or not at all: for what the server remembers of a
    /// connection, such as `WATCH`, and to notice that a slot's owner has changed. Mind that `EXEC` ends every
    /// `WATCH` of its connection, those of other slots too.
    public var connection: ClusterConnectionID?

    public init(
        slot: HashSlot, commands: RedisCommandBatch, target: Target = .owner,
        connection: ClusterConnectionID? = nil
    ) {
        self.slot = slot
        self.commands = commands
        self.target = target
        self.connection = connection
    }
}

/// What became of a `ClusterBatch`.
public struct ClusterOutcome: Sendable {
    public let slot: HashSlot
    /// One for each command, in order; empty where not all have come. Errors of the server are among them as
    /// values, also those that `error` tells of.
    public let replies: [RESPValue]
    /// `nil` where every reply is there and none says that the cluster could not serve it. Replies tell which
    /// commands before it have been executed all the same.
    public let error: RedisClusterError?
    /// Who answered, or should have.
    public let node: RedisEndpoint.Address?
    /// The connection that the commands were sent on.
    public let connection: ClusterConnectionID?

    /// The replies.
    ///
    /// - Throws: `error`.
    public func get() throws(RedisClusterError) -> [RESPValue] {
        if let error { throw error }
        return replies
    }
}

/// A connection to a node; never the same for two connections of a process.
public struct ClusterConnectionID: Sendable, Hashable {
    let number: UInt64
}

/// What one node replied.
public struct ClusterNodeReplies: Sendable {
    /// One for each command, in order.
    public let replies: [RESPValue]
    /// The connection that the commands were sent on.
    public let connection: ClusterConnectionID
}
