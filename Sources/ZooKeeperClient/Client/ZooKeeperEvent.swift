/// What happened, in the order in which it happened on the connection.
public enum ZooKeeperEvent: Sendable {
    /// A session is attached. No watch set on an earlier connection is there any more.
    case connected(sessionID: Int64, isNewSession: Bool, server: ZooKeeperAddress)
    /// The connection is lost, or an attempt to make one failed; the client goes on by itself. Of several in
    /// a row that nobody fetches, the first and the last are kept.
    case disconnected(ZooKeeperError)
    /// The session and its ephemeral nodes are gone; a new session follows.
    case sessionExpired
    case notification(WatchNotification)
    /// The answer to a request of `send`. `zxid` is the last transaction the server had applied; -1 when no
    /// server answered.
    case reply(tag: UInt64, zxid: Int64, Result<ZooKeeperResponse, ZooKeeperError>)
}

/// A change seen by a watch.
public struct WatchNotification: Sendable, Hashable {
    public enum EventType: Sendable, Hashable {
        case created
        case deleted
        case dataChanged
        case childrenChanged
        case other(Int32)
    }

    public var type: EventType
    /// Without the chroot.
    public var path: String
    /// The transaction that made the change; -1 where the server does not say (before 3.9.0).
    public var zxid: Int64

    public init(type: EventType, path: String, zxid: Int64) {
        self.type = type
        self.path = path
        self.zxid = zxid
    }
}

extension WatchNotification.EventType {
    /// `Watcher.Event.EventType` in ZooKeeper's source.
    init(wire: Int32) {
        self =
            switch wire {
            case 1: .created
            case 2: .deleted
            case 3: .dataChanged
            case 4: .childrenChanged
            default: .other(wire)
            }
    }
}

/// Where a client stands at this moment.
public struct ZooKeeperState: Sendable, Hashable {
    /// The server of the attached connection.
    public var server: ZooKeeperAddress?
    /// 0 without a session.
    public var sessionID: Int64
    /// What the server granted; zero without a session.
    public var sessionTimeout: Duration
    /// The highest transaction seen, or `minimumZxid`.
    public var lastZxid: Int64
    public var isConnected: Bool { server != nil }
}
