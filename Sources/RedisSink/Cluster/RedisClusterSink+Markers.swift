import ChangeModel
import Engine
import RedisClient

/// Where a node's marker lies.
struct MarkerPlacement {
    var key: String
    var slot: HashSlot
    var slots: SlotList
    /// The node's id.
    var node: String
    /// What it is known to hold.
    var last: Checkpoint
    /// What was sent since; it may have arrived or not.
    var pending: [Checkpoint] = []
    /// It has to be written anew, whole.
    var isStale = false
    /// Every slot of the node is on its way to another one, and the marker cannot be written. What it said last holds.
    var isAway = false
}

/// Markers: placed where slots have come or gone, written with everything that is written to their node.
extension RedisClusterSink {
    /// Gives each node a marker that speaks for exactly its slots.
    ///
    /// Nodes that have won slots come first, and no marker is written over another node's before that one has a new
    /// place: so at no time does nobody speak for a slot.
    func placeMarkers(_ topology: ClusterTopology) async throws {
        var lists: [RedisEndpoint.Address: [HashSlot]] = [:]
        for slot in HashSlot.all {
            if let owner = topology.master(of: slot) { lists[owner.address, default: []].append(slot) }
        }
        let stale = Set(placements.values.map(\.key))
        let nodes = topology.masters.sorted { left, right in
            gain(lists[left.address]?.count ?? 0, left) > gain(lists[right.address]?.count ?? 0, right)
        }
        var waiting: [ClusterTopology.Node] = []
        for node in nodes {
            if try await !placeMarker(node, lists[node.address] ?? []) { waiting.append(node) }
        }
        placements = placements.filter { lists[$0.key] != nil }
        for node in waiting {
            let slots = lists[node.address] ?? []
            if try await !placeMarker(node, slots) { setAway(node, slots) }
        }
        await remove(stale)
    }

    /// Removes markers that are nobody's any more.
    func remove(_ keys: Set<String>) async {
        for key in keys.subtracting(placements.values.map(\.key)) {
            _ = try? await cluster.send(
                "UNLINK", key, key: key, deadline: .now + RedisClusterSink.lookInterval)
        }
    }

    private func gain(_ count: Int, _ node: ClusterTopology.Node) -> Int {
        count - (placements[node.address]?.slots.count ?? 0)
    }

    /// Returns false where no slot of the node can be written to, or only over another node's marker.
    private func placeMarker(_ node: ClusterTopology.Node, _ slots: [HashSlot]) async throws -> Bool {
        guard let link = links[node.address] else { return true }
        let list = SlotList(slots)
        if let placement = placements[node.address], placement.slots == list, placement.node == node.id ?? "",
            !placement.isStale, !placement.isAway, !avoided.contains(placement.slot)
        {
            return true
        }
        let taken = Set(placements.filter { $0.key != node.address }.values.map(\.slot))
        // A resharding takes a node's first slots.
        for slot in slots.reversed() where !avoided.contains(slot) && !taken.contains(slot) {
            let key = Marker.key(pipeline: place.pipeline, sink: place.sink, slot: slot)
            let checkpoint = markerCheckpoint(list)
            var batch = RedisCommandBatch()
            Marker.appendRead(key: key, to: &batch)
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
            for case .error(let error) in replies {
                guard ErrorClass(error) != .record else { throw fatal(error, node.address) }
                throw RedisError(code: .server(error), message: error.message)
            }
            if let found = try replies.first.flatMap({ try Marker.parse($0, key: key) }),
                isForeign(found.checkpoint)
            {
                throw fenced(found.checkpoint)
            }
            placements[node.address] = MarkerPlacement(
                key: key, slot: slot, slots: list, node: node.id ?? "", last: checkpoint)
            return true
        }
        return false
    }

