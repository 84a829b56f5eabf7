import ChangeModel
import Engine
import Logging
import RedisClient

/// Taking the sink: where each slot goes on, decided from what the cluster holds.
extension RedisClusterSink {
    /// Reads every slot, takes the next epoch everywhere and returns the offset at which delivery begins.
    func claim(_ context: SinkContext) async throws -> Int64 {
        let topology = try await cluster.currentTopology()
        let records = try await readAll(topology)
        var claims: [HashSlot: Claim] = [:]
        for (slot, record) in records.checkpoints {
            claims[slot] = try claim(record, checkpointKey(slot), context)
        }
        let markers = try records.markers.map { try claim($0.marker.checkpoint, $0.key, context) }
        let all = Array(claims.values) + markers
        for message in Set(all.compactMap(\.message)).sorted() { logger.warning("\(message)") }

        epoch = (records.all.map(\.checkpoint.epoch).max() ?? 0) + 1
        generation = context.generation
        settled = all.map(\.checkpoint.settled).min() ?? .none
        floor = all.map(\.checkpoint.floor).max() ?? 0
        if let above = all.compactMap(\.generationAbove).max() {
            // Attempts share one: generations are few.
            let taken = takenGeneration.flatMap { $0 > above ? $0 : nil }
            let started = if let taken { taken } else { try await context.startGeneration(above) }
            takenGeneration = started
            floor = max(floor, started)
        }

        let isNew = records.isEmpty
        let missing: Int64
        var missesChanges = false
        if isNew {
            let policy = try Claim(
                nil, context: context, configuration: configuration, key: checkpointKey(firstSlot))
            missing = policy.checkpoint.confirmed
            missesChanges = policy.missesChanges
        } else if configuration.onMissingCheckpoint == .latest {
            // What came before the first start was not asked for, and nobody knows better where that was.
            missing = all.map(\.checkpoint.confirmed).min() ?? context.startOffset
        } else {
            // A sink that has been delivered to has lost what nobody speaks for.
            missing = context.startOffset
        }
        let speakers = records.speakers(topology)
        var positions = [Int64](repeating: missing, count: HashSlot.count)
        for slot in HashSlot.all where topology.master(of: slot) != nil {
            let spoken = [claims[slot], speakers[slot].map { markers[$0] }].compactMap { $0 }
            if let highest = spoken.map(\.checkpoint.confirmed).max() {
                positions[slot.number] = highest
                missesChanges = missesChanges || spoken.allSatisfy(\.missesChanges)
            } else if !isNew {
                if configuration.onMissingCheckpoint == .stop { throw Claim.missing(checkpointKey(slot)) }
                missesChanges = missesChanges || context.startOffset > 0
            }
        }
        if missesChanges { try await askForSnapshot(context) }
        confirmed = positions.min() ?? missing
        ahead = !goesBackAsOne && positions.contains { $0 != confirmed } ? positions : nil
        stock = nil
        proven = nil
        needsRestoring = HashSlot.all.contains { speakers[$0] == nil && topology.master(of: $0) != nil }

        try await take(records, claims, topology, context)
        known = nil
        try await doubtMemory()
        try await placeMarkers(topology)
        know(topology)
        established = Set(links.values.map(\.history))
        await remove(Set(records.markers.map(\.key)))
        await warnAboutEviction(topology)
        try await endPredecessors(records, context)
        return confirmed
    }

    /// Names a checkpoint in messages where there is none.
    private var firstSlot: HashSlot { HashSlot(of: "") }

    private func claim(_ record: Checkpoint, _ key: String, _ context: SinkContext) throws(PipelineError)
        -> Claim
    {
        try Claim(record, context: context, configuration: configuration, key: key)
    }

    private func readAll(_ topology: ClusterTopology) async throws -> ClusterRecords {
        var records = ClusterRecords(place)
        for master in topology.masters {
            let link = try await inspect(master.address)
            links[master.address] = link
            let slots = topology.slots(of: master)
            try await records.read(slots, of: master, on: link.connection, cluster)
            for slot in slots { homes[slot.number] = link.history }
        }
        return records
    }

