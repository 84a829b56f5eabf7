/// What one write did to the ensemble, as the leader logged it.
///
/// Exactly one for each zxid: writes that failed use up a zxid, too (`.error`).
public struct Transaction: Sendable, Hashable {
    /// The session that asked for it; 0 where the ensemble itself did (containers and TTL nodes that are removed).
    public var session: Int64
    /// The number that the session gave to its request.
    public var cxid: Int32
    public var zxid: Int64
    /// By the leader's clock, milliseconds since 1970.
    public var time: Int64
    public var operation: Operation

    public init(session: Int64, cxid: Int32, zxid: Int64, time: Int64, operation: Operation) {
        self.session = session
        self.cxid = cxid
        self.zxid = zxid
        self.time = time
        self.operation = operation
    }

    public enum NodeKind: Sendable, Hashable {
        case persistent
        /// Belongs to the transaction's session.
        case ephemeral
        case container
        /// Milliseconds without a change and without children after which the ensemble may remove it.
        case timeToLive(Int64)
    }

    /// What the transaction, or one part of a multi, does. Null data is empty.
    public enum Operation: Sendable, Hashable {
        /// `parentCVersion` is the parent's `cversion` afterwards; `nil` in transactions from before 3.4.
        case create(path: String, data: [UInt8], acl: [ACL], kind: NodeKind, parentCVersion: Int32?)
        /// `byEnsemble`: a container that emptied, a node whose time to live is over, or, among `effects`, one whose session
        /// has ended.
        case delete(path: String, byEnsemble: Bool)
        /// `version` is the node's afterwards.
        case setData(path: String, data: [UInt8], version: Int32)
        /// As `setData`, of `/zookeeper/config`: the ensemble's members changed.
        case reconfigure(path: String, data: [UInt8], version: Int32)
        /// `version` is the node's `aversion` afterwards.
        case setACL(path: String, acl: [ACL], version: Int32)
        /// Changes nothing: the node had this version.
        case check(path: String, version: Int32)
        /// Milliseconds.
        case createSession(timeout: Int32)
        /// `paths` are the ephemeral nodes that go with the session; `nil` where the ensemble does not log them
        /// (`closeSessionTxn.enabled=false`, which is all before 3.6): they are those whose `ephemeralOwner` is the
        /// transaction's session.
        case closeSession(paths: [String]?)
        /// All or nothing: with an `.error` among the parts, nothing of it was done.
        case multi([Operation])
        /// A code of ZooKeeper's `KeeperException`. Nothing was done. 0 is a part of a multi that failed by another part; the
        /// leader may send such a part as what it was, too.
        case error(Int32)
        /// A type that a newer ensemble has. What it does is not known, so whoever follows the tree must stop.
        case unknown(type: Int32, body: [UInt8])
    }
}

extension Transaction {
    /// What was done, in order: the parts of a multi that succeeded, or the operation itself; nothing of what failed.
    ///
    /// `index` is the place in the multi, checks and all counted. A `closeSession` with its paths becomes deletions,
    /// sorted by path, so that everybody who sees the transaction gives them the same indexes.
    public var effects: [(index: Int, operation: Operation)] {
        switch operation {
        case .error: return []
        case .multi(let parts):
            guard !parts.contains(where: \.isError) else { return [] }
            return parts.enumerated().map { (index: $0.offset, operation: $0.element) }
        case .closeSession(let paths?):
            // As bytes, so that the order is the same everywhere.
            return paths.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.enumerated().map {
                (index: $0.offset, operation: .delete(path: $0.element, byEnsemble: true))
            }
        default: return [(index: 0, operation: operation)]
        }
    }
}

extension Transaction.Operation {
    public var isError: Bool { if case .error = self { true } else { false } }

    /// The node that it is about, where it is about one.
    public var path: String? {
        switch self {
        case .create(let path, _, _, _, _), .delete(let path, _), .setData(let path, _, _),
            .reconfigure(let path, _, _), .setACL(let path, _, _), .check(let path, _):
            path
        case .createSession, .closeSession, .multi, .error, .unknown: nil
        }
    }
}
