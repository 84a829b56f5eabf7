import Logging
import RedisClient

extension RedisConnection {
    /// Says where the server may throw away what it was given.
    func warnAboutEviction(_ logger: Logger) async throws {
        var batch = RedisCommandBatch()
        batch.append("INFO", "memory")
        let replies = try await send(batch)
        guard let info = replies.first?.string else { return }
        func value(_ name: String) -> Substring? {
            info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }?.dropFirst(
                name.count + 1)
        }
        if let limit = value("maxmemory"), limit != "0", let policy = value("maxmemory_policy"),
            policy != "noeviction"
        {
            logger.warning(
                "Redis may evict keys: what is evicted is lost to readers; set maxmemory-policy noeviction",
                metadata: ["policy": "\(policy)"])
        }
    }
}
