/// What kind of node to create.
public enum CreateMode: Int32, Sendable, Hashable {
    case persistent = 0
    /// Goes with the session.
    case ephemeral = 1
    /// The server appends a ten-digit number to the name.
    case persistentSequential = 2
    case ephemeralSequential = 3
    /// The server removes it some time after its last child.
    case container = 4
}

/// Watches that stay after they fire.
public enum WatchMode: Int32, Sendable, Hashable {
    /// Changes of the node's data and of its list of children.
    case persistent = 0
    /// Creations, deletions and data changes of the node and all below it; never `.childrenChanged`. It may
    /// be set on a node that does not exist and survives the node's deletion.
    case persistentRecursive = 1
}

/// Which watches of a path to remove (`Watcher.WatcherType` in ZooKeeper's source).
public enum WatchKind: Int32, Sendable, Hashable {
    case children = 1
    case data = 2
    case any = 3
}

/// An operation of ZooKeeper's client protocol. Paths are absolute and below the chroot. A version of -1 is
/// any.
///
/// Reads never set one-shot watches: on servers before 3.9.0 such a read destroys a recursive watch of the
/// same session (ZOOKEEPER-4466). Use `addWatch`.
public enum ZooKeeperRequest: Sendable, Hashable {
    /// Answered by `.data`.
    case getData(String)
    /// Answered by `.stat`, or `.noNode`.
    case exists(String)
    /// Answered by `.children`.
    case getChildren(String)
    /// Answered by `.created`.
    case create(path: String, data: [UInt8], acl: [ACL] = ACL.open, mode: CreateMode = .persistent)
    /// Answered by `.empty`.
    case delete(path: String, version: Int32 = -1)
    /// Answered by `.stat`.
    case setData(path: String, data: [UInt8], version: Int32 = -1)
    /// Only inside a multi; answered by `.empty`.
    case check(path: String, version: Int32)
    /// Creates, deletes, setDatas and checks, all or none. Answered by `.multi`, or by the error of the
    /// operation that failed.
    case multi([ZooKeeperRequest])
    /// getDatas in one request, which costs the server much less than one each. Answered by `.multiRead`.
    case multiRead([ZooKeeperRequest])
    /// Answered by `.empty`. Watches end with their connection and are not set again after a reconnect.
    case addWatch(String, WatchMode)
    /// Answered by `.empty`, or `.noWatcher`.
    case removeWatches(String, WatchKind = .any)
    /// What is read afterwards is at least as new as the leader's state now. Answered by `.empty`.
    case sync(String)
    /// Answered by `.acl`.
    case getACL(String)
    /// The version is the `aversion`. Answered by `.stat`.
    case setACL(path: String, acl: [ACL], version: Int32 = -1)
}

/// The answer to a `ZooKeeperRequest`.
public enum ZooKeeperResponse: Sendable, Hashable {
    /// The bytes are empty where the node has none (null).
    case data([UInt8], Stat)
    case stat(Stat)
    /// Names, without the path, in no order.
    case children([String], Stat)
    /// The path as created, without the chroot.
    case created(String, Stat?)
    case acl([ACL], Stat)
    case multi([ZooKeeperResponse])
    /// One answer for each read, in their order: one may fail alone.
    case multiRead([Result<ZooKeeperResponse, ZooKeeperError>])
    case empty
}

extension ZooKeeperRequest {
    var path: String? {
        switch self {
        case .getData(let path), .exists(let path), .getChildren(let path), .create(let path, _, _, _),
            .delete(let path, _), .setData(let path, _, _), .check(let path, _), .addWatch(let path, _),
            .removeWatches(let path, _), .sync(let path), .getACL(let path), .setACL(let path, _, _):
            path
        case .multi, .multiRead: nil
        }
    }
}
