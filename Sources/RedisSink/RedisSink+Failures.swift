import Engine
import RedisClient

/// What ends a sink, in words.
extension RedisSink {
    static let notStarted = PipelineError.failed("a Redis sink was used before it was started")

    func rejections(_ refused: [Int: RedisServerError], _ batch: MappedBatch) -> [Rejection] {
        refused.sorted { $0.key < $1.key }.map { index, error in
            Rejection(batch.changes[index], reason: "Redis: \(error.message)")
        }
    }

    /// A later claim; or one of the same number, where Redis has lost ours.
    func isForeign(_ found: Checkpoint, _ known: Checkpoint) -> Bool {
        found.epoch > known.epoch || found.epoch == known.epoch && found.owner != configuration.owner
    }

    func fenced(_ found: Checkpoint) -> PipelineError {
        .failed(
            "sink \(configuration.sink): \(found.owner) has taken it over (epoch \(found.epoch)); "
                + "one pipeline of a name may write")
    }

    func fatal(_ error: RedisServerError) -> PipelineError {
        if ErrorClass(error) == .cluster {
            return .unavailable(
                "\(configuration.redis.endpoint) is a node of a cluster, which needs redis+cluster://: "
                    + error.message)
        }
        return .unavailable(
            "\(configuration.redis.endpoint) refuses what sink \(configuration.sink) needs for \(key): "
                + error.message)
    }
}
