import Engine
import Mapping
import RedisClient

/// One round of a batch: what is not done yet is sent, to all nodes at once.
extension RedisClusterSink {
    struct Round {
        /// Why it is not to be tried again at once.
        var cause: String?
        /// Something was sent elsewhere than it belongs.
        var isRedirected = false
    }

    /// Units for a node: its own, with its marker, or of slots on their way to it.
    private struct Share {
        var node: RedisEndpoint.Address
        var units: [Int]
        var hasMarker: Bool
    }

    /// One node's part of a round, as it was sent.
    private struct Part: Sendable {
        var node: RedisEndpoint.Address
        var commands = RedisCommandBatch()
        var link: ClusterConnectionID
        var history: String
        /// Units by index, each with the number of its replies; those after `ASKING` count it.
        var units: [(index: Int, replies: Int)] = []
        /// The marker that the last command writes; the first one reads it.
        var marker: Checkpoint?
        /// Of streams: what each unit writes.
        var checkpoints: [Int: Checkpoint] = [:]
    }

    /// - Parameter isForAll: also to nodes for which there is nothing but their marker.
    func send(
        _ work: inout ClusterWork, _ encoder: CommandEncoder, isForAll: Bool = false
    ) async throws -> Round {
        var round = Round()
        guard known != nil else { throw RedisSink.notStarted }
        var byMaster = [[Int]](repeating: [], count: masters.count)
        var byGuest: [RedisEndpoint.Address: [Int]] = [:]
        for (index, unit) in work.units.enumerated() where unit.isOpen {
            switch unit.target {
            case .asking(let address):
                do {
                    if links[address] == nil { links[address] = try await inspect(address) }
                    byGuest[address, default: []].append(index)
                } catch let error as RedisClusterError {
                    // It may be gone, or the move given up: the owner knows.
                    work.units[index].target = .owner
                    round.cause = "\(error)"
                }
            case .owner:
                let master = owners[unit.slot.number]
                if master >= 0 {
                    byMaster[Int(master)].append(index)
                } else {
                    round.cause = "nobody serves slot \(unit.slot)"
                    cluster.doubtTopology()
                }
            }
        }
        var shares = byGuest.map { Share(node: $0.key, units: $0.value, hasMarker: false) }
        for (node, units) in zip(masters, byMaster) where isForAll || !units.isEmpty {
            shares.append(Share(node: node, units: units, hasMarker: true))
        }
        // All are heard before any trouble is acted upon: whatever was executed is known then.
        var trouble: (any Error)?
        let answers = await answers(to: shares, work, encoder)
        work.isFresh = false
        for (part, result) in answers {
            switch result {
            case .success(let answer):
                do {
                    try await take(answer.replies, part, &work, &round)
                } catch {
                    if !(trouble is PipelineError) { trouble = error }
                }
            case .failure(let error): fail(part, error, &work, &round)
            }
        }
        if let trouble { throw trouble }
        return round
    }

    /// Each node's part goes out as soon as it is encoded.
    private func answers(
        to shares: [Share], _ work: ClusterWork,
        _ encoder: CommandEncoder
    ) async -> [(Part, Result<ClusterNodeReplies, RedisClusterError>)] {
        await withTaskGroup(of: (Part, Result<ClusterNodeReplies, RedisClusterError>).self) { group in
            for share in shares {
                guard
                    let part = part(
                        share.node, share.units, hasMarker: share.hasMarker, work, encoder)
                else { continue }
                group.addTask { [cluster] in
                    do throws(RedisClusterError) {
                        return (
                            part,
                            .success(try await cluster.send(part.commands, to: part.node, on: part.link))
                        )
                    } catch {
                        return (part, .failure(error))
                    }
                }
            }
            var answers: [(Part, Result<ClusterNodeReplies, RedisClusterError>)] = []
            for await answer in group { answers.append(answer) }
            return answers
        }
    }

    // MARK: Sending

    private func part(
        _ node: RedisEndpoint.Address, _ units: [Int], hasMarker: Bool, _ work: ClusterWork,
        _ encoder: CommandEncoder
    ) -> Part? {
        guard let context, let link = links[node] else { return nil }
        var part = Part(node: node, link: link.connection, history: link.history)
        if hasMarker, let placement = placements[node], !placement.isAway {
            Marker.appendRead(key: placement.key, to: &part.commands)
            part.marker = markerCheckpoint(node)
        }
        for index in units {
            let unit = work.units[index]
            let before = part.commands.count
            if case .asking = unit.target { part.commands.append("ASKING") }
            if unit.streams.isEmpty && !place.writesStreams {
                append(unit, work, encoder, to: &part.commands)
            } else {
                let next = next(unit.slot, work.batch, context)
                append(unit, work, next, encoder, to: &part.commands)
                part.checkpoints[index] = next
            }
            part.units.append((index, part.commands.count - before))
        }
        if let marker = part.marker, let placement = placements[node] {
            CheckpointRecord.appendWrite(of: marker, key: placement.key, to: &part.commands)
            placements[node]?.pending.append(marker)
        }
        return part
    }

