import Foundation
import Synchronization

/// Real `redis-server`s that form a cluster on free ports of 127.0.0.1.
public final class RedisClusterServers: Sendable {
    /// What `CLUSTER NODES` says of a node.
    public struct NodeState: Sendable {
        public let id: String
        public let port: Int
        public let isMaster: Bool
        public let masterID: String?
        public let isFailed: Bool
        public let slots: [ClosedRange<Int>]
    }

    static let slotCount = 16_384

    private let nodes: Mutex<[RedisServer]>
    private let configuration: [String]
    private let isEncrypted: Bool

    /// Those that were started, also where they have been killed.
    public var servers: [RedisServer] { nodes.withLock { $0 } }

    /// redis+cluster:// (or rediss+cluster://) with all of them.
    public var url: String {
        "\(isEncrypted ? "rediss" : "redis")+cluster://"
            + servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }

    private init(_ servers: [RedisServer], configuration: [String], isEncrypted: Bool) {
        nodes = Mutex(servers)
        self.isEncrypted = isEncrypted
        self.configuration = configuration
    }

    /// Returns when every node takes the cluster for healthy and every replica follows its master. The first
    /// servers are the masters, with even shares of the slots in their order.
    ///
    /// - Parameters:
    ///   - replicas: of each master.
    ///   - nodeTimeout: in milliseconds; a master that is away for so long is replaced by a replica.
    ///   - extraConfiguration: lines of redis.conf for every node.
    ///   - isEncrypted: all ports take TLS only, the bus too; the configuration has to have certificates then.
    /// - Throws: `TestServerError` where a server does not start or the cluster does not form.
    public static func start(
        masters: Int = 3, replicas: Int = 0, nodeTimeout: Int = 2_000, extraConfiguration: [String] = [],
        isEncrypted: Bool = false
    ) async throws -> RedisClusterServers {
        let configuration =
            [
                "cluster-enabled yes", "cluster-config-file nodes.conf",
                "cluster-node-timeout \(nodeTimeout)", "repl-diskless-sync-delay 0",
                "cluster-allow-replica-migration no",
            ] + (isEncrypted ? ["tls-cluster yes", "tls-replication yes"] : []) + extraConfiguration
        let group = RedisClusterServers([], configuration: configuration, isEncrypted: isEncrypted)
        do {
            for _ in 0..<masters * (1 + replicas) { try await group.launch() }
            try await group.form(masters: masters)
        } catch {
            await group.stop()
            throw error
        }
        return group
    }

    @discardableResult
    private func launch() async throws -> RedisServer {
        let server = try await RedisServer.start(
            configuration + ["cluster-port \(try freePort())"], isEncrypted: isEncrypted)
        nodes.withLock { $0.append(server) }
        return server
    }

    private func form(masters: Int) async throws {
        let servers = servers
        for (index, server) in servers.enumerated() {
            try server.expectOK("CLUSTER", "SET-CONFIG-EPOCH", "\(index + 1)")
            guard index < masters else { continue }
            let first = RedisClusterServers.slotCount * index / masters
            let last = RedisClusterServers.slotCount * (index + 1) / masters - 1
            try server.expectOK("CLUSTER", "ADDSLOTSRANGE", "\(first)", "\(last)")
        }
        for server in servers.dropFirst() { try meet(server, by: servers[0]) }
        try await waitUntilAllKnown()
        for (index, server) in servers.enumerated().dropFirst(masters) {
            try server.expectOK("CLUSTER", "REPLICATE", try id(of: servers[index % masters]))
        }
        try await waitUntilHealthy()
    }

    private func meet(_ server: RedisServer, by other: RedisServer) throws {
        let bus = try server.cli("CONFIG", "GET", "cluster-port").split(separator: "\n").last ?? ""
        try other.expectOK("CLUSTER", "MEET", "127.0.0.1", "\(server.port)", "\(bus)")
    }

    public func stop() async {
        for server in servers { await server.stop() }
    }

    // MARK: State

    /// As the server sees it, itself first.
    public func view(of server: RedisServer) throws -> [NodeState] {
        let lines = try server.cli("CLUSTER", "NODES").split(separator: "\n")
        let own = lines.filter { $0.contains("myself") }
        let others = lines.filter { !$0.contains("myself") }
        return (own + others).compactMap(NodeState.init)
    }

    public func id(of server: RedisServer) throws -> String {
        try server.cli("CLUSTER", "MYID")
    }

    /// The server that says of itself that the slot is its own.
    public func owner(of slot: Int) throws -> RedisServer {
        for server in servers where server.process.isRunning {
            if let own = try? view(of: server).first, own.isMaster,
                own.slots.contains(where: { $0.contains(slot) })
            {
                return server
            }
        }
        throw TestServerError("no server owns slot \(slot)")
    }

    /// Those that run and take themselves for masters.
    public func masters() -> [RedisServer] {
        servers.filter { server in
            server.process.isRunning && (try? view(of: server).first?.isMaster) == true
        }
    }

    public func replicas(of master: RedisServer) throws -> [RedisServer] {
        let id = try id(of: master)
        let ports = try view(of: master).filter { $0.masterID == id }.map(\.port)
        return servers.filter { ports.contains($0.port) }
    }

