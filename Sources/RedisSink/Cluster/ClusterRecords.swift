import Engine
import RedisClient

/// The checkpoints and markers of a sink that were found in a cluster.
struct ClusterRecords {
    struct Place: Hashable {
        var pipeline: String
        var sink: String
        /// Whether slots have checkpoints of their own.
        var writesStreams: Bool
    }

    struct FoundMarker {
        var key: String
        var slot: HashSlot
        /// The id of the node that has it.
        var node: String?
        var marker: Marker
    }

    let place: Place
    private(set) var markers: [FoundMarker] = []
    private(set) var checkpoints: [HashSlot: Checkpoint] = [:]

    /// Slots that one write asks for.
    private static let stretch = 2_048
    /// How long a slot on its way to another node is asked for.
    private static let patience = Duration.seconds(5)

    init(_ place: Place) {
        self.place = place
    }

    var isEmpty: Bool { markers.isEmpty && checkpoints.isEmpty }
    var all: [(key: String, checkpoint: Checkpoint)] {
        markers.map { ($0.key, $0.marker.checkpoint) }
            + checkpoints.map {
                (CheckpointRecord.key(pipeline: place.pipeline, sink: place.sink, slot: $0), $1)
            }
    }

    /// Looks into each of the slots, which the node owns.
    ///
    /// - Parameter connection: where set, it is read on this one or not at all.
    /// - Throws: `RedisClusterError` where the node cannot tell, `RedisError` where it may not, `PipelineError` for
    ///   what is no checkpoint.
    mutating func read(
        _ slots: [HashSlot], of node: ClusterTopology.Node, on connection: ClusterConnectionID?,
        _ cluster: RedisCluster
    ) async throws {
        var rest = slots[...]
        while !rest.isEmpty {
            let stretch = Array(rest.prefix(ClusterRecords.stretch))
            rest = rest.dropFirst(stretch.count)
            let found = try await existing(stretch, of: node, on: connection, cluster)
            if !found.isEmpty { try await readRecords(found, of: node, on: connection, cluster) }
        }
    }

    /// The slots that have a record, or of which this node cannot say. Few have: to ask for the fields of all would take
    /// ten times as long.
    private func existing(
        _ slots: [HashSlot], of node: ClusterTopology.Node, on connection: ClusterConnectionID?,
        _ cluster: RedisCluster
    ) async throws -> [HashSlot] {
        var batch = RedisCommandBatch()
        for slot in slots {
            batch.begin(argumentCount: place.writesStreams ? 3 : 2)
            batch.add("EXISTS" as StaticString)
            batch.add(markerKey(slot))
            if place.writesStreams { batch.add(checkpointKey(slot)) }
        }
        let replies = try await cluster.send(batch, to: node.address, on: connection).replies
        guard replies.count == slots.count else {
            throw RedisError(code: .protocolViolation, message: "answers of another number to EXISTS")
        }
        return zip(slots, replies).filter { $1 != .integer(0) }.map(\.0)
    }

    private mutating func readRecords(
        _ slots: [HashSlot], of node: ClusterTopology.Node, on connection: ClusterConnectionID?,
        _ cluster: RedisCluster
    ) async throws {
        var batch = RedisCommandBatch()
        for slot in slots { batch.append(contentsOf: question(slot)) }
        let answer = try await cluster.send(batch, to: node.address, on: connection)
        let width = place.writesStreams ? 2 : 1
        guard answer.replies.count == slots.count * width else {
            throw RedisError(code: .protocolViolation, message: "answers of another number to HMGET")
        }
        for (index, slot) in slots.enumerated() {
            var replies = Array(answer.replies[index * width..<(index + 1) * width])
            switch cluster.obstacle(in: replies, slot: slot, node: node.address)?.code {
            case nil: break
            case .ask?, .tryAgain?:
                // What is on its way is at one of the two.
                replies = try await cluster.send(
                    question(slot), to: slot, deadline: .now + ClusterRecords.patience)
            case let code?:
                throw RedisClusterError(
                    code: code, message: "slot \(slot) cannot be read", node: node.address)
            }
            try take(replies, slot, node)
        }
    }

    private func question(_ slot: HashSlot) -> RedisCommandBatch {
        var batch = RedisCommandBatch()
        Marker.appendRead(key: markerKey(slot), to: &batch)
        if place.writesStreams { CheckpointRecord.appendRead(key: checkpointKey(slot), to: &batch) }
        return batch
    }

    private mutating func take(
        _ replies: [RESPValue], _ slot: HashSlot, _ node: ClusterTopology.Node
    ) throws {
        for case .error(let error) in replies where error.prefix != .wrongtype {
            throw RedisError(code: .server(error), message: error.message)
        }
        let key = markerKey(slot)
        if let first = replies.first, let marker = try Marker.parse(first, key: key) {
            markers.append(FoundMarker(key: key, slot: slot, node: node.id, marker: marker))
        }
        guard place.writesStreams, replies.count > 1 else { return }
        checkpoints[slot] = try SlotTransaction.checkpoint(replies[1], key: checkpointKey(slot))
    }

    private func markerKey(_ slot: HashSlot) -> String {
        Marker.key(pipeline: place.pipeline, sink: place.sink, slot: slot)
    }

    private func checkpointKey(_ slot: HashSlot) -> String {
        CheckpointRecord.key(pipeline: place.pipeline, sink: place.sink, slot: slot)
    }

    /// Which marker speaks for each slot: that of its own node, or of the node from which it has been moved away since.
    /// A marker that has itself been moved speaks for nobody but its new node, since the data of the old one may have
    /// gone back by a failover in the meantime.
    ///
    /// - Returns: by slot the index of the marker with the highest confirmed offset.
    func speakers(_ topology: ClusterTopology) -> [HashSlot: Int] {
        var speakers: [HashSlot: Int] = [:]
        for (index, found) in markers.enumerated() {
            let holder = topology.master(of: found.slot)
            for slot in found.marker.slots.slots {
                guard
                    topology.master(of: slot)?.address == holder?.address
                        || found.node != nil && found.node == found.marker.node
                else { continue }
                if let other = speakers[slot],
                    markers[other].marker.checkpoint.confirmed >= found.marker.checkpoint.confirmed
                {
                    continue
                }
                speakers[slot] = index
            }
        }
        return speakers
    }
}