    /// A write of a key.
    private func append(
        _ unit: ClusterWork.Unit, _ work: ClusterWork, _ encoder: CommandEncoder,
        to commands: inout RedisCommandBatch
    ) {
        guard let index = unit.writes.last else { return }
        let write = work.write(index)
        guard write.isTransaction else { return encoder.append(write, to: &commands) }
        if case .replaceHash(let key, let fields) = write, shapes.remember(key, fields),
            work.isFresh, unit.target == .owner
        {
            encoder.appendUpdate(ofHash: key, fields, to: &commands)
        } else {
            // The next write without a lifetime has to replace it, or it would go with this one.
            if case .expiring(.replaceHash(let key, _), _) = write { shapes.forget(key) }
            commands.append("MULTI")
            encoder.append(write, to: &commands)
            commands.append("EXEC")
        }
    }

    /// A slot's entries.
    private func append(
        _ unit: ClusterWork.Unit, _ work: ClusterWork, _ next: Checkpoint, _ encoder: CommandEncoder,
        to commands: inout RedisCommandBatch
    ) {
        let areExpected = unit.streams.allSatisfy(guardian.existing.contains)
        var entries: [SlotTransaction.Entry] = []
        entries.reserveCapacity(unit.writes.count)
        var last = -1
        for index in unit.writes where index.change != last {
            last = index.change
            encoder.forEachEntry(of: work.batch.changes[last], floor: next.floor) { key, id, fields in
                guard unit.streams.contains(key) else { return }
                entries.append(
                    .init(
                        key: key, id: id, fields: fields,
                        isExpected: areExpected || guardian.existing.contains(key)))
            }
        }
        let replayed = encoder.placements?.record { HashSlot(of: $0) == unit.slot }
        SlotTransaction.append(
            entries, expected: checkpoints[unit.slot]?.checkpoint, next: next, replayed: replayed,
            key: checkpointKey(unit.slot), encoder: encoder, to: &commands)
    }

    private func next(_ slot: HashSlot, _ batch: MappedBatch, _ context: SinkContext) -> Checkpoint {
        var next = basis(slot, context)
        next.epoch = epoch
        next.logID = context.logID
        next.sent = max(next.sent, batch.offsets.upperBound)
        next.confirmed = max(next.confirmed, confirmed)
        next.generation = max(next.generation, batch.generation)
        next.settled = max(next.settled, batch.settled)
        next.owner = configuration.owner
        next.written = wallClockMilliseconds()
        return next
    }

    // MARK: Taking replies

    private func take(
        _ replies: [RESPValue], _ part: Part, _ work: inout ClusterWork, _ round: inout Round
    ) async throws {
        guard replies.count == part.commands.count else {
            throw RedisError(code: .protocolViolation, message: "answers of another number")
        }
        var start = 0
        if part.marker != nil {
            try takeMarker(part.node, read: replies[0], written: replies[replies.count - 1])
            start = 1
        }
        for (index, count) in part.units {
            var own = replies[start..<start + count]
            start += count
            if case .asking = work.units[index].target { own = own.dropFirst() }
            if let next = part.checkpoints[index] {
                try await take(own, transaction: next, index, part, &work, &round)
            } else {
                try take(own, index, part, &work, &round)
            }
        }
    }

    /// Replies to a write of a key.
    private func take(
        _ replies: ArraySlice<RESPValue>, _ index: Int, _ part: Part,
        _ work: inout ClusterWork, _ round: inout Round
    ) throws {
        let node = part.node
        // Of a transaction the commands' own errors are in the answer to EXEC.
        var errors = replies.lazy.compactMap { if case .error(let error) = $0 { error } else { nil } }.first
        if errors == nil, case .array(let results)? = replies.last, replies.count > 1 {
            errors = results.lazy.compactMap { if case .error(let error) = $0 { error } else { nil } }.first
        }
        let isUpdate = replies.count == CommandEncoder.updateCommands
        if errors == nil, isUpdate, replies.last?.int != work.fieldCount(index) {
            // Somebody else has given it another field, or it has gone back: it is replaced as a whole.
            round.isRedirected = true
            return
        }
        guard let error = errors else { return finish(index, part, &work) }
        if isObstacle(replies, index, node, &work, &round) { return }
        switch ErrorClass(error) {
        case .passing: round.cause = round.cause ?? error.message
        case .reconnect: throw RedisError(code: .server(error), message: error.message)
        case .cluster: throw fatal(error, node)
        case .record where isUpdate:
            // A key of another type: it is replaced.
            round.isRedirected = true
        case .record:
            // EXEC repeats what a command was refused for.
            work.refuse(index, error)
        }
    }

