import Engine
import Logging
import RedisClient

/// What the cluster is now, and whether any data has gone back.
extension RedisClusterSink {
    /// Looks at every node with a new connection, and at every slot that is served by other data than it was written
    /// to: moved with its keys, or a replica's.
    ///
    /// Returns the offset to go back to where something has been lost.
    func reconcile(_ work: ClusterWork?) async throws -> Int64? {
        guard let context else { throw RedisSink.notStarted }
        var topology = try await cluster.currentTopology()
        if owedRewind == nil, topology == known, topology.masters.allSatisfy({ links[$0.address] != nil }) {
            return nil
        }
        try await inspectMasters(topology)
        var moves = await moves(topology)
        if moves.areUnclear {
            // One node's word about one slot: whoever has taken a node's place has all of its slots.
            topology = try await cluster.refreshTopology()
            try await inspectMasters(topology)
            moves = await self.moves(topology)
        }
        var losses = try await examine(moves, topology, context)
        losses.merge(await lostGuests()) { min($0, $1) }
        if !losses.isEmpty { goBack(losses, work) }
        try await doubtMemory()
        try await placeMarkers(topology)
        if topology != known { avoided = [] }
        know(topology)
        established.formUnion(links.values.map(\.history))
        defer { owedRewind = nil }
        return owedRewind
    }

    func know(_ topology: ClusterTopology) {
        known = topology
        masters = topology.masters.map(\.address)
        owners = [Int16](repeating: -1, count: HashSlot.count)
        for (index, master) in topology.masters.enumerated() {
            for slot in topology.slots(of: master) { owners[slot.number] = Int16(index) }
        }
    }

    /// Who was a master once and is one again may have other data on the same connection.
    private func inspectMasters(_ topology: ClusterTopology) async throws {
        let serving = Set(topology.masters.map(\.address))
        links = links.filter { serving.contains($0.key) }
        for master in topology.masters where links[master.address] == nil {
            let link = try await inspect(master.address)
            try await hear(master.address, link)
            links[master.address] = link
        }
    }

    /// Connects, ends what an earlier connection has left behind, and asks whose data the node has.
    func inspect(_ address: RedisEndpoint.Address) async throws -> NodeLink {
        let ghost = ghosts[address]
        let answer = try await cluster.send(NodeLink.question(ghost: ghost), to: address)
        if ghost != nil, case .error? = answer.replies.first {
            // Not permitted: what it had received is executed soon after the server answers again.
            try await Task.sleep(for: RedisClusterSink.ghostPause)
        }
        ghosts[address] = nil
        let replies = answer.replies.dropFirst(ghost == nil ? 0 : 1)
        for case .error(let error) in replies.dropFirst() where ErrorClass(error) == .record {
            throw fatal(error, address)
        }
        switch try NodeLink.read(replies, connection: answer.connection) {
        case .master(let link):
            holders[link.history] = address
            return link
        case .replica:
            try await cluster.refreshTopology()
            throw RedisClusterError(code: .readOnly, message: "is a replica", node: address)
        }
    }

    private static let ghostPause = Duration.milliseconds(500)

    /// The node's connection is to be looked at anew.
    func forget(_ node: RedisEndpoint.Address, hasUnanswered: Bool = false) {
        if let link = links.removeValue(forKey: node), hasUnanswered { ghosts[node] = link.client }
        known = nil
    }

    /// Slots that have another home than they had.
    struct Moves {
        struct Group {
            var node: ClusterTopology.Node
            var link: NodeLink
            /// Which have come with their data.
            var moved: [HashSlot] = []
            /// Which may have gone back.
            var unclear: [HashSlot] = []
        }

        var groups: [Group] = []
        var areUnclear: Bool { groups.contains { !$0.unclear.isEmpty } }
    }

