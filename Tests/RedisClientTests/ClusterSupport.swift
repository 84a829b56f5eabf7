import Logging
import TestServers
import Testing

@testable import RedisClient

extension RedisClusterServers {
    func client(
        _ url: String? = nil, connectTimeout: Duration = .seconds(5), replyTimeout: Duration = .seconds(30)
    ) throws -> RedisCluster {
        try RedisCluster(
            configuration: RedisConfiguration(
                endpoint: try RedisEndpoint(parsing: url ?? self.url), clientName: "cluster-tests",
                connectTimeout: connectTimeout, replyTimeout: replyTimeout),
            logger: silent)
    }

    func server(at address: RedisEndpoint.Address?) throws -> RedisServer {
        guard case .host(_, let port)? = address, let server = servers.first(where: { $0.port == port })
        else {
            throw TestServerError("no server at \(address.map(\.description) ?? "nowhere")")
        }
        return server
    }
}

extension RedisServer {
    var address: RedisEndpoint.Address { .host("127.0.0.1", port: port) }
}

extension RedisCluster {
    /// What one batch comes to.
    func attempt(
        _ key: String, _ commands: RedisCommandBatch, _ target: ClusterBatch.Target = .owner,
        on connection: ClusterConnectionID? = nil
    ) async throws -> ClusterOutcome {
        let outcomes = await send([
            ClusterBatch(
                slot: HashSlot(of: key), commands: commands, target: target, connection: connection)
        ])
        return try #require(outcomes.count == 1 ? outcomes[0] : nil)
    }
}

/// So long may a test wait for what it expects, on a machine that is busy.
var soon: ContinuousClock.Instant { .now + .seconds(20) }

func clusterCode(of body: () async throws -> Void) async -> RedisClusterError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? RedisClusterError)?.code
    }
}

/// A key whose slot is owned by the server.
func key(of server: RedisServer, in topology: ClusterTopology, _ name: String = "k") throws -> String {
    for number in 0..<10_000 {
        let key = "\(name)\(number)"
        if topology.master(of: HashSlot(of: key))?.address == server.address { return key }
    }
    throw TestServerError("no slot of port \(server.port)")
}