    /// Writes our epoch into every slot's checkpoint: an earlier process ends when it sees it.
    private func take(
        _ records: ClusterRecords, _ claims: [HashSlot: Claim], _ topology: ClusterTopology,
        _ context: SinkContext
    ) async throws {
        checkpoints = [:]
        for master in topology.masters {
            guard let link = links[master.address] else { continue }
            var batch = RedisCommandBatch()
            var taken: [(slot: HashSlot, checkpoint: Checkpoint, commands: Range<Int>)] = []
            for slot in topology.slots(of: master) {
                guard let found = records.checkpoints[slot], var next = claims[slot]?.checkpoint else {
                    continue
                }
                next.epoch = epoch
                next.floor = max(next.floor, found.logID == context.logID ? 0 : floor)
                let before = batch.count
                SlotTransaction.append(
                    expected: found, next: next, key: checkpointKey(slot), to: &batch)
                taken.append((slot, next, before..<batch.count))
            }
            let replies = try await cluster.send(batch, to: master.address, on: link.connection).replies
            guard replies.count == batch.count else {
                throw RedisError(code: .protocolViolation, message: "answers of another number")
            }
            for (slot, checkpoint, range) in taken {
                let own = replies[range]
                if let obstacle = cluster.obstacle(in: own, slot: slot, node: master.address) {
                    throw obstacle
                }
                switch try SlotTransaction.outcome(own, key: checkpointKey(slot)) {
                case .executed(let found, _, _) where isSame(found, records.checkpoints[slot]):
                    checkpoints[slot] = .init(checkpoint: checkpoint, resendBelow: checkpoint.sent)
                case .executed, .notAccepted:
                    throw RedisClusterError(
                        code: .tryAgain, message: "somebody else writes \(checkpointKey(slot))",
                        node: master.address)
                case .refused(let error):
                    guard ErrorClass(error) != .record else { throw fatal(error, master.address) }
                    throw RedisError(code: .server(error), message: error.message)
                case .malformed:
                    throw RedisError(
                        code: .protocolViolation, message: "answers to a transaction of another form")
                }
            }
        }
    }

    /// The fence. Whoever had the sink reads a marker before it writes on a new connection, and finds our epoch there;
    /// on the connections that it has, nothing is executed any more once they are ended.
    ///
    /// Where that is not permitted, another host is given time to notice. What it writes until then into streams is what
    /// we would write; into keys it lies behind our position, and is written over.
    private func endPredecessors(_ records: ClusterRecords, _ context: SinkContext) async throws {
        var areEnded = true
        for address in links.keys { areEnded = try await endConnections(at: address) && areEnded }
        guard !areEnded, !place.writesStreams else { return }
        let mine = RedisClusterSink.host(configuration.owner)
        let others = records.all.map(\.checkpoint).filter {
            $0.logID != context.logID || RedisClusterSink.host($0.owner) != mine
        }
        guard let other = others.first else { return }
        logger.warning(
            "the sink was another host's or log's, and its connections may not be ended: waiting until it must have noticed",
            metadata: ["owner": "\(other.owner)", "wait": "\(configuration.takeOverPause)"])
        try await Task.sleep(for: configuration.takeOverPause)
        // It may have written over our markers.
        for node in placements.keys { placements[node]?.isStale = true }
        known = nil
    }

    /// Ends all connections of this sink but ours; false where that is not permitted.
    private func endConnections(at node: RedisEndpoint.Address) async throws -> Bool {
        guard let link = links[node], let name = configuration.redis.clientName, let own = link.client else {
            return false
        }
        var list = RedisCommandBatch()
        list.append("CLIENT", "LIST", "TYPE", "normal")
        let answer = try await cluster.send(list, to: node, on: link.connection).replies.first
        guard let lines = answer?.string?.split(whereSeparator: \.isNewline) else { return false }
        var kills = RedisCommandBatch()
        for line in lines {
            let words = line.split(separator: " ")
            guard words.contains("name=\(name)"), let id = NodeLink.client(words), id != own else { continue }
            NodeLink.appendKill(id, to: &kills)
        }
        let answers = try await cluster.send(kills, to: node, on: link.connection).replies
        return !answers.contains { if case .error = $0 { true } else { false } }
    }

    private static func host(_ owner: String) -> Substring {
        owner.firstRange(of: " process ").map { owner[..<$0.lowerBound] } ?? owner[...]
    }

    private func warnAboutEviction(_ topology: ClusterTopology) async {
        for master in topology.masters {
            guard let answer = try? await cluster.send(EvictionWarning.question, to: master.address) else {
                continue
            }
            EvictionWarning.give(answer.replies, server: "\(master.address)", logger)
        }
    }

    // MARK: What ends the sink

    func isForeign(_ found: Checkpoint) -> Bool {
        configuration.isFenced
            && (found.epoch > epoch || found.epoch == epoch && found.owner != configuration.owner)
    }

    func fenced(_ found: Checkpoint) -> PipelineError {
        .failed(
            "sink \(configuration.sink): \(found.owner) has taken it over (epoch \(found.epoch)); "
                + "one pipeline of a name may write")
    }

    func fatal(_ error: RedisServerError, _ node: RedisEndpoint.Address) -> PipelineError {
        .unavailable("\(node) refuses what sink \(configuration.sink) needs: \(error.message)")
    }
}
