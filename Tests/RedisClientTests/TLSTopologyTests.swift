import TestServers
import Testing

@testable import RedisClient

/// Every node of a cluster, and Sentinels with their servers.
@Suite struct TLSTopologyTests {
    /// Nodes announce their address, and are verified by it.
    @Test func cluster() async throws {
        let authority = try TestAuthority()
        let identity = try authority.issue("node", ["IP:127.0.0.1"])
        let servers = try await RedisClusterServers.start(
            extraConfiguration: authority.configuration(for: identity), isEncrypted: true)
        let cluster = try servers.client("\(servers.url)?ca=\(authority.rootPath)")
        let topology = try await cluster.refreshTopology()
        #expect(Set(topology.masters.map(\.address)) == Set(servers.servers.map(\.address)))
        for server in servers.servers {
            let key = try key(of: server, in: topology)
            let outcome = try await cluster.attempt(key, batch(["SET", key, "v"], ["GET", key]))
            #expect(outcome.error == nil && outcome.replies == [.simpleString("OK"), bulk("v")])
            #expect(outcome.node == server.address)
            #expect(try await cluster.send("GET", key, key: key, deadline: soon) == bulk("v"))
        }
        await cluster.close()

        let other = try TestAuthority()
        let distrustful = try servers.client("\(servers.url)?ca=\(other.rootPath)")
        do throws(RedisClusterError) {
            try await distrustful.refreshTopology()
            Issue.record("connected")
        } catch {
            #expect(error.code == .unreachable(.connectionFailed))
            #expect(error.message.contains("not trusted"), "\(error)")
        }
        await distrustful.close()
        await servers.stop()
    }

    /// Nodes that announce a name are verified by it, here in vain.
    @Test func clusterOfNames() async throws {
        let authority = try TestAuthority()
        let identity = try authority.issue("node", ["IP:127.0.0.1", "DNS:localhost"])
        let servers = try await RedisClusterServers.start(
            extraConfiguration: authority.configuration(for: identity) + [
                "cluster-announce-hostname localhost", "cluster-preferred-endpoint-type hostname",
            ], isEncrypted: true)
        let cluster = try servers.client("\(servers.url)?ca=\(authority.rootPath)")
        let topology = try await cluster.refreshTopology()
        #expect(
            Set(topology.masters.map(\.address))
                == Set(servers.servers.map { .host("localhost", port: $0.port) }))
        for slot in [0, 8_000, 16_383] {
            let hashSlot = try #require(HashSlot(slot))
            let replies = try await cluster.send(batch(["PING"]), to: hashSlot, deadline: soon)
            #expect(replies == [.simpleString("PONG")])
        }
        await cluster.close()
        await servers.stop()
    }

    @Test func sentinel() async throws {
        let authority = try TestAuthority()
        let identity = try authority.issue("server", ["IP:127.0.0.1"])
        let group = try await RedisSentinelGroup.start(
            authority.configuration(for: identity), isEncrypted: true)
        let endpoint = try RedisEndpoint(parsing: "\(group.url)?ca=\(authority.rootPath)")
        let client = RedisClient(configuration: RedisConfiguration(endpoint: endpoint), logger: silent)
        let connection = try await client.connection(deadline: soon)
        #expect(connection.address == "127.0.0.1:\(try group.master().port)")
        #expect(try await connection.send(batch(["SET", "k", "v"])) == [.simpleString("OK")])
        await client.followMaster()
        #expect(!connection.isClosed)
        await client.close()

        let other = try TestAuthority()
        let distrustful = try RedisEndpoint(parsing: "\(group.url)?ca=\(other.rootPath)")
        let error = try await refusal(RedisConfiguration(endpoint: distrustful))
        #expect(error.code == .connectionFailed && error.message.contains("not trusted"), "\(error)")
        await group.stop()
    }
}
