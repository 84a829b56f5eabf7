public import Engine
import Logging
public import RedisClient

/// Reads a sink's checkpoint in a cluster without touching it.
public struct RedisClusterCheckpointStore: CheckpointStore {
    private let configuration: RedisConfiguration
    private let records: ClusterRecords.Place

    public init(_ configuration: RedisConfiguration, pipeline: String, sink: String, writesStreams: Bool) {
        self.configuration = configuration
        records = ClusterRecords.Place(pipeline: pipeline, sink: sink, writesStreams: writesStreams)
    }

    public var place: String {
        "\(configuration.endpoint) millrace:{slot}:\(records.pipeline):\(records.sink)"
    }

    public func read(timeout: Duration) async throws -> Checkpoint? {
        try await readNodes(timeout: timeout).checkpoint
    }

    /// The node that is farthest behind is what the sink has reached.
    public func readNodes(timeout: Duration) async throws -> (
        checkpoint: Checkpoint?, nodes: [NodeCheckpoint]
    ) {
        do {
            var configuration = configuration
            configuration.connectTimeout = min(configuration.connectTimeout, timeout)
            configuration.replyTimeout = min(configuration.replyTimeout, timeout)
            let cluster = try RedisCluster(
                configuration: configuration, logger: Logger(label: "millrace.checkpoints"))
            do {
                let result = try await read(cluster, until: .now + timeout)
                await cluster.close()
                return result
            } catch {
                await cluster.close()
                throw error
            }
        } catch let error as RedisClusterError {
            throw PipelineError.unavailable("Redis: \(error)")
        } catch let error as RedisError {
            throw PipelineError.unavailable("Redis: \(error)")
        }
    }

    private func read(
        _ cluster: RedisCluster, until deadline: ContinuousClock.Instant
    ) async throws -> (checkpoint: Checkpoint?, nodes: [NodeCheckpoint]) {
        var pause = Backoff()
        while true {
            do {
                return try await read(cluster)
            } catch let error as RedisClusterError {
                let wait = pause.take()
                guard .now + wait < deadline else { throw error }
                try await Task.sleep(for: wait)
            }
        }
    }

    private func read(
        _ cluster: RedisCluster
    ) async throws -> (checkpoint: Checkpoint?, nodes: [NodeCheckpoint]) {
        let topology = try await cluster.currentTopology()
        var found = ClusterRecords(records)
        for master in topology.masters {
            try await found.read(topology.slots(of: master), of: master, on: nil, cluster)
        }
        let speakers = found.speakers(topology)
        var nodes: [NodeCheckpoint] = []
        for master in topology.masters {
            let slots = topology.slots(of: master)
            let spoken = Set(slots.map { speakers[$0] })
            // A slot that nobody speaks for is behind all others.
            let markers = spoken.compactMap { $0.map { found.markers[$0].marker.checkpoint } }
            let lowest = spoken.contains(nil) ? nil : markers.min { $0.confirmed < $1.confirmed }
            nodes.append(
                NodeCheckpoint(node: "\(master.address)", slots: SlotList(slots).text, checkpoint: lowest))
        }
        let lowest = nodes.compactMap(\.checkpoint).min { $0.confirmed < $1.confirmed }
        guard var checkpoint = lowest ?? found.all.first?.checkpoint else { return (nil, nodes) }
        if nodes.contains(where: { $0.checkpoint == nil }) {
            // It begins anew, or with the log's start.
            checkpoint.confirmed = 0
            checkpoint.sent = 0
        }
        for (_, other) in found.all {
            checkpoint.epoch = max(checkpoint.epoch, other.epoch)
            checkpoint.generation = max(checkpoint.generation, other.generation)
            checkpoint.floor = max(checkpoint.floor, other.floor)
        }
        return (checkpoint, nodes)
    }
}