    /// Returns when all running servers say that the cluster serves all slots, agree on who is a replica, and
    /// replicas follow.
    public func waitUntilHealthy(timeout: Duration = .seconds(30)) async throws {
        try await wait(timeout, "a healthy cluster") { running in
            let views = try running.map { try view(of: $0) }
            let replicas = Set(views.compactMap { $0.first?.masterID == nil ? nil : $0.first?.id })
            let isAgreed = views.allSatisfy { nodes in
                Set(nodes.filter { $0.masterID != nil && !$0.isFailed }.map(\.id)) == replicas
            }
            guard isAgreed else { return false }
            return try running.allSatisfy { server in
                let info = try server.cli("CLUSTER", "INFO")
                guard info.contains("cluster_state:ok"),
                    info.contains("cluster_slots_ok:\(RedisClusterServers.slotCount)")
                else { return false }
                let replication = try server.cli("INFO", "replication")
                return replication.contains("role:master")
                    || replication.contains("master_link_status:up")
            }
        }
    }

    private func waitUntilAllKnown() async throws {
        try await wait(.seconds(30), "acquaintance") { running in
            try running.allSatisfy {
                let lines = try $0.cli("CLUSTER", "NODES").split(separator: "\n")
                return lines.count == running.count && !lines.contains { $0.contains("handshake") }
            }
        }
    }

    private func wait(
        _ timeout: Duration, _ what: String, until isMet: ([RedisServer]) throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + timeout
        while ContinuousClock.now < deadline {
            let running = servers.filter(\.process.isRunning)
            if (try? isMet(running)) == true { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        let states = servers.map { (try? $0.cli("CLUSTER", "NODES")) ?? "port \($0.port) does not answer" }
        throw TestServerError("no \(what) within \(timeout):\n\(states.joined(separator: "\n---\n"))")
    }

    // MARK: Slots

    /// Moves a slot with its keys.
    public func move(_ slot: Int, to target: RedisServer) throws {
        try beginMove(slot, to: target)
        try moveKeys(of: slot, to: target)
        try endMove(slot, to: target)
    }

    /// The source answers ASK for keys that it does not have from here on.
    public func beginMove(_ slot: Int, to target: RedisServer) throws {
        let source = try owner(of: slot)
        try target.expectOK("CLUSTER", "SETSLOT", "\(slot)", "IMPORTING", try id(of: source))
        try source.expectOK("CLUSTER", "SETSLOT", "\(slot)", "MIGRATING", try id(of: target))
    }

    /// Moves so many keys at most, or all.
    public func moveKeys(of slot: Int, to target: RedisServer, atMost limit: Int = .max) throws {
        let source = try owner(of: slot)
        var left = limit
        while left > 0 {
            let answer = try source.cli("CLUSTER", "GETKEYSINSLOT", "\(slot)", "\(min(left, 100))")
            let keys = answer.split(separator: "\n").map(String.init)
            if keys.isEmpty { return }
            let words = ["MIGRATE", "127.0.0.1", "\(target.port)", "", "0", "5000", "KEYS"] + keys
            let result = try source.cli(words)
            guard result == "OK" || result == "NOKEY" else { throw TestServerError("MIGRATE: \(result)") }
            left -= keys.count
        }
    }

    /// The new owner is told first, so that at no time nobody owns the slot.
    public func endMove(_ slot: Int, to target: RedisServer) throws {
        let id = try id(of: target)
        let source = try owner(of: slot)
        try target.expectOK("CLUSTER", "SETSLOT", "\(slot)", "NODE", id)
        try source.expectOK("CLUSTER", "SETSLOT", "\(slot)", "NODE", id)
        for server in masters() where server !== target && server !== source {
            try server.expectOK("CLUSTER", "SETSLOT", "\(slot)", "NODE", id)
        }
    }

    // MARK: Nodes

    /// Makes a replica the master. Returns when it is one.
    ///
    /// - Parameter option: `FORCE` or `TAKEOVER`; without, the master has to agree and nothing is lost.
    public func failOver(to replica: RedisServer, _ option: String? = nil) async throws {
        var words = ["CLUSTER", "FAILOVER"]
        if let option { words.append(option) }
        let answer = try replica.cli(words)
        guard answer == "OK" else { throw TestServerError("CLUSTER FAILOVER: \(answer)") }
        try await wait(.seconds(20), "new master") { _ in try view(of: replica).first?.isMaster == true }
    }

    /// Starts a master without slots. Returns when every node knows it, and it them.
    public func addNode() async throws -> RedisServer {
        let first = servers[0]
        let server = try await launch()
        try meet(server, by: first)
        try await waitUntilAllKnown()
        try await waitUntilHealthy()
        return server
    }

    /// Stops a node that owns no slot, and makes the others forget it.
    public func remove(_ server: RedisServer) async throws {
        let id = try id(of: server)
        nodes.withLock { $0.removeAll { $0 === server } }
        for other in servers where other.process.isRunning { try other.expectOK("CLUSTER", "FORGET", id) }
        await server.stop()
    }
}

extension RedisClusterServers.NodeState {
    /// `id host:port@bus[,name] flags master ping pong epoch link slots…`
    fileprivate init?(_ line: Substring) {
        let words = line.split(separator: " ")
        guard words.count >= 8, let address = words[1].split(separator: "@").first,
            let port = address.split(separator: ":").last.flatMap({ Int($0) })
        else { return nil }
        let flags = words[2].split(separator: ",")
        id = String(words[0])
        self.port = port
        isMaster = flags.contains("master")
        masterID = words[3] == "-" ? nil : String(words[3])
        isFailed = flags.contains("fail")
        slots = words[8...].compactMap { word in
            let ends = word.split(separator: "-").compactMap { Int($0) }
            guard !word.hasPrefix("["), let first = ends.first, let last = ends.last else { return nil }
            return first...last
        }
    }
}

extension RedisServer {
    /// `redis-cli` ends well also where the server refuses.
    fileprivate func expectOK(_ words: String...) throws {
        let answer = try cli(words)
        guard answer == "OK" else { throw TestServerError("\(words.joined(separator: " ")): \(answer)") }
    }
}
