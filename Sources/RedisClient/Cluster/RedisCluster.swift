public import Logging
public import NIOCore
public import NIOPosix
internal import Synchronization

/// A cluster: the map of its slots, and one connection to each node, made when it is needed and made again
/// when it has ended.
///
/// There are two ways to send. In batches for many slots (`send(_:)`), where every outcome is the caller's to
/// act on, who alone keeps the order of what it resends; and for one slot (`send(_:to:deadline:)`), where
/// redirections are followed. Both share the connections.
///
/// The map is asked for when it is first needed, and again before something is sent after a sign that it is
/// wrong (`MOVED`, a lost connection), at most once a second, from several nodes at once.
public final class RedisCluster: Sendable {
    struct State {
        var topology: ClusterTopology?
        var clients: [RedisEndpoint.Address: RedisClient] = [:]
        var gate = RefreshGate()
        /// Why the map could not be had the last time.
        var failure: RedisClusterError?
        var isClosed = false
    }

    let configuration: RedisConfiguration
    let seeds: [RedisEndpoint.Address]
    let logger: Logger
    private let eventLoopGroup: any EventLoopGroup
    /// One for all nodes.
    private let tls: TLSContext?
    let state = Mutex(State())

    /// The map of slots as it is known now; `nil` before it was first needed.
    public var topology: ClusterTopology? { state.withLock { $0.topology } }

    /// Does not connect yet.
    ///
    /// - Parameter configuration: of every node. The endpoint's `clusterSeeds`, or its address, are asked
    ///   where the other nodes are.
    /// - Throws: `notSupported` for a database other than 0, for Sentinel, and for a unix socket.
    public init(
        configuration: RedisConfiguration,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger
    ) throws(RedisError) {
        let endpoint = configuration.endpoint
        seeds = endpoint.clusterSeeds ?? [endpoint.address]
        let areHosts = seeds.allSatisfy { if case .host = $0 { true } else { false } }
        guard endpoint.database == 0, endpoint.sentinel == nil, areHosts, !seeds.isEmpty else {
            throw RedisError(code: .notSupported, message: "\(endpoint) cannot be a cluster")
        }
        self.configuration = configuration
        // One loop has the time for all nodes' replies; more would compete for the processors with who made the commands.
        self.eventLoopGroup = eventLoopGroup.next()
        tls = endpoint.tls.map(TLSContext.init)
        self.logger = logger
    }

    /// Sends each batch to its node: those for one node in the order given, with one write on one connection;
    /// the nodes at the same time. Returns when each has been answered or has failed, one outcome for each
    /// batch in the order given.
    ///
    /// Nothing is sent twice, and no redirection is followed. After `MOVED` the map of slots names the new
    /// owner already, so that the same batch may be sent again. A caller who does not want to wait for the
    /// slowest node makes a call for each (`topology`). Calls that are under way at the same time have no
    /// order among them: of one slot, only one batch should be under way.
    ///
    /// Every wait has its bound: `connectTimeout` for the map, the same for connections, `replyTimeout` for
    /// replies. A cancelled task gets `cancelled` for what is not answered.
    public func send(_ batches: [ClusterBatch]) async -> [ClusterOutcome] {
        guard !batches.isEmpty else { return [] }
        let topology: ClusterTopology
        do throws(RedisClusterError) {
            topology = try await currentTopology()
        } catch {
            return batches.map { $0.failed(error) }
        }
        var outcomes = batches.map { batch in
            batch.failed(RedisClusterError(code: .notCovered, message: "nobody serves slot \(batch.slot)"))
        }
        var groups: [RedisEndpoint.Address: [Int]] = [:]
        for (index, batch) in batches.enumerated() {
            switch batch.target {
            case .owner:
                if let master = topology.master(of: batch.slot) {
                    groups[master.address, default: []].append(index)
                }
            case .asking(let address):
                groups[address, default: []].append(index)
            }
        }
        if groups.count == 1, let group = groups.first {
            for (index, outcome) in await send(batches, group.value, to: group.key) {
                outcomes[index] = outcome
            }
        } else {
            await withTaskGroup(of: [(Int, ClusterOutcome)].self) { tasks in
                for (address, indices) in groups {
                    tasks.addTask { await self.send(batches, indices, to: address) }
                }
                for await group in tasks { for (index, outcome) in group { outcomes[index] = outcome } }
            }
        }
        if outcomes.contains(where: { $0.error?.code.questionsTopology == true }) { doubtTopology() }
        return outcomes
    }

    /// Ends all connections for good. What is not answered yet fails with `connectionLost`.
    public func close() async {
        let clients = state.withLock { state in
            state.isClosed = true
            defer { state.clients = [:] }
            return Array(state.clients.values)
        }
        for client in clients { await client.close() }
    }

    // MARK: One node

    private func send(
        _ batches: [ClusterBatch], _ indices: [Int], to address: RedisEndpoint.Address
    ) async -> [(Int, ClusterOutcome)] {
        let connection: RedisConnection
        do throws(RedisClusterError) {
            connection = try await self.connection(to: address)
        } catch {
            return indices.map { ($0, batches[$0].failed(error, address)) }
        }
        let id = ClusterConnectionID(number: connection.number)
        var write = NodeWrite()
        var outcomes: [(Int, ClusterOutcome)] = []
        for index in indices {
            if let wanted = batches[index].connection, wanted != id {
                outcomes.append(
                    (index, batches[index].failed(RedisClusterError(connectionOf: address), address, id)))
            } else {
                write.add(batches[index], index: index)
            }
        }
        do throws(RedisError) {
            for (index, replies) in write.split(try await connection.send(write.commands)) {
                outcomes.append((index, outcome(batches[index], replies, address, id)))
            }
        } catch {
            let failure = RedisClusterError(sending: error, hasEnded: connection.isClosed, address)
            for index in write.indices {
                outcomes.append((index, batches[index].failed(failure, address, id)))
            }
        }
        return outcomes
    }

