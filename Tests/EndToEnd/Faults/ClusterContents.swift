import RedisClient
import TestServers

/// What a pipeline of `ClusterFault` has written into a cluster.
struct ClusterContents {
    /// `k:<path>` of each path.
    var strings: [(path: String, found: String?)] = []
    /// The field `data` of `h:<path>`.
    var hashes: [(path: String, found: String?)] = []
    /// Of all streams. Those of one path are all in one stream, and in its order.
    var entries: [StreamEntry] = []

    private static let page = 10_000
    private static let patience = Duration.seconds(30)

    /// The stream of the path's group: `/t/g3/n7` goes to `changes:g3`.
    static func stream(of path: String) -> String {
        "changes:\(path.split(separator: "/").dropFirst().first ?? "")"
    }

    /// - Throws: `RedisClusterError` where the cluster does not answer in time.
    static func read(_ servers: RedisClusterServers, _ paths: [String]) async throws -> ClusterContents {
        let cluster = try RedisCluster(
            configuration: RedisConfiguration(endpoint: try RedisEndpoint(parsing: servers.url)),
            logger: quietLogger)
        var contents = ClusterContents()
        do {
            let strings = try await ask(cluster, paths.map { ["GET", "k:\($0)"] })
            let hashes = try await ask(cluster, paths.map { ["HGET", "h:\($0)", "data"] })
            contents.strings = zip(paths, strings).map { ($0, $1.string) }
            contents.hashes = zip(paths, hashes).map { ($0, $1.string) }
            for stream in Set(paths.map(ClusterContents.stream)).sorted() {
                try await contents.read(stream, cluster)
            }
        } catch {
            await cluster.close()
            throw error
        }
        await cluster.close()
        return contents
    }

    private mutating func read(_ stream: String, _ cluster: RedisCluster) async throws {
        var start = "-"
        while true {
            let reply = try await cluster.send(
                "XRANGE", stream, start, "+", "COUNT", "\(ClusterContents.page)", key: stream,
                deadline: .now + ClusterContents.patience)
            let page = reply.array?.compactMap(StreamEntry.init) ?? []
            entries += page
            guard page.count == ClusterContents.page, let last = page.last else { return }
            start = "(\(last.id)"
        }
    }

    /// The replies to commands whose second word is the key: those of one node at once.
    private static func ask(_ cluster: RedisCluster, _ commands: [[String]]) async throws -> [RESPValue] {
        let batches = commands.map { words in
            var batch = RedisCommandBatch()
            batch.begin(argumentCount: words.count)
            for word in words { batch.add(word) }
            return ClusterBatch(slot: HashSlot(of: words[1]), commands: batch)
        }
        var replies: [RESPValue] = []
        for (outcome, batch) in zip(await cluster.send(batches), batches) {
            if outcome.error == nil {
                replies += outcome.replies
            } else {
                replies += try await cluster.send(
                    batch.commands, to: batch.slot, deadline: .now + patience)
            }
        }
        return replies
    }
}
