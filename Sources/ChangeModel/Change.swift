/// What happened to a znode.
public enum Operation: UInt8, Sendable, Hashable, CaseIterable {
    /// The node was created.
    case create = 1
    /// Its data changed.
    case update = 2
    /// It was deleted.
    case delete = 3
    /// It was read by a snapshot: nothing was known of it before.
    case read = 4

    /// Debezium's letter: `c`, `u`, `d` or `r`.
    public var letter: String {
        switch self {
        case .create: "c"
        case .update: "u"
        case .delete: "d"
        case .read: "r"
        }
    }

    public init?(letter: some StringProtocol) {
        guard let operation = Operation.allCases.first(where: { $0.letter == letter }) else { return nil }
        self = operation
    }
}

/// Whether a change was seen live or by a snapshot or resync, in Debezium's values.
public enum SnapshotMark: UInt8, Sendable, Hashable {
    case live = 0
    case snapshot = 1
    /// The last change of a snapshot or resync.
    case last = 2

    /// `false`, `true` or `last`.
    public var text: String {
        switch self {
        case .live: "false"
        case .snapshot: "true"
        case .last: "last"
        }
    }
}

/// What ZooKeeper tells of a node beside its data. Times are milliseconds since 1970.
public struct NodeStat: Sendable, Hashable {
    public var czxid: Zxid
    public var mzxid: Zxid
    public var pzxid: Zxid
    public var ctime: Int64
    public var mtime: Int64
    public var version: Int32
    public var cversion: Int32
    public var aversion: Int32
    /// The session that owns an ephemeral node; 0 for all others.
    public var ephemeralOwner: Int64
    public var numChildren: Int32

    public init(
        czxid: Zxid, mzxid: Zxid, pzxid: Zxid = .none, ctime: Int64 = 0, mtime: Int64 = 0, version: Int32 = 0,
        cversion: Int32 = 0, aversion: Int32 = 0, ephemeralOwner: Int64 = 0, numChildren: Int32 = 0
    ) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.pzxid = pzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.ephemeralOwner = ephemeralOwner
        self.numChildren = numChildren
    }

    /// A container (`Int64.min`) and a TTL node (top byte 0xff) use the owner field without being ephemeral.
    public var isEphemeral: Bool {
        ephemeralOwner != 0 && ephemeralOwner != .min && UInt64(bitPattern: ephemeralOwner) >> 56 != 0xff
    }
}

/// The place of a change in the one order that an observer sees: of the transaction that made it, or of one that was
/// committed when a snapshot told of it.
public struct CommitOrder: Sendable, Hashable, Comparable {
    public var zxid: Zxid
    /// Position among the changes of the same zxid, from 0.
    public var index: Int64

    public init(zxid: Zxid, index: Int64) {
        self.zxid = zxid
        self.index = index
    }

    public static let start = CommitOrder(zxid: .none, index: 0)

    /// The place behind this one, not before a zxid.
    public func next(notBefore zxid: Zxid) -> CommitOrder {
        zxid > self.zxid ? CommitOrder(zxid: zxid, index: 0) : CommitOrder(zxid: self.zxid, index: index &+ 1)
    }

    public static func < (left: CommitOrder, right: CommitOrder) -> Bool {
        (left.zxid, left.index) < (right.zxid, right.index)
    }
}

/// One change of one znode, as the log holds it. Its offset is given by the log and travels beside it.
public struct Change: Sendable, Hashable {
    public var operation: Operation
    /// Path relative to the chroot, with a leading slash.
    public var path: String
    /// The bytes after the change; empty for a node without data; `nil` for a delete.
    public var data: [UInt8]?
    /// The bytes before it, as the log had them; `nil` where there were none, they are not known, or nobody asked for them.
    public var before: [UInt8]?
    /// The transaction that made the change; see the capture modes for what a watch can know.
    public var zxid: Zxid
    /// Position inside that transaction, from 0.
    public var index: Int32
    /// When ZooKeeper made it, in milliseconds since 1970 (a delete seen through a watch: when it was captured).
    public var timestamp: Int64
    /// When Millrace appended it, in milliseconds since 1970.
    public var captured: Int64
    /// For a delete the last stat known, where there is one.
    public var stat: NodeStat?
    /// The session that made the change (observer capture only).
    public var session: Int64?
    public var snapshot: SnapshotMark
    /// Where a snapshot of an observer has put it in the order of the transactions; `nil` for all other changes.
    public var placed: CommitOrder?
    /// The one sink that a repeated snapshot is meant for; `nil` for every other change: all sinks.
    public var onlyFor: String?

    public init(
        operation: Operation, path: String, data: [UInt8]?, zxid: Zxid, index: Int32 = 0, timestamp: Int64,
        captured: Int64 = 0, stat: NodeStat? = nil, session: Int64? = nil, snapshot: SnapshotMark = .live,
        onlyFor: String? = nil, before: [UInt8]? = nil, placed: CommitOrder? = nil
    ) {
        self.operation = operation
        self.path = path
        self.data = data
        self.zxid = zxid
        self.index = index
        self.timestamp = timestamp
        self.captured = captured
        self.stat = stat
        self.session = session
        self.snapshot = snapshot
        self.onlyFor = onlyFor
        self.before = before
        self.placed = placed
    }

    /// Its place in the order of the transactions, strictly ascending along the log of one ensemble; `nil` where it was captured
    /// by watches.
    public var order: CommitOrder? {
        if let placed { return placed }
        guard session != nil, snapshot == .live else { return nil }
        return CommitOrder(zxid: zxid, index: Int64(index))
    }

    /// The node's data version after the change, or -1 where none is known.
    public var version: Int32 { stat?.version ?? -1 }
}
