import Engine
import Mapping
import RedisClient

/// What a node's replies say of the units that it was sent.
extension RedisClusterSink {
    func take(
        _ replies: [RESPValue], _ part: Part, _ work: inout ClusterWork, _ round: inout Round
    ) async throws {
        var start = try takeMarker(of: part, in: replies)
        let areKeys = !place.writesStreams && work.slotWrites.isEmpty
        var isAnyDone = false
        defer { if isAnyDone { backoff.reset() } }
        for (index, count) in part.units {
            if areKeys, !work.units[index].isAsking,
                isDone(replies[start..<start + count], fieldCount: work.fieldCount(index))
            {
                work.units[index].isOpen = false
                isAnyDone = true
                start += count
                continue
            }
            var own = replies[start..<start + count]
            start += count
            if work.units[index].isAsking { own = own.dropFirst() }
            if !work.slotWrites.isEmpty {
                try take(own, slotWrites: index, part, &work, &round)
            } else if let next = part.checkpoints[index] {
                try await take(own, transaction: next, index, part, &work, &round)
            } else {
                try take(own, index, part, &work, &round)
            }
        }
    }

    /// Returns the number of replies before those to the part's writes.
    func takeMarker(of part: Part, in replies: [RESPValue]) throws -> Int {
        guard replies.count == part.commands.count else {
            throw RedisError(code: .protocolViolation, message: "answers of another number")
        }
        guard part.marker != nil else { return 0 }
        try takeMarker(part.node, read: replies[0], written: replies[replies.count - 1])
        return 1
    }

    /// Whether a write of a key was answered without an error: one command, an update of a hash, or a transaction.
    func isDone(_ replies: ArraySlice<RESPValue>, fieldCount: @autoclosure () -> Int64?) -> Bool {
        guard let first = replies.first, first.isSuccess else { return false }
        switch replies.count {
        case 1: return true
        case CommandEncoder.updateCommands:
            guard case .integer(let count)? = replies.last else { return false }
            return count == fieldCount()
        default:
            guard case .array(let results)? = replies.last else { return false }
            return replies.allSatisfy(\.isSuccess) && results.allSatisfy(\.isSuccess)
        }
    }

    /// Replies to a write of a key.
    private func take(
        _ replies: ArraySlice<RESPValue>, _ index: Int, _ part: Part,
        _ work: inout ClusterWork, _ round: inout Round
    ) throws {
        let node = part.node
        let errors = replies.firstError
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
                guard let context else { throw RedisSink.notStarted }
                let streams = work.units[index].streams
                changes = try await guardian.filter(
                    changes, work.batch, .init(checkpoint: next, resendBelow: resendBelow),
                    context, ClusterKeyReader(cluster: cluster), isInTransaction: streams.contains)
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

    func isObstacle(
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

    func finish(_ index: Int, _ part: Part, _ work: inout ClusterWork) {
        work.units[index].isOpen = false
        backoff.reset()
        guard case .asking = work.units[index].target else { return }
        let slot = work.units[index].slot
        // A change that was held back lies before the batch.
        let first = min(work.batch.offsets.lowerBound, confirmed)
        let since = min(guests[slot]?[part.history]?.since ?? .max, first)
        guests[slot, default: [:]][part.history] = Guest(node: part.node, since: since)
    }

    func fail(
        _ part: Part, _ error: RedisClusterError, _ work: inout ClusterWork, _ round: inout Round
    ) {
        for (index, _) in part.units { work.units[index].target = .owner }
        fail(part, error, &round)
    }

    func fail(_ part: Part, _ error: RedisClusterError, _ round: inout Round) {
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

extension RESPValue {
    /// An answer to one command, and no error.
    var isSuccess: Bool {
        if case .error = self { false } else { true }
    }
}

extension ArraySlice<RESPValue> {
    /// Of a transaction the commands' own errors are in the answer to EXEC.
    var firstError: RedisServerError? {
        func first(_ values: some Sequence<RESPValue>) -> RedisServerError? {
            for case .error(let error) in values { return error }
            return nil
        }
        if let error = first(self) { return error }
        guard count > 1, case .array(let results)? = last else { return nil }
        return first(results)
    }
}
