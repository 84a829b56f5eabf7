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
    struct Part: Sendable {
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
        let owners = owners
        for index in work.units.indices where work.units[index].isOpen {
            switch work.units[index].target {
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
                let slot = work.units[index].slot
                let master = owners[slot.number]
                if master >= 0 {
                    byMaster[Int(master)].append(index)
                } else {
                    round.cause = "nobody serves slot \(slot)"
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
        let answers = await answers(to: shares) { part($0, work, encoder) }
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

    /// What a node has answered to its part.
    typealias Answer = (Part, Result<ClusterNodeReplies, RedisClusterError>)

    /// Each node's part goes out as soon as it is encoded.
    func answers<Share>(to shares: some Sequence<Share>, _ encode: (Share) -> Part?) async -> [Answer] {
        await withTaskGroup(of: Answer.self) { group in
            for share in shares {
                guard let part = encode(share) else { continue }
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
            var answers: [Answer] = []
            for await answer in group { answers.append(answer) }
            return answers
        }
    }

    // MARK: Sending

    private func part(_ share: Share, _ work: ClusterWork, _ encoder: CommandEncoder) -> Part? {
        guard let context, var part = begin(share.node, hasMarker: share.hasMarker) else { return nil }
        part.units.reserveCapacity(share.units.count)
        for index in share.units {
            let before = part.commands.count
            if work.units[index].isAsking { part.commands.append("ASKING") }
            if place.writesStreams {
                let unit = work.units[index]
                let next = next(unit.slot, work.batch, context)
                append(unit, work, next, encoder, to: &part.commands)
                part.checkpoints[index] = next
            } else if !work.slotWrites.isEmpty {
                part.commands.append(contentsOf: work.slotWrites[index].commands)
            } else if let write = work.units[index].writes.last {
                let isPlain = work.isFresh && !work.units[index].isAsking
                append(work.write(write), mayUpdate: isPlain, encoder, &shapes, to: &part.commands)
            }
            part.units.append((index, part.commands.count - before))
        }
        end(&part)
        return part
    }

    /// A part with nothing in it yet but the look at the node's marker.
    func begin(_ node: RedisEndpoint.Address, hasMarker: Bool) -> Part? {
        guard let link = links[node] else { return nil }
        var part = Part(node: node, link: link.connection, history: link.history)
        if hasMarker, let placement = placements[node], !placement.isAway {
            Marker.appendRead(key: placement.key, to: &part.commands)
            part.marker = markerCheckpoint(node)
        }
        return part
    }

    /// The marker's new value comes last.
    func end(_ part: inout Part) {
        guard let marker = part.marker, let placement = placements[part.node] else { return }
        CheckpointRecord.appendWrite(of: marker, key: placement.key, to: &part.commands)
        placements[part.node]?.pending.append(marker)
    }

    /// A write of a key.
    ///
    /// - Parameter mayUpdate: a hash that is known to have these fields may be given their values alone.
    func append(
        _ write: SinkWrite, mayUpdate: Bool, _ encoder: CommandEncoder, _ shapes: inout HashShapes,
        to commands: inout RedisCommandBatch
    ) {
        guard write.isTransaction else { return encoder.append(write, to: &commands) }
        if case .replaceHash(let key, let fields) = write, shapes.remember(key, fields), mayUpdate {
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
        let replayed = encoder.placements?.record { HashSlot(of: $0) == unit.slot }
        SlotTransaction.append(
            expected: checkpoints[unit.slot]?.checkpoint, next: next, replayed: replayed,
            key: checkpointKey(unit.slot), to: &commands
        ) { commands in
            var last = -1
            for index in unit.writes where index.change != last {
                last = index.change
                // By index: a copy of a change retains each of its parts. Most have one entry.
                if work.batch.changes[last].writes.count == 1,
                    case .streamAdd(let key, let fields) = work.batch.changes[last].writes[0]
                {
                    let id = encoder.id(of: work.batch.changes[last], floor: next.floor, key: key, entry: 0)
                    encoder.append(
                        key, id, fields, mustExist: areExpected || guardian.existing.contains(key),
                        to: &commands)
                    continue
                }
                encoder.forEachEntry(of: work.batch.changes[last], floor: next.floor) { key, id, fields in
                    guard unit.streams.contains(key) else { return }
                    encoder.append(
                        key, id, fields, mustExist: areExpected || guardian.existing.contains(key),
                        to: &commands)
                }
            }
        }
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
}
