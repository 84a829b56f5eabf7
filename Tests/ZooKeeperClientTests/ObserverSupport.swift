import Logging
import Synchronization
import TestServers
import Testing

@testable import ZooKeeperClient

/// Three servers for all tests that leave them alone; each test lives below a path of its own.
enum SharedEnsemble {
    /// Whatever is in the logs is sent as a difference, however small the tree.
    static let wholeHistory = ["-Dzookeeper.snapshotSizeFactor=0"]
    private static let task = Task { try await ZooKeeperEnsemble.start(virtualMachine: wholeHistory) }
    static func get() async throws -> ZooKeeperEnsemble { try await task.value }
}

func observing(
    _ ensemble: ZooKeeperEnsemble, from zxid: Int64 = 0,
    _ adjust: (inout ObserverConfiguration) -> Void = { _ in }
) throws -> ObserverConfiguration {
    var configuration = ObserverConfiguration(
        quorumServers: try ConnectString(parsing: ensemble.quorumAddresses.joined(separator: ",")).servers)
    configuration.lastZxid = zxid
    configuration.backoffInitial = .milliseconds(20)
    configuration.backoffMaximum = .milliseconds(200)
    adjust(&configuration)
    return configuration
}

/// Runs an observer around `body`. What `run` throws is thrown.
func withObserver<Value: Sendable>(
    _ configuration: ObserverConfiguration,
    _ body: @Sendable @escaping (ObserverReader) async throws -> Value
) async throws -> Value {
    let observer = ZooKeeperObserver(configuration: configuration, logger: Logger(label: "test"))
    return try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask {
            try await observer.run()
            return nil
        }
        group.addTask { try await body(ObserverReader(observer, from: configuration.lastZxid)) }
        defer { group.cancelAll() }
        while let value = try await group.next() {
            if let value { return value }
        }
        throw ZooKeeperError(.closed, message: "run() returned before the test")
    }
}

/// Fetches events as a consumer must: what is not committed is kept apart.
final class ObserverReader: Sendable {
    struct Seen: Sendable {
        var syncs: [ObserverSync] = []
        var failures: [ZooKeeperError] = []
        /// Committed.
        var transactions: [Transaction] = []
        var tree = ObservedTree()
        var isLive = false
        var lastZxid: Int64
        /// How often something was handed out that was never committed.
        var droppedSyncs = 0
        fileprivate var provisional: (tree: ObservedTree, transactions: [Transaction], zxid: Int64)?
    }

    private let observer: ZooKeeperObserver
    private let state: Mutex<Seen>

    init(_ observer: ZooKeeperObserver, from zxid: Int64) {
        self.observer = observer
        state = Mutex(Seen(lastZxid: zxid))
    }

    var seen: Seen { state.withLock { $0 } }

    /// Fetches until something holds.
    @discardableResult
    func read(
        within timeout: Duration = .seconds(40), until holds: @Sendable (Seen) -> Bool
    ) async throws -> Seen {
        let deadline = ContinuousClock.now + timeout
        while ContinuousClock.now < deadline {
            let events = try await observer.nextEvents(timeout: .milliseconds(200))
            state.withLock { seen in
                for event in events { ObserverReader.take(event, &seen) }
            }
            if holds(seen) { return seen }
        }
        let seen = seen
        throw TestServerError(
            "it did not come within \(timeout): at zxid \(seen.lastZxid), live \(seen.isLive), "
                + "\(seen.transactions.count) transactions, \(seen.syncs.suffix(5)), \(seen.failures.suffix(5))"
        )
    }

