import ChangeModel
import Engine
import ZooKeeperClient

@testable import ZooKeeperSource

/// A tree that answers as a ZooKeeper server would. For the machine alone: end-to-end tests have real servers.
struct FakeTree {
    private struct Node {
        var czxid: Int64
        var mzxid: Int64
        var version: Int32
    }

    private var nodes: [String: Node] = [:]
    private(set) var zxid: Int64 = 0
    var forbidden: Set<String> = []
    /// Servers that do not know multiRead.
    var isOld = false

    init(_ paths: [String]) {
        for path in paths { _ = create(path) }
    }

    func exists(_ path: String) -> Bool { nodes[path] != nil }

    var versions: [String: Int32] { nodes.mapValues(\.version) }

    mutating func create(_ path: String) -> WatchNotification {
        zxid += 1
        nodes[path] = Node(czxid: zxid, mzxid: zxid, version: 0)
        return WatchNotification(type: .created, path: path, zxid: zxid)
    }

    mutating func set(_ path: String) -> WatchNotification {
        zxid += 1
        nodes[path]?.mzxid = zxid
        nodes[path]?.version += 1
        return WatchNotification(type: .dataChanged, path: path, zxid: zxid)
    }

    mutating func delete(_ path: String) -> WatchNotification {
        zxid += 1
        nodes[path] = nil
        // As 3.8 does: no zxid.
        return WatchNotification(type: .deleted, path: path, zxid: -1)
    }

    private func children(of path: String) -> [String] {
        let prefix = path == "/" ? "/" : path + "/"
        return nodes.keys.compactMap { key in
            guard key.hasPrefix(prefix), !key.dropFirst(prefix.count).contains("/") else { return nil }
            return String(key.dropFirst(prefix.count))
        }.sorted(by: >)
    }

    private func stat(_ path: String, _ node: Node) -> Stat {
        Stat(
            czxid: node.czxid, mzxid: node.mzxid, ctime: 1, mtime: 2, version: node.version, cversion: 0,
            aversion: 0,
            ephemeralOwner: 0, dataLength: 1, numChildren: Int32(children(of: path).count), pzxid: node.czxid)
    }

    func reply(to request: ZooKeeperRequest) -> Result<ZooKeeperResponse, ZooKeeperError> {
        switch request {
        case .addWatch:
            return .success(.empty)
        case .getData(let path), .getChildren(let path):
            let isForbidden = forbidden.contains { path == $0 || path.hasPrefix($0 + "/") }
            if isForbidden { return .failure(ZooKeeperError(.noAuth, path: path, message: "")) }
            guard let node = nodes[path] else {
                return .failure(ZooKeeperError(.noNode, path: path, message: ""))
            }
            if case .getChildren = request {
                return .success(.children(children(of: path), stat(path, node)))
            }
            return .success(.data([UInt8(truncatingIfNeeded: node.version)], stat(path, node)))
        case .multiRead(let reads) where !isOld:
            return .success(.multiRead(reads.map { reply(to: $0) }))
        default:
            return .failure(ZooKeeperError(.unimplemented, message: ""))
        }
    }
}

/// Drives a machine against a tree.
struct Bench {
    var machine = WatchMachine(
        WatchMachine.Options(scope: CaptureScope(paths: ["/t"], excluded: [])),
        recovered: RecoveredCapture(known: KnownState(), position: .start))
    private(set) var entries: [CaptureEntry] = []

    mutating func notify(_ notification: WatchNotification) {
        machine.notified(notification)
    }

    mutating func connectAndSettle(_ tree: inout FakeTree) throws {
        machine.connected()
        try settle(&tree)
    }

    mutating func answer(
        _ requests: [(request: ZooKeeperRequest, tag: UInt64)], _ tree: inout FakeTree
    ) throws {
        for (request, tag) in requests {
            try machine.replied(tag: tag, zxid: tree.zxid, tree.reply(to: request))
        }
    }

    /// Answers until nothing more is asked.
    mutating func settle(_ tree: inout FakeTree) throws {
        while true {
            let requests = machine.takeRequests()
            if requests.isEmpty { break }
            try answer(requests, &tree)
        }
        entries += machine.takeEntries()
    }

    mutating func drain() -> [CaptureEntry] {
        defer { entries = [] }
        return entries
    }

    /// What came out since the last call, for people.
    mutating func lines() -> [String] {
        drain().map { entry in
            switch entry {
            case .change(let change): "\(change.operation.letter) \(change.path) \(change.snapshot.text)"
            case .snapshotBegin: "begin"
            case .snapshotEnd: "end"
            case .gap: "gap"
            }
        }
    }
}
