import Logging
import RedisClient

/// Says where a server may throw away what it was given.
enum EvictionWarning {
    static var question: RedisCommandBatch {
        var batch = RedisCommandBatch()
        batch.append("INFO", "memory")
        return batch
    }

    /// - Parameter replies: to the question.
    static func give(_ replies: [RESPValue], server: String, _ logger: Logger) {
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
                metadata: ["redis": "\(server)", "policy": "\(policy)"])
        }
    }
}