    private func moves(_ topology: ClusterTopology) async -> Moves {
        var moves = Moves()
        for master in topology.masters {
            guard let link = links[master.address] else { continue }
            var group = Moves.Group(node: master, link: link)
            var known: [String: Bool] = [:]
            for slot in topology.slots(of: master) where homes[slot.number] != link.history {
                guard let history = homes[slot.number] else {
                    group.unclear.append(slot)
                    continue
                }
                let isMove: Bool
                if let answer = known[history] {
                    isMove = answer
                } else {
                    isMove = await hasMoved(from: history, to: link, at: master.address)
                    known[history] = isMove
                }
                if isMove { group.moved.append(slot) } else { group.unclear.append(slot) }
            }
            if !group.unclear.isEmpty {
                // Whatever has come may have been lost here.
                group.unclear += group.moved
                group.moved = []
            }
            if !group.moved.isEmpty || !group.unclear.isEmpty { moves.groups.append(group) }
        }
        return moves
    }

    /// Whether slots have come to a node with their keys: it has not taken the place of the node that had them, nor has
    /// anybody else, and that one still has its data, or has given its last slots away and follows the node since.
    private func hasMoved(from history: String, to link: NodeLink, at node: RedisEndpoint.Address) async
        -> Bool
    {
        guard !links.values.contains(where: { $0.predecessor == history }),
            let old = holders[history]
        else { return false }
        switch await look(at: old) {
        case .master(let now)?: return now.history == history
        case .replica(let master, let its)?:
            // Not by failovers that followed each other unseen: this one has been a master all the time.
            let isOld = established.contains(link.history) || link.predecessor.allSatisfy { $0 == "0" }
            return isOld && (its == link.history || master == "\(node)")
        case nil: return false
        }
    }

    /// `nil` where it does not tell.
    private func look(at node: RedisEndpoint.Address) async -> NodeLink.Finding? {
        guard let answer = try? await cluster.send(NodeLink.question(ghost: nil), to: node) else {
            return nil
        }
        return try? NodeLink.read(answer.replies[...], connection: answer.connection)
    }

    /// Finds out what is lost of slots that have another home than they had.
    ///
    /// Returns the offsets to go back to.
    private func examine(
        _ moves: Moves, _ topology: ClusterTopology, _ context: SinkContext
    ) async throws -> [HashSlot: Int64] {
        var losses: [HashSlot: Int64] = [:]
        var found: [HashSlot: StreamGuard.Basis?] = [:]
        var missesChanges = false
        for group in moves.groups {
            var records = ClusterRecords(place)
            if !group.unclear.isEmpty {
                // Its marker lies in any of its slots.
                try await records.read(
                    topology.slots(of: group.node), of: group.node, on: group.link.connection, cluster)
            } else if place.writesStreams {
                try await records.read(group.moved, of: group.node, on: group.link.connection, cluster)
            }
            for (_, record) in records.all where isForeign(record) { throw fenced(record) }
            let speakers = records.speakers(topology)
            func examine(_ slot: HashSlot, isMoved: Bool) throws(PipelineError) {
                let record = if let found = regressed[slot] { found } else { records.checkpoints[slot] }
                if place.writesStreams {
                    let known = checkpoints[slot]?.checkpoint
                    // One that was never written to has lost nothing.
                    if isSame(record, known), known != nil || homes[slot.number] != nil { return }
                    if let record, let known, record.epoch == epoch, record.sent > known.sent {
                        found[slot] = .init(checkpoint: record, resendBelow: record.sent)
                        return
                    }
                    found[slot] = .some(record.map { .init(checkpoint: $0, resendBelow: $0.sent) })
                } else if isMoved {
                    return
                }
                let marker = speakers[slot].map { records.markers[$0].marker.checkpoint }
                let spoken = [record, marker].compactMap { $0 }
                let claims =
                    spoken.isEmpty
                    ? [try claim(lost: nil, slot, context)]
                    : try spoken.map { record throws(PipelineError) in try claim(lost: record, slot, context)
                    }
                // Somebody else may have been further; we have not.
                losses[slot] = claims.map(\.checkpoint.confirmed).max().map { min($0, position(of: slot)) }
                missesChanges = missesChanges || claims.allSatisfy(\.missesChanges)
            }
            for slot in group.moved { try examine(slot, isMoved: true) }
            for slot in group.unclear { try examine(slot, isMoved: false) }
        }
        if missesChanges { try await askForSnapshot(context) }
        // From here on nothing can fail: what was found is remembered, or nothing of it.
        for (slot, basis) in found { checkpoints[slot] = basis }
        for group in moves.groups {
            placements[group.node.address]?.isStale = true
            for slot in group.moved + group.unclear {
                homes[slot.number] = group.link.history
                guests[slot]?[group.link.history] = nil
                regressed[slot] = nil
            }
        }
        if !losses.isEmpty { guardian.forget() }
        return losses
    }

