public import ChangeModel

/// What the log last said of one node: enough to tell a new change from an old one.
public struct KnownNode: Sendable, Hashable {
    public var czxid: Zxid
    public var mzxid: Zxid
    public var version: Int32
    /// The session that owns an ephemeral node; 0 for all others (see `NodeStat.isEphemeral`).
    public var ephemeralOwner: Int64

    public init(czxid: Zxid, mzxid: Zxid, version: Int32, ephemeralOwner: Int64) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.version = version
        self.ephemeralOwner = ephemeralOwner
    }

    public init(_ stat: NodeStat) {
        self.init(
            czxid: stat.czxid, mzxid: stat.mzxid, version: stat.version, ephemeralOwner: stat.ephemeralOwner)
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

    public init(nodes: [String: KnownNode] = [:], scope: CaptureScope? = nil, openScope: CaptureScope? = nil)
    {
        self.nodes = nodes
        self.scope = scope
        self.openScope = openScope
    }

    /// Takes over what one change says.
    public mutating func apply(_ change: Change) {
        if change.operation == .delete {
            nodes.removeValue(forKey: change.path)
        } else if let stat = change.stat {
            nodes[change.path] = KnownNode(stat)
        }
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
