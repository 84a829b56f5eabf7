import Engine
import RedisClient

/// Moving the checkpoint by hand.
extension RedisSink {
    public func reset(to offset: Int64) async throws {
        while true {
            try Task.checkCancellation()
            do {
                guard case .ready(let connection) = try await attached() else {
                    throw PipelineError.failed("sink \(configuration.sink) has lost what it had acknowledged")
                }
                guard let context, var checkpoint = stored else { throw RedisSink.notStarted }
                checkpoint.reset(to: offset, context)
                guard try await write(checkpoint, connection) else {
                    throw PipelineError.failed("somebody else writes \(key) at this moment")
                }
                confirmed = offset
                return
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    public func discard() async throws {
        let memory = OwnedState.Names(checkpoint: key)
        while true {
            try Task.checkCancellation()
            do {
                guard case .ready(let connection) = try await attached() else { return }
                var batch = RedisCommandBatch()
                batch.append("DEL", key, memory.paths, memory.owners)
                if case .error(let error)? = try await connection.send(batch).first { throw fatal(error) }
                stored = nil
                return
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }
}
