public import Engine
import Logging
public import RedisClient

/// Reads a sink's checkpoint without touching it.
public struct RedisCheckpointStore: CheckpointStore {
    private let configuration: RedisConfiguration
    private let key: String

    public init(_ configuration: RedisConfiguration, pipeline: String, sink: String) {
        self.configuration = configuration
        key = CheckpointRecord.key(pipeline: pipeline, sink: sink)
    }

    public var place: String { "\(configuration.endpoint) \(key)" }

    public func read(timeout: Duration) async throws -> Checkpoint? {
        let client = RedisClient(configuration: configuration, logger: Logger(label: "millrace.checkpoints"))
        do {
            let connection = try await client.connection(deadline: .now + timeout)
            var batch = RedisCommandBatch()
            CheckpointRecord.appendRead(key: key, to: &batch)
            let replies = try await connection.send(batch)
            await client.close()
            return try replies.first.flatMap { try CheckpointRecord.parse($0, key: key) }
        } catch let error as RedisError {
            await client.close()
            throw PipelineError.unavailable("Redis: \(error)")
        }
    }
}
