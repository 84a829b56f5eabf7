import RedisClient
import TestServers
import Testing

/// What has to hold in a cluster at any time, whatever has been done to it.
enum ClusterAudit {
    /// Every key lies on the master that serves its slot, `redis-cli -c` finds it, and no command has ever crossed
    /// slots.
    static func expectOrder(in servers: RedisClusterServers) async throws {
        var keys: [String] = []
        for master in servers.masters() {
            let own = try servers.keys(of: master)
            let slots = try servers.view(of: master).first?.slots ?? []
            for (key, slot) in zip(own, try await KeySlots.ask(master, own)) {
                #expect(slots.contains { $0.contains(slot) }, "\(key) of slot \(slot) lies on \(master.port)")
                #expect(slot == HashSlot(of: key).number)
            }
            keys += own
        }
        #expect(!keys.isEmpty)
        let found = try await servers.found(keys)
        #expect(Set(keys).subtracting(found).isEmpty)
        #expect(try servers.errors("CROSSSLOT") == 0)
    }
}

/// What the server takes for the slots of keys.
private enum KeySlots {
    static func ask(_ server: RedisServer, _ keys: [String]) async throws -> [Int] {
        let connection = try await RedisConnection.connect(
            RedisConfiguration(endpoint: try RedisEndpoint(parsing: server.url)), logger: quietLogger)
        var batch = RedisCommandBatch()
        for key in keys { batch.append("CLUSTER", "KEYSLOT", key) }
        let replies = try await connection.send(batch)
        await connection.close()
        return replies.map { Int($0.int ?? -1) }
    }
}
