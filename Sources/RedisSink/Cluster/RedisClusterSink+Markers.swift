import ChangeModel
import Engine
import RedisClient

/// Where a node's marker lies.
struct MarkerPlacement {
    var key: String
    var slot: HashSlot
    var slots: SlotList
    /// What it is known to hold.
    var last: Checkpoint
    /// What was sent since; it may have arrived or not.
    var pending: [Checkpoint] = []
    /// It has to be written anew, whole.
    var isStale = false
}

/// Markers: placed where slots have come or gone, written with everything that is written to their node.
extension RedisClusterSink {
    /// Gives each node a marker that speaks for exactly its slots.
    ///
    /// Nodes that have won slots come first, so that at no time nobody speaks for a slot.
    func placeMarkers(_ topology: ClusterTopology) async throws {
        var lists: [RedisEndpoint.Address: [HashSlot]] = [:]
        for slot in HashSlot.all {
            if let owner = topology.master(of: slot) { lists[owner.address, default: []].append(slot) }
        }
        var stale = Set(placements.values.map(\.key))
        let nodes = topology.masters.sorted { left, right in
            gain(lists[left.address]?.count ?? 0, left) > gain(lists[right.address]?.count ?? 0, right)
        }
        for node in nodes {
            guard let slots = lists[node.address] else { continue }
            try await placeMarker(node, slots)
        }
        placements = placements.filter { lists[$0.key] != nil }
        stale.subtract(placements.values.map(\.key))
        for key in stale {
            _ = try? await cluster.send(
                "UNLINK", key, key: key, deadline: .now + RedisClusterSink.lookInterval)
        }
    }

    private func gain(_ count: Int, _ node: ClusterTopology.Node) -> Int {
        count - (placements[node.address]?.slots.count ?? 0)
    }

    private func placeMarker(_ node: ClusterTopology.Node, _ slots: [HashSlot]) async throws {
        guard let link = links[node.address] else { return }
        let list = SlotList(slots)
        if let placement = placements[node.address], placement.slots == list, !placement.isStale,
            !avoided.contains(placement.slot)
        {
            return
        }
        // A resharding takes a node's first slots.
        for slot in slots.reversed() where !avoided.contains(slot) {
            let key = Marker.key(pipeline: place.pipeline, sink: place.sink, slot: slot)
            let checkpoint = markerCheckpoint(list)
            var batch = RedisCommandBatch()
            Marker(checkpoint: checkpoint, node: node.id ?? "", slots: list).appendWrite(
                key: key, to: &batch)
            let replies = try await cluster.send(batch, to: node.address, on: link.connection).replies
            switch cluster.obstacle(in: replies, slot: slot, node: node.address)?.code {
            case nil: break
            case .ask?, .tryAgain?:
                avoided.insert(slot)
                continue
            case let code?:
                throw RedisClusterError(code: code, message: "no marker can be written", node: node.address)
            }
            if case .error(let error)? = replies.first {
                guard ErrorClass(error) != .record else { throw fatal(error, node.address) }
                throw RedisError(code: .server(error), message: error.message)
            }
            placements[node.address] = MarkerPlacement(key: key, slot: slot, slots: list, last: checkpoint)
            return
        }
        throw RedisClusterError(
            code: .tryAgain, message: "every slot is on its way to another node", node: node.address)
    }

    func markerCheckpoint(_ node: RedisEndpoint.Address) -> Checkpoint? {
        placements[node].map { markerCheckpoint($0.slots) }
    }

    private func markerCheckpoint(_ slots: SlotList) -> Checkpoint {
        let position = position(of: slots)
        return Checkpoint(
            epoch: epoch, sent: position, confirmed: position, generation: generation,
            logID: context?.logID ?? "", settled: settled, floor: max(floor, floors.values.max() ?? 0),
            owner: configuration.owner, written: wallClockMilliseconds())
    }

    /// Writes every node's marker, and hears what it held.
    func markAll() async throws {
        var none = ClusterWork(
            MappedBatch(offsets: confirmed..<confirmed, changes: [], settled: .none, generation: generation),
            ahead: nil)
        lastMarked = .now
        let round = try await send(&none, CommandEncoder(trim: nil, usesServerIDs: false), isForAll: true)
        if let cause = round.cause { try await wait(cause) }
    }

    /// What a node's marker held before a round, and the answer to writing it.
    func takeMarker(
        _ node: RedisEndpoint.Address, read: RESPValue, written: RESPValue
    ) throws {
        guard let placement = placements[node] else { return }
        let replies = [read, written]
        switch cluster.obstacle(in: replies, slot: placement.slot, node: node)?.code {
        case nil: break
        case .ask?, .tryAgain?:
            avoided.insert(placement.slot)
            known = nil
            return
        default:
            known = nil
            return
        }
        let found = try CheckpointRecord.parse(read, key: placement.key)
        if let found, isForeign(found) { throw fenced(found) }
        if case .error(let error) = written {
            guard ErrorClass(error) != .record else { throw fatal(error, node) }
            // It passes, and the marker of before holds.
            return
        }
        if !placement.holds(found) {
            // The data has gone back, and the connection has not noticed; or it was emptied.
            for slot in placement.slots.slots { homes[slot.number] = nil }
            placements[node]?.isStale = true
            known = nil
        }
        placements[node]?.last = placement.pending.last ?? placement.last
        placements[node]?.pending = []
    }

    /// `WAIT`, until enough replicas of each node have what the batch has written.
    ///
    /// Returns the offset to go back to where a failover has lost it.
    func replicate(_ work: ClusterWork) async throws -> Int64? {
        guard let wait = configuration.wait, !work.units.isEmpty else { return nil }
        var waiting = Set(work.units.map(\.slot))
        while !waiting.isEmpty {
            try Task.checkCancellation()
            do {
                if let offset = try await reconcile(work) { return offset }
                let nodes = Dictionary(grouping: waiting) { known?.master(of: $0)?.address }
                for case (let node?, let slots) in nodes {
                    guard let link = links[node], let placement = placements[node] else { continue }
                    var batch = RedisCommandBatch()
                    // WAIT waits for what its own connection has written: on a new one that has to be something.
                    CheckpointRecord.appendWrite(of: placement.last, key: placement.key, to: &batch)
                    batch.append("WAIT", "\(wait.replicas)", "\(wait.timeoutMilliseconds)")
                    let replies = try await cluster.send(batch, to: node, on: link.connection).replies
                    switch replies.last {
                    case .integer(let count)? where count >= wait.replicas:
                        waiting.subtract(slots)
                        backoff.reset()
                    case .integer(let count)?:
                        try await self.wait(
                            "\(count) of \(wait.replicas) replicas of \(node) have what was written")
                    case .error(let error)? where ErrorClass(error) == .record:
                        throw fatal(error, node)
                    default:
                        forget(node)
                    }
                }
            } catch let error as RedisClusterError {
                try await lost(error)
            } catch let error as RedisError {
                try await lost(error)
            }
        }
        return nil
    }
}

extension MarkerPlacement {
    /// Whether that is what was written last, or before it.
    fileprivate func holds(_ found: Checkpoint?) -> Bool {
        guard let found else { return false }
        return ([last] + pending).contains { known in
            known.epoch == found.epoch && known.confirmed == found.confirmed
                && known.written == found.written
        }
    }
}