    private func claim(
        lost record: Checkpoint?, _ slot: HashSlot, _ context: SinkContext
    ) throws(PipelineError) -> Claim {
        var known = basis(slot, context)
        known.logID = context.logID
        return try Claim(
            lost: record, known: known, context: context, configuration: configuration,
            key: checkpointKey(slot))
    }

    func isSame(_ one: Checkpoint?, _ other: Checkpoint?) -> Bool {
        one?.epoch == other?.epoch && one?.sent == other?.sent && one?.owner == other?.owner
    }

    /// Slots on their way, of which a part lay at a node that has lost its data or is gone.
    private func lostGuests() async -> [HashSlot: Int64] {
        guard !guests.isEmpty else { return [:] }
        guests = guests.filter { !$0.value.isEmpty }
        var areAlive = Dictionary(links.values.map { ($0.history, true) }) { first, _ in first }
        var lost: [HashSlot: Int64] = [:]
        for (slot, histories) in guests {
            for (history, guest) in histories {
                if areAlive[history] == nil {
                    let finding = await look(at: guest.node)
                    areAlive[history] =
                        if case .master(let now)? = finding { now.history == history } else { false }
                }
                guard areAlive[history] == false else { continue }
                lost[slot] = min(lost[slot] ?? guest.since, guest.since)
                guests[slot]?[history] = nil
            }
        }
        return lost
    }

    // MARK: Positions

    /// Before it everything is done in the slot.
    func position(of slot: HashSlot) -> Int64 { max(ahead?[slot.number] ?? 0, confirmed) }

    /// Before it everything is done in all of the slots.
    func position(of slots: SlotList) -> Int64 {
        guard let ahead else { return confirmed }
        return slots.ranges.reduce(Int64.max) { lowest, range in
            min(lowest, ahead[range].reduce(.max) { min($0, max($1, confirmed)) })
        }
    }

    /// Delivery is to go back for these slots; what the others have stays done.
    private func goBack(_ losses: [HashSlot: Int64], _ work: ClusterWork?) {
        // Of what has no units yet nothing was sent.
        let work = work.flatMap { $0.isPlanned ? $0 : nil }
        let unsettled = work?.unsettledSlots ?? []
        let done = work.map { $0.batch.isReplay ? confirmed : $0.batch.offsets.upperBound } ?? confirmed
        var positions = ahead ?? [Int64](repeating: 0, count: HashSlot.count)
        for slot in HashSlot.all {
            let reached = unsettled.contains(slot) ? confirmed : done
            // What was done of a batch that is to be told again for other slots counts once.
            let position = owedRewind == nil ? max(positions[slot.number], reached) : positions[slot.number]
            positions[slot.number] = min(losses[slot] ?? position, position)
        }
        let offset = min(confirmed, losses.values.min() ?? confirmed)
        if goesBackAsOne {
            // No marker may speak for what comes after it.
            for node in placements.keys { placements[node]?.isStale = true }
            stock = nil
            needsRestoring = true
        } else {
            ahead = positions
        }
        confirmed = offset
        owedRewind = min(owedRewind ?? offset, offset)
        logger.warning(
            "a node has lost what it had acknowledged",
            metadata: ["slots": "\(SlotList(losses.keys.sorted()).text)", "offset": "\(offset)"])
    }

    func askForSnapshot(_ context: SinkContext) async throws {
        if let snapshotAskedAt, context.startOffset <= snapshotAskedAt { return }
        let end = context.endOffset
        try await context.repeatSnapshot()
        snapshotAskedAt = end
    }
}