    /// `refresh` has it tried again.
    private func setAway(_ node: ClusterTopology.Node, _ slots: [HashSlot]) {
        avoided.subtract(slots)
        if placements[node.address] == nil, let slot = slots.last {
            let list = SlotList(slots)
            placements[node.address] = MarkerPlacement(
                key: Marker.key(pipeline: place.pipeline, sink: place.sink, slot: slot), slot: slot,
                slots: list,
                node: node.id ?? "", last: markerCheckpoint(list))
        }
        placements[node.address]?.isAway = true
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
            MappedBatch(offsets: confirmed..<confirmed, changes: [], settled: .none, generation: generation))
        lastMarked = .now
        let round = try await send(&none, CommandEncoder(), isForAll: true)
        if let cause = round.cause { return try await wait(cause) }
        backoff.reset()
        context?.trouble.passed()
    }

    /// What a node's marker held before a round, and the answer to writing it.
    func takeMarker(
        _ node: RedisEndpoint.Address, read: RESPValue, written: RESPValue
    ) throws {
        guard let placement = placements[node] else { return }
        let obstacle = cluster.obstacle(in: [read, written], slot: placement.slot, node: node)
        if obstacle != nil || read.isError || written.isError {
            // What an error answers was not written.
            placements[node]?.pending.removeLast()
        }
        switch obstacle?.code {
        case nil: break
        case .ask?, .tryAgain?:
            avoided.insert(placement.slot)
            known = nil
            return
        default:
            known = nil
            return
        }
        for case .error(let error) in [read, written] {
            switch ErrorClass(error) {
            case .passing: return
            case .reconnect: return forget(node)
            case .record, .cluster: throw fatal(error, node)
            }
        }
        try compare(placement, of: node, with: read)
        placements[node]?.last = placement.pending.last ?? placement.last
        placements[node]?.pending = []
    }

    /// On a new connection: whoever has taken the sink meanwhile has written it there, or has removed our marker.
    func hear(_ node: RedisEndpoint.Address, _ link: NodeLink) async throws {
        guard let placement = placements[node] else { return }
        var batch = RedisCommandBatch()
        Marker.appendRead(key: placement.key, to: &batch)
        let replies = try await cluster.send(batch, to: node, on: link.connection).replies
        guard let reply = replies.first,
            cluster.obstacle(in: replies, slot: placement.slot, node: node) == nil
        else { return }
        if case .error(let error) = reply {
            guard ErrorClass(error) != .record else { throw fatal(error, node) }
            throw RedisError(code: .server(error), message: error.message)
        }
        try compare(placement, of: node, with: reply)
    }

    private func compare(
        _ placement: MarkerPlacement, of node: RedisEndpoint.Address, with read: RESPValue
    ) throws(PipelineError) {
        let found = try Marker.parse(read, key: placement.key)
        if let found, isForeign(found.checkpoint) { throw fenced(found.checkpoint) }
        guard !placement.holds(found) else { return }
        // The data has gone back, and the connection has not noticed; or it was emptied.
        for slot in placement.slots.slots { homes[slot.number] = nil }
        placements[node]?.isStale = true
        known = nil
    }

    /// `WAIT`, until enough replicas of each node have what the batch has written.
    ///
    /// Returns the offset to go back to where a failover has lost it.
    func replicate(_ work: ClusterWork) async throws -> Int64? {
        guard configuration.wait != nil, !work.units.isEmpty else { return nil }
        return try await replicate(Set(work.units.map(\.slot)), work)
    }

    /// - Parameter work: what is under way, where slots go back alone.
    func replicate(_ slots: Set<HashSlot>, _ work: ClusterWork? = nil) async throws -> Int64? {
        guard let wait = configuration.wait else { return nil }
        var waiting = slots
        while !waiting.isEmpty {
            try Task.checkCancellation()
            do {
                if let offset = try await reconcile(work) { return offset }
                let nodes = Dictionary(grouping: waiting) { known?.master(of: $0)?.address }
                for (node, slots) in nodes {
                    guard let node, let link = links[node], let placement = placements[node],
                        !placement.isAway, let marker = markerCheckpoint(node)
                    else {
                        cluster.doubtTopology()
                        try await self.wait("nobody speaks for slot \(slots[0])")
                        continue
                    }
                    var batch = RedisCommandBatch()
                    // WAIT waits for what its own connection has written: on a new one that has to be something.
                    Marker.appendRead(key: placement.key, to: &batch)
                    CheckpointRecord.appendWrite(of: marker, key: placement.key, to: &batch)
                    batch.append("WAIT", "\(wait.replicas)", "\(wait.timeoutMilliseconds)")
                    placements[node]?.pending.append(marker)
                    let replies = try await cluster.send(batch, to: node, on: link.connection).replies
                    guard replies.count == 3 else {
                        throw RedisError(code: .protocolViolation, message: "answers of another number")
                    }
                    try takeMarker(node, read: replies[0], written: replies[1])
                    guard known != nil else { continue }
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
    fileprivate func holds(_ found: Marker?) -> Bool {
        guard let found, found.slots == slots, found.node == node else { return false }
        return ([last] + pending).contains { known in
            known.epoch == found.checkpoint.epoch && known.confirmed == found.checkpoint.confirmed
                && known.written == found.checkpoint.written
        }
    }
}

extension RESPValue {
    fileprivate var isError: Bool { if case .error = self { true } else { false } }
}
