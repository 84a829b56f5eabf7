import Engine
import RedisClient

/// Moving the checkpoints by hand: a slot goes on from the larger of its own and its node's marker, so all are moved.
extension RedisClusterSink {
    private static let stepTimeout = Duration.seconds(10)

    public func reset(to offset: Int64) async throws {
        guard let context else { throw RedisSink.notStarted }
        ahead = nil
        confirmed = offset
        do {
            for (slot, basis) in checkpoints {
                var next = basis.checkpoint
                next.reset(to: offset, context)
                var batch = RedisCommandBatch()
                CheckpointRecord.appendWrite(of: next, key: checkpointKey(slot), to: &batch)
                let replies = try await cluster.send(
                    batch, to: slot, deadline: .now + RedisClusterSink.stepTimeout)
                if case .error(let error)? = replies.first {
                    throw PipelineError.unavailable("\(checkpointKey(slot)): \(error.message)")
                }
                checkpoints[slot] = .init(checkpoint: next, resendBelow: next.sent)
            }
        } catch let error as RedisClusterError {
            throw PipelineError.unavailable("Redis: \(error)")
        }
        while true {
            try Task.checkCancellation()
            do {
                if try await reconcile(nil) != nil {
                    throw PipelineError.failed("sink \(configuration.sink) has lost what it had acknowledged")
                }
                try await markAll()
                if placements.values.allSatisfy({ $0.last.confirmed == offset }) { return }
            } catch let error as RedisClusterError {
                try await lost(error)
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    public func discard() async throws {
        let keys = checkpoints.keys.map(checkpointKey) + placements.values.map(\.key)
        do {
            for key in keys {
                _ = try await cluster.send(
                    "DEL", key, key: key, deadline: .now + RedisClusterSink.stepTimeout)
            }
        } catch {
            throw PipelineError.unavailable("Redis: \(error)")
        }
        checkpoints = [:]
        placements = [:]
    }
}