    /// The replies to a slot's transaction.
    private func take(
        _ replies: ArraySlice<RESPValue>, transaction next: Checkpoint, _ index: Int, _ part: Part,
        _ work: inout ClusterWork, _ round: inout Round
    ) async throws {
        let node = part.node
        let slot = work.units[index].slot
        switch try SlotTransaction.outcome(replies, key: checkpointKey(slot)) {
        case .executed(let found, let errors, let absent):
            guard try continues(slot, found) else {
                round.isRedirected = true
                return
            }
            let resendBelow = checkpoints[slot]?.resendBelow ?? 0
            // Should what follows fail, this is sent again, and finds its entries.
            checkpoints[slot] = .init(checkpoint: next, resendBelow: next.sent)
            note(work, index, errors, absent: absent)
            guard absent.isEmpty else {
                // Somebody has removed the stream: it is made anew.
                round.isRedirected = true
                return
            }
            var changes: [Int: RedisServerError] = [:]
            for (number, error) in errors where work.units[index].writes.indices.contains(number) {
                changes.note(error, for: work.units[index].writes[number].change)
            }
            if !changes.isEmpty {
                let streams = work.units[index].streams
                changes = try await guardian.filter(
                    changes, work.batch, .init(checkpoint: next, resendBelow: resendBelow),
                    ClusterKeyReader(cluster: cluster), isInTransaction: streams.contains)
            }
            for (change, error) in changes { work.refuse(change, in: slot, error) }
            finish(index, part, &work)
        case .notAccepted(let errors):
            if isObstacle(replies, index, node, &work, &round) { return }
            work.refuse(errors, of: index)
            round.isRedirected = true
        case .refused(let error):
            if isObstacle(replies, index, node, &work, &round) { return }
            switch ErrorClass(error) {
            case .passing: round.cause = round.cause ?? error.message
            case .reconnect: throw RedisError(code: .server(error), message: error.message)
            case .record, .cluster: throw fatal(error, node)
            }
        case .malformed:
            throw RedisError(code: .protocolViolation, message: "answers to a transaction of another form")
        }
    }

    /// Which of a unit's streams exist.
    private func note(_ work: ClusterWork, _ index: Int, _ errors: [Int: RedisServerError], absent: [Int]) {
        let unit = work.units[index]
        func stream(_ number: Int) -> Bytes? {
            unit.writes.indices.contains(number) ? work.write(unit.writes[number]).key : nil
        }
        for number in absent { if let key = stream(number) { guardian.note(key, exists: false) } }
        guard absent.isEmpty, !unit.streams.allSatisfy(guardian.existing.contains) else { return }
        for number in unit.writes.indices where errors[number] == nil {
            if let key = stream(number) { guardian.note(key, exists: true) }
        }
    }

    /// Whether a transaction was executed on the checkpoint that it builds on, or on what an earlier attempt has made
    /// of it. Else something is lost, or somebody whom we have taken the sink from has written late.
    private func continues(_ slot: HashSlot, _ found: Checkpoint?) throws(PipelineError) -> Bool {
        let expected = checkpoints[slot]?.checkpoint
        if isSame(found, expected) { return true }
        if let found, isForeign(found) { throw fenced(found) }
        if let found, found.epoch == epoch, found.owner == configuration.owner,
            found.sent > expected?.sent ?? -1
        {
            checkpoints[slot] = .init(checkpoint: found, resendBelow: found.sent)
            return true
        }
        regressed[slot] = .some(found)
        homes[slot.number] = nil
        known = nil
        return false
    }

    private func isObstacle(
        _ replies: ArraySlice<RESPValue>, _ index: Int, _ node: RedisEndpoint.Address,
        _ work: inout ClusterWork, _ round: inout Round
    ) -> Bool {
        let slot = work.units[index].slot
        guard let error = cluster.obstacle(in: replies, slot: slot, node: node), error.code != .crossSlot
        else {
            return false
        }
        work.units[index].target = .owner
        switch error.code {
        case .moved:
            round.isRedirected = true
        case .ask(let address):
            work.units[index].target = .asking(address)
            round.isRedirected = true
        default:
            round.cause = round.cause ?? error.message
        }
        return true
    }

    private func finish(_ index: Int, _ part: Part, _ work: inout ClusterWork) {
        work.units[index].isOpen = false
        backoff.reset()
        guard case .asking = work.units[index].target else { return }
        let slot = work.units[index].slot
        let since = min(guests[slot]?[part.history]?.since ?? .max, work.batch.offsets.lowerBound)
        guests[slot, default: [:]][part.history] = Guest(node: part.node, since: since)
    }

    private func fail(
        _ part: Part, _ error: RedisClusterError, _ work: inout ClusterWork, _ round: inout Round
    ) {
        for (index, _) in part.units { work.units[index].target = .owner }
        forget(part.node, hasUnanswered: error.code.leavesCommandsBehind)
        if error.code == .connectionChanged {
            round.isRedirected = true
        } else {
            round.cause = round.cause ?? "\(error)"
        }
    }
}

extension RedisClusterError.Code {
    /// Whether the server may still execute what it was sent.
    var leavesCommandsBehind: Bool {
        switch self {
        case .connectionLost, .timeout, .cancelled: true
        default: false
        }
    }
}
