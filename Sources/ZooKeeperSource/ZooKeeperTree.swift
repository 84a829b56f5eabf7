import ChangeModel
public import Engine
public import Logging
import ZooKeeperClient

/// Reads a tree as it stands: pipelined, with a bounded number of requests under way, through lost connections.
public actor ZooKeeperTree: TreeReader {
    private let client: ZooKeeperClient
    private let configuration: ZooKeeperSource.Configuration
    private var queue = RequestQueue()
    private var hidden = HiddenPaths()
    private var isAttached = false
    private var lastError: ZooKeeperError?
    /// Since when there has been no connection.
    private var detachedSince = ContinuousClock.now
    private var wasAttached = false
    private var nodes: [TreeNode] = []

    private static let portionNodes = 2000
    private static let portionBytes = 1 << 20
    private static let tick = Duration.seconds(1)
    /// How long a lost connection may be away.
    private static let reconnectTimeout = Duration.seconds(60)
    /// Single reads under way.
    private static let reads = 64

    private init(_ configuration: ZooKeeperSource.Configuration, _ client: ZooKeeperClient) {
        self.configuration = configuration
        self.client = client
        queue.walk(from: configuration.scope.paths)
    }

    /// Runs the body with a tree that is connected to as long as the body runs.
    ///
    /// Throws `PipelineError.unavailable` where no server can be reached.
    public static func with<Value: Sendable>(
        _ configuration: ZooKeeperSource.Configuration, logger: Logger,
        _ body: @escaping @Sendable (ZooKeeperTree) async throws -> Value
    ) async throws -> Value {
        let client = ZooKeeperClient(configuration: configuration.client, logger: logger)
        let tree = ZooKeeperTree(configuration, client)
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                do {
                    try await client.run()
                } catch let error as ZooKeeperError where error.code == .authenticationFailed {
                    throw PipelineError.unavailable("ZooKeeper: \(error)")
                }
                return nil
            }
            group.addTask { try await body(tree) }
            defer { group.cancelAll() }
            while let value = try await group.next() {
                if let value {
                    await client.close()
                    return value
                }
            }
            throw PipelineError.unavailable("ZooKeeper: the client ended early")
        }
    }

    public var hiddenPaths: Int { hidden.count }

    // MARK: The walk

    public func next() async throws -> [TreeNode] {
        nodes = []
        var bytes = 0
        while nodes.count < ZooKeeperTree.portionNodes, bytes < ZooKeeperTree.portionBytes, !queue.isWalkDone
        {
            if isAttached { client.send(queue.take()) }
            let before = nodes.count
            for event in try await client.nextEvents(timeout: ZooKeeperTree.tick) { try handle(event) }
            bytes += nodes[before...].reduce(0) { $0 + $1.data.count }
            try checkReachable()
        }
        return nodes
    }

    private func handle(_ event: ZooKeeperEvent) throws {
        switch event {
        case .connected:
            isAttached = true
            wasAttached = true
        case .disconnected(let error):
            if isAttached { detachedSince = .now }
            isAttached = false
            lastError = error
            if error.code == .frameTooLarge, !queue.stopBundling() {
                throw PipelineError.failed(
                    "a node or a list of children is larger than a reply may be "
                        + "(\(configuration.client.maximumReplyBytes) bytes; leave it out by "
                        + "source.zookeeper.exclude): \(error)")
            }
        case .reply(let tag, _, let result):
            guard let request = queue.answered(tag) else { return }
            try answered(request, tag, result)
        case .sessionExpired, .notification:
            break
        }
    }

    private func checkReachable() throws {
        guard !isAttached else { return }
        let limit = wasAttached ? ZooKeeperTree.reconnectTimeout : ZooKeeperSource.startTimeout
        guard ContinuousClock.now - detachedSince >= limit else { return }
        let servers = configuration.client.connect.servers.map { "\($0)" }.joined(separator: ",")
        let reason = lastError.map { ": \($0)" } ?? ""
        throw PipelineError.unavailable("no ZooKeeper server at \(servers) within \(limit)\(reason)")
    }

    private func answered(
        _ request: RequestQueue.Request, _ tag: UInt64, _ result: Result<ZooKeeperResponse, ZooKeeperError>
    ) throws {
        switch (request, result) {
        case (.data(let path, _), _):
            _ = queue.finishRead(of: path, tag: tag)
            try data(path, result)
        case (.bundle(let reads), .success(.multiRead(let results))):
            for (read, result) in zip(reads, results) {
                _ = queue.finishRead(of: read.path, tag: tag)
                try data(read.path, result)
            }
        case (.bundle(let reads), .failure(let error)):
            for read in reads { _ = queue.finishRead(of: read.path, tag: tag) }
            switch error.code {
            case .unimplemented, .badArguments, .marshalling:
                // A server that does not know multiRead: one by one.
                _ = queue.stopBundling()
                queue.again(request)
            default:
                try failed(request, error)
            }
        case (.children(let parent), .success(.children(let names, _))):
            let prefix = parent == "/" ? "/" : parent + "/"
            for name in names {
                let path = prefix + name
                if !configuration.scope.excluded.contains(where: { $0.matches(path) }) {
                    queue.push(.data(path: path, reason: .walk))
                }
            }
        case (.children(let path), .failure(let error)):
            if error.code == .noAuth { hidden.insert(path) } else { try failed(request, error) }
        default:
            break
        }
    }

    private func data(_ path: String, _ result: Result<ZooKeeperResponse, ZooKeeperError>) throws {
        switch result {
        case .success(.data(let bytes, let stat)):
            queue.received(bytes.count)
            let node = TreeNode(path: path, data: bytes, stat: NodeStat(stat))
            nodes.append(node)
            if node.stat.numChildren > 0 { queue.push(.children(path: path)) }
        case .failure(let error) where error.code == .noAuth:
            hidden.insert(path)
        case .failure(let error):
            try failed(.data(path: path, reason: .walk), error)
        case .success:
            break
        }
    }

    /// What was lost with a connection is asked again on the next one.
    private func failed(_ request: RequestQueue.Request, _ error: ZooKeeperError) throws {
        switch error.code {
        case .noNode: break
        case .connectionLoss, .sessionExpired, .timeout, .frameTooLarge:
            if isAttached { detachedSince = .now }
            isAttached = false
            queue.again(request)
        case .throttled:
            queue.again(request)
        case .closed:
            throw CancellationError()
        default:
            throw PipelineError.unavailable("ZooKeeper refuses what reading the tree needs: \(error)")
        }
    }

    // MARK: Single nodes

    public func read(_ paths: [String]) async throws -> [NodeReading] {
        // The server may be behind the one that the pipeline reads from.
        if let first = paths.first { try? await client.sync(first) }
        var readings: [NodeReading] = []
        for start in stride(from: 0, to: paths.count, by: ZooKeeperTree.reads) {
            let part = Array(paths[start..<min(start + ZooKeeperTree.reads, paths.count)])
            readings += try await read(atOnce: part)
        }
        return readings
    }

    private func read(atOnce paths: [String]) async throws -> [NodeReading] {
        var readings = [NodeReading](repeating: .hidden, count: paths.count)
        let client = client
        try await withThrowingTaskGroup(of: (Int, NodeReading).self) { group in
            for (index, path) in paths.enumerated() where !hidden.cover(path) {
                group.addTask { (index, try await ZooKeeperTree.read(path, client)) }
            }
            for try await (index, reading) in group { readings[index] = reading }
        }
        return readings
    }

    private static func read(_ path: String, _ client: ZooKeeperClient) async throws -> NodeReading {
        var attempt = 1
        while true {
            do {
                let (data, stat) = try await client.getData(path)
                return .live(TreeNode(path: path, data: data, stat: NodeStat(stat)))
            } catch {
                switch error.code {
                case .noNode: return .absent
                case .noAuth: return .hidden
                case .connectionLoss where attempt < 3, .throttled where attempt < 3: attempt += 1
                case .cancelled, .closed: throw CancellationError()
                default: throw PipelineError.unavailable("ZooKeeper: \(error)")
                }
            }
        }
    }
}
