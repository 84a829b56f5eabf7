/// A node as a snapshot shows it.
public struct SnapshotNode: Sendable, Hashable {
    public var path: String
    /// Null is empty.
    public var data: [UInt8]
    /// `nil` where the snapshot refers to a list that it does not hold, as one that is made while lists change may.
    public var acl: [ACL]?
    /// `numChildren` is 0: a snapshot does not say it. The owner of a container is `Int64.min`; a node with a time to
    /// live has the top byte 0xff and the milliseconds below, where the ensemble allows such nodes.
    public var stat: Stat

    public init(path: String, data: [UInt8], acl: [ACL]?, stat: Stat) {
        self.path = path
        self.data = data
        self.acl = acl
        self.stat = stat
    }
}

/// Whether a transaction after a snapshot is in it already.
///
/// The leader goes on writing while it sends a snapshot, so nodes may be newer than the zxid that it announced. What
/// such a node holds must not be overwritten by the older changes that follow.
public enum FuzzySnapshot {
    /// - Parameters:
    ///   - czxid: of the node at the operation's path, as it is known; `nil` without one. In a multi, of two parts for one path
    ///     the second is done if the first was.
    ///   - mzxid: the same.
    ///   - zxid: of the transaction.
    /// - Returns: `true` where the operation must be skipped: what it did is there, or has been overwritten since.
    public static func holds(
        _ operation: Transaction.Operation, zxid: Int64, czxid: Int64?, mzxid: Int64?
    ) -> Bool {
        switch operation {
        // Created by it, or once more after it.
        case .create: czxid.map { $0 >= zxid } ?? false
        // Gone already, or created again after it.
        case .delete: czxid.map { $0 >= zxid } ?? true
        // Deleted after it, or written later.
        case .setData, .reconfigure: mzxid.map { $0 >= zxid } ?? true
        // A snapshot does not say when a list was set: the last one of several wins in the end.
        case .setACL: czxid.map { $0 >= zxid } ?? true
        case .check, .createSession, .closeSession, .multi, .error, .unknown: false
        }
    }
}