    /// Sends commands of any slots to one node, with one write: for a caller who knows which node serves which
    /// slot (`topology`), encodes all of a node's commands at once and finds his own replies again. Each of them
    /// may be an error; `obstacle(in:slot:node:)` tells what that means.
    ///
    /// - Parameter connection: where set, the commands go out on this connection or not at all.
    /// - Throws: what `ClusterOutcome.error` says where nothing was answered.
    public func send(
        _ commands: RedisCommandBatch, to node: RedisEndpoint.Address,
        on connection: ClusterConnectionID? = nil
    ) async throws(RedisClusterError) -> ClusterNodeReplies {
        do throws(RedisClusterError) {
            let link = try await self.connection(to: node)
            let id = ClusterConnectionID(number: link.number)
            if let connection, connection != id { throw RedisClusterError(connectionOf: node) }
            do throws(RedisError) {
                return ClusterNodeReplies(replies: try await link.send(commands), connection: id)
            } catch {
                throw RedisClusterError(sending: error, hasEnded: link.isClosed, node)
            }
        } catch {
            if error.code.questionsTopology { doubtTopology() }
            throw error
        }
    }

    /// What replies to commands of one slot say of the cluster; the map of slots learns of moves at once.
    ///
    /// - Parameter node: who replied.
    public func obstacle(
        in replies: some Sequence<RESPValue>, slot: HashSlot, node: RedisEndpoint.Address
    ) -> RedisClusterError? {
        let obstacle = ClusterObstacle(in: replies, slot: slot, node: node)
        note(obstacle.moves, by: node)
        if obstacle.error?.code.questionsTopology == true { doubtTopology() }
        return obstacle.error
    }

    private func outcome(
        _ batch: ClusterBatch, _ replies: [RESPValue], _ address: RedisEndpoint.Address,
        _ id: ClusterConnectionID
    ) -> ClusterOutcome {
        let obstacle = ClusterObstacle(in: replies, slot: batch.slot, node: address)
        note(obstacle.moves, by: address)
        return ClusterOutcome(
            slot: batch.slot, replies: replies, error: obstacle.error, node: address, connection: id)
    }

    private func note(
        _ moves: [(slot: HashSlot, address: RedisEndpoint.Address)], by address: RedisEndpoint.Address
    ) {
        guard !moves.isEmpty else { return }
        state.withLock { state in
            for (slot, target) in moves where state.topology?.master(of: slot)?.address == address {
                // Else the map has learned better since this was sent.
                state.topology?.move(slot, to: target)
            }
        }
    }

    /// One attempt to connect, where there is no connection.
    private func connection(
        to address: RedisEndpoint.Address
    ) async throws(RedisClusterError) -> RedisConnection {
        guard let client = client(for: address) else { throw closed() }
        do throws(RedisError) {
            return try await client.connection(
                deadline: .now + configuration.connectTimeout, isPatient: false)
        } catch {
            if error.code == .cancelled {
                throw RedisClusterError(code: .cancelled, message: "cancelled", node: address)
            }
            if state.withLock({ $0.isClosed }) { throw closed() }
            throw RedisClusterError(connecting: error, address)
        }
    }

    /// `nil` after `close()`.
    func client(for address: RedisEndpoint.Address) -> RedisClient? {
        state.withLock { state in
            if state.isClosed { return nil }
            if let client = state.clients[address] { return client }
            var settings = configuration
            settings.endpoint = RedisEndpoint(
                address: address, username: configuration.endpoint.username,
                password: configuration.endpoint.password, tls: configuration.endpoint.tls)
            let client = RedisClient(
                configuration: settings, tls: tls, eventLoopGroup: eventLoopGroup, logger: logger)
            state.clients[address] = client
            return client
        }
    }

    func closed() -> RedisClusterError {
        RedisClusterError(code: .closed, message: "the cluster's client was closed")
    }
}

extension ClusterBatch {
    fileprivate func failed(
        _ error: RedisClusterError, _ node: RedisEndpoint.Address? = nil,
        _ connection: ClusterConnectionID? = nil
    ) -> ClusterOutcome {
        ClusterOutcome(
            slot: slot, replies: [], error: error, node: node ?? error.node, connection: connection)
    }
}

extension RedisClusterError {
    fileprivate init(connectionOf node: RedisEndpoint.Address) {
        self.init(
            code: .connectionChanged, message: "another connection than the one that was wanted", node: node)
    }

    fileprivate init(connecting error: RedisError, _ node: RedisEndpoint.Address) {
        var code = Code.unreachable(error.code)
        if case .server(let reply) = error.code, reply.prefix == .loading { code = .loading }
        self.init(code: code, message: error.message, node: node)
    }

    fileprivate init(sending error: RedisError, hasEnded: Bool, _ node: RedisEndpoint.Address) {
        let code: Code =
            switch error.code {
            case .cancelled: .cancelled
            case .limitExceeded where !hasEnded: .limitExceeded
            default: .connectionLost(error.code)
            }
        self.init(code: code, message: error.message, node: node)
    }
}
