import Engine
import RedisClient

/// Moving the checkpoints by hand: a slot goes on from the larger of its own and its node's marker, so all are moved.
extension RedisClusterSink {
    public func reset(to offset: Int64) async throws {
        guard let context else { throw RedisSink.notStarted }
        ahead = nil
        confirmed = offset
        do {
            var moved: [(slot: HashSlot, checkpoint: Checkpoint)] = []
            let questions = checkpoints.map { slot, basis in
                var next = basis.checkpoint
                next.reset(to: offset, context)
                moved.append((slot, next))
                var question = KeyQuestion(key: Array(checkpointKey(slot).utf8))
                CheckpointRecord.appendWrite(of: next, key: checkpointKey(slot), to: &question.commands)
                return question
            }
            for ((slot, next), replies) in zip(
                moved, try await ClusterKeyReader(cluster: cluster).ask(questions))
            {
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
                // A marker whose slot is on its way, for example.
                try await Task.sleep(for: backoff.take())
            } catch let error as RedisClusterError {
                try await lost(error)
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    public func discard() async throws {
        do {
            try await discardMemory()
        } catch let error as RedisClusterError {
            throw PipelineError.unavailable("Redis: \(error)")
        } catch let error as RedisError {
            throw PipelineError.unavailable("Redis: \(error)")
        }
        // The markers last: without them what is left would begin anew.
        for keys in [checkpoints.keys.map(checkpointKey), placements.values.map(\.key)] {
            let questions = keys.map { key in
                var question = KeyQuestion(key: Array(key.utf8))
                question.commands.append("DEL", key)
                return question
            }
            do {
                _ = try await ClusterKeyReader(cluster: cluster).ask(questions)
            } catch {
                throw PipelineError.unavailable("Redis: \(error)")
            }
        }
        checkpoints = [:]
        placements = [:]
    }
}