    private static func take(_ event: ObserverEvent, _ seen: inout Seen) {
        switch event {
        case .syncing(let sync, _):
            seen.syncs.append(sync)
            seen.isLive = false
            var tree = seen.tree
            if case .snapshot = sync { tree = ObservedTree() }
            seen.provisional = (tree, [], seen.lastZxid)
        case .snapshotNodes(let nodes): for node in nodes { seen.provisional?.tree.add(node) }
        case .snapshotEnd(let zxid): seen.provisional?.zxid = zxid
        case .transactions(let transactions):
            for transaction in transactions {
                if seen.isLive {
                    seen.tree.apply(transaction)
                    seen.transactions.append(transaction)
                    seen.lastZxid = transaction.zxid
                } else {
                    seen.provisional?.tree.apply(transaction)
                    seen.provisional?.transactions.append(transaction)
                    seen.provisional?.zxid = transaction.zxid
                }
            }
        case .upToDate(let zxid):
            guard let provisional = seen.provisional else { return }
            #expect(provisional.zxid == zxid)
            seen.isLive = true
            seen.tree = provisional.tree
            seen.transactions += provisional.transactions
            seen.lastZxid = zxid
            seen.provisional = nil
        case .disconnected(let error):
            seen.failures.append(error)
            if seen.provisional != nil { seen.droppedSyncs += 1 }
            seen.provisional = nil
            seen.isLive = false
        }
    }
}

/// A tree that is kept by transactions alone.
struct ObservedTree: Sendable {
    struct Node: Sendable, Hashable {
        var data: [UInt8]
        var czxid: Int64
        var mzxid: Int64
        var version: Int32
        var ephemeralOwner: Int64
    }

    private(set) var nodes: [String: Node] = [:]

    mutating func add(_ node: SnapshotNode) {
        nodes[node.path] = Node(
            data: node.data, czxid: node.stat.czxid, mzxid: node.stat.mzxid, version: node.stat.version,
            ephemeralOwner: node.stat.ephemeralOwner)
    }

    mutating func apply(_ transaction: Transaction) {
        let zxid = transaction.zxid
        if case .closeSession(nil) = transaction.operation {
            nodes = nodes.filter { $0.value.ephemeralOwner != transaction.session }
        }
        for (_, operation) in transaction.effects {
            guard let path = operation.path else { continue }
            let known = nodes[path]
            if FuzzySnapshot.holds(operation, zxid: zxid, czxid: known?.czxid, mzxid: known?.mzxid) {
                continue
            }
            switch operation {
            case .create(_, let data, _, let kind, _):
                let owner = kind == .ephemeral ? transaction.session : 0
                nodes[path] = Node(data: data, czxid: zxid, mzxid: zxid, version: 0, ephemeralOwner: owner)
            case .delete: nodes[path] = nil
            case .setData(_, let data, let version), .reconfigure(_, let data, let version):
                nodes[path]?.data = data
                nodes[path]?.mzxid = zxid
                nodes[path]?.version = version
            default: break
            }
        }
    }

    /// Those at and below a path.
    func below(_ path: String) -> [String: Node] {
        nodes.filter { $0.key == path || $0.key.hasPrefix(path + "/") }
    }
}

/// The same, read by a client.
func readTree(_ client: ZooKeeperClient, _ root: String) async throws -> [String: ObservedTree.Node] {
    var nodes: [String: ObservedTree.Node] = [:]
    var paths = [root]
    while let path = paths.popLast() {
        let (data, stat) = try await client.getData(path)
        nodes[path] = ObservedTree.Node(
            data: data, czxid: stat.czxid, mzxid: stat.mzxid, version: stat.version,
            ephemeralOwner: stat.ephemeralOwner)
        if stat.numChildren > 0 {
            paths += try await client.children(path).map { path + "/" + $0 }
        }
    }
    return nodes
}

/// Sends requests without waiting for each; what the server acknowledged comes back as the zxids of its transactions, by
/// the index of the request.
func sendAll(_ client: ZooKeeperClient, _ requests: [ZooKeeperRequest]) async throws -> [Int: Int64] {
    var acknowledged: [Int: Int64] = [:]
    var answered = 0
    client.send(requests.enumerated().map { ($0.element, UInt64($0.offset)) })
    let deadline = ContinuousClock.now + .seconds(40)
    while answered < requests.count, ContinuousClock.now < deadline {
        for case .reply(let tag, let zxid, let result) in try await client.nextEvents(
            timeout: .milliseconds(200))
        {
            answered += 1
            if case .success = result { acknowledged[Int(tag)] = zxid }
        }
    }
    try #require(answered == requests.count)
    return acknowledged
}

/// Something that happens once.
final class Flag: Sendable {
    private let state = Mutex(false)
    var isSet: Bool { state.withLock { $0 } }
    func set() { state.withLock { $0 = true } }
}
