import Foundation
import Logging
import RedisClient
import TestServers
import Testing

// README begins
/// Counts visits of users, all over the cluster; then two keys of one slot as one.
func countVisits(_ url: String) async throws -> [RESPValue] {
    let endpoint = try RedisEndpoint(parsing: url)  // redis+cluster://host:port,host:port
    let cluster = try RedisCluster(
        configuration: RedisConfiguration(endpoint: endpoint), logger: Logger(label: "visits"))
    for user in ["ada", "grace", "alan"] {
        let key = "visits:{\(user)}"
        _ = try await cluster.send("INCR", key, key: key, deadline: .now + .seconds(10))
    }
    var transaction = RedisCommandBatch()
    transaction.append("MULTI")
    transaction.append("INCR", "visits:{ada}")
    transaction.append("SET", "last:{ada}", "today")
    transaction.append("EXEC")
    // Redirections are followed, and what may have been executed is never sent twice.
    let replies = try await cluster.send(
        transaction, to: HashSlot(of: "visits:{ada}"), deadline: .now + .seconds(10))
    await cluster.close()
    return replies
}
// README ends

@Suite struct ClusterExampleTests {
    @Test func itDoesWhatItSays() async throws {
        let servers = try await RedisClusterServers.start()
        let replies = try await countVisits(servers.url)
        #expect(replies.last == .array([.integer(2), .simpleString("OK")]))
        await servers.stop()
    }

    @Test func readmeHasIt() throws {
        let here = URL(filePath: #filePath)
        let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let source = try String(contentsOf: here, encoding: .utf8)
        let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        let lines = source.split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex(of: "// README begins"))
        let end = try #require(lines.firstIndex(of: "// README ends"))
        let example = lines[(start + 1)..<end].joined(separator: "\n")
        #expect(readme.contains("```swift\nimport Logging\nimport RedisClient\n\n\(example)\n```"))
    }
}
