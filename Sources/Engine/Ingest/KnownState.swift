public import ChangeModel

/// What the log last said of one node: enough to tell a new change from an old one.
public struct KnownNode: Sendable, Hashable {
    public var czxid: Zxid
    public var mzxid: Zxid
    public var version: Int32
    /// The session that owns an ephemeral node; 0 for all others (see `NodeStat.isEphemeral`).
    public var ephemeralOwner: Int64
    /// Its data, where that is kept (`KnownState.keepsData`) and known.
    public var data: [UInt8]?

    public init(
        czxid: Zxid, mzxid: Zxid, version: Int32, ephemeralOwner: Int64, data: [UInt8]? = nil
    ) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.version = version
        self.ephemeralOwner = ephemeralOwner
        self.data = data
    }

    public init(_ stat: NodeStat, data: [UInt8]? = nil) {
        self.init(
            czxid: stat.czxid, mzxid: stat.mzxid, version: stat.version, ephemeralOwner: stat.ephemeralOwner,
            data: data)
    }

    /// The last stat known, for the delete of the node.
    public var stat: NodeStat {
        NodeStat(czxid: czxid, mzxid: mzxid, version: version, ephemeralOwner: ephemeralOwner)
    }
}

/// The live nodes as the log tells them, and the scope in which that is the whole truth.
public struct KnownState: Sendable, Equatable {
    public var nodes: [String: KnownNode]
    /// The scope of the last snapshot or resync that came to its end; `nil` before the first.
    public var scope: CaptureScope?
    /// The scope of a snapshot that has begun and not ended.
    public var openScope: CaptureScope?
    /// Each node's data too, for `before`: all of it in memory.
    public var keepsData: Bool

    public init(
        nodes: [String: KnownNode] = [:], scope: CaptureScope? = nil, openScope: CaptureScope? = nil,
        keepsData: Bool = false
    ) {
        self.nodes = nodes
        self.scope = scope
        self.openScope = openScope
        self.keepsData = keepsData
    }

    /// What the log says of a node from now on.
    public mutating func tell(_ path: String, _ stat: NodeStat, _ data: [UInt8]?) {
        nodes[path] = KnownNode(stat, data: keepsData ? data : nil)
    }

    /// Takes over what one change says.
    public mutating func apply(_ change: Change) {
        if change.operation == .delete {
            nodes.removeValue(forKey: change.path)
        } else if let stat = change.stat {
            tell(change.path, stat, change.data)
        }
    }

    /// A node is as it was known to be, and has these data.
    public mutating func fill(_ path: String, _ data: [UInt8]) {
        if keepsData, let node = nodes[path], node.data == nil { nodes[path]?.data = data }
    }

    /// Takes the data from a change that has been applied before, where its node is still what it made. Of several in one
    /// transaction the last one tells.
    mutating func fill(from change: Change) {
        guard let stat = change.stat, let data = change.data, let node = nodes[change.path],
            node.czxid == stat.czxid, node.mzxid == stat.mzxid
        else { return }
        nodes[change.path]?.data = data
    }

    mutating func apply(snapshotBegin begin: SnapshotBegin) {
        openScope = begin.scope
    }

    mutating func applySnapshotEnd() {
        guard let ended = openScope else { return }
        scope = ended
        openScope = nil
        // Paths that left the scope are forgotten; a later return makes them `r`.
        nodes = nodes.filter { ended.contains($0.key) }
    }
}
