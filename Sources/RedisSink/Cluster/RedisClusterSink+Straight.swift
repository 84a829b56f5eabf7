import Engine
import Mapping
import RedisClient

/// The first time that a batch of keys is sent: each write goes to its node as it comes.
///
/// Most batches are done with it. Only where something was not done does it matter which writes are of the same thing,
/// and units are made for the rounds that follow: one of which a later write was done counts as done.
extension RedisClusterSink {
    /// Whether nothing speaks against it: all of the batch has to be written, and nobody waits for its slots.
    func goesStraight(_ batch: MappedBatch) -> Bool {
        !place.writesStreams && ahead == nil && !batch.isReplay && configuration.wait == nil
    }

    /// What has come of it where something was not done.
    private struct Rest {
        var undone: Set<ClusterWork.WriteIndex> = []
        var refused: [ClusterWork.WriteIndex: RedisServerError] = [:]

        mutating func add(_ writes: [Sent]) { undone.formUnion(writes.lazy.map(\.write)) }
    }

    /// A write for a node, and what its replies are to be.
    private struct Sent {
        let write: ClusterWork.WriteIndex
        var replies: Int32 = 0
        /// Of an update: what `HLEN` answers.
        var fieldCount: Int32 = -1
    }

    private struct Straight {
        var node: RedisEndpoint.Address
        var writes: [Sent] = []
    }

    /// - Parameter isForAll: also to nodes for which there is nothing but their marker.
    func sendStraight(
        _ work: inout ClusterWork, _ encoder: CommandEncoder, isForAll: Bool
    ) async throws -> Round {
        var round = Round()
        guard known != nil else { throw RedisSink.notStarted }
        var rest = Rest()
        var straights = split(work.batch, &rest, &round)
        for straight in straights where links[straight.node] == nil { rest.add(straight.writes) }
        straights.removeAll { links[$0.node] == nil || (!isForAll && $0.writes.isEmpty) }
        var trouble: (any Error)?
        let answers = await answers(to: straights.indices) { encode(&straights[$0], work, encoder) }
        for (part, result) in answers {
            guard let straight = straights.first(where: { $0.node == part.node }) else { continue }
            do {
                switch result {
                case .success(let answer): try take(answer.replies, part, straight, &rest)
                case .failure(let error):
                    fail(part, error, &round)
                    rest.add(straight.writes)
                }
            } catch {
                rest.add(straight.writes)
                if !(trouble is PipelineError) { trouble = error }
            }
        }
        work.plan(undone: rest.undone, refused: rest.refused)
        if let trouble { throw trouble }
        return round
    }

    /// By master what is to be written to it.
    private func split(
        _ batch: MappedBatch, _ rest: inout Rest, _ round: inout Round
    ) -> [Straight] {
        var straights = masters.map { Straight(node: $0) }
        let share = batch.changes.count / max(masters.count, 1) * 5 / 4
        for index in straights.indices { straights[index].writes.reserveCapacity(share) }
        // By index: a copy of a change retains each of its parts.
        for change in batch.changes.indices {
            for write in batch.changes[change].writes.indices {
                guard let key = batch.changes[change].writes[write].key else { continue }
                let slot = HashSlot(of: key)
                let master = Int(owners[slot.number])
                let index = ClusterWork.WriteIndex(change: change, write: write)
                if straights.indices.contains(master) {
                    straights[master].writes.append(Sent(write: index))
                } else {
                    rest.undone.insert(index)
                    round.cause = "nobody serves slot \(slot)"
                    cluster.doubtTopology()
                }
            }
        }
        return straights
    }

    private func encode(_ straight: inout Straight, _ work: ClusterWork, _ encoder: CommandEncoder) -> Part? {
        guard var part = begin(straight.node, hasMarker: true) else { return nil }
        // Taken out for so long: an actor's own is looked after at each use.
        var shapes = HashShapes.none
        swap(&shapes, &self.shapes)
        defer { swap(&shapes, &self.shapes) }
        for index in straight.writes.indices {
            let before = part.commands.count
            let write = work.write(straight.writes[index].write)
            append(write, mayUpdate: true, encoder, &shapes, to: &part.commands)
            let count = part.commands.count - before
            straight.writes[index].replies = Int32(count)
            if count == CommandEncoder.updateCommands, case .replaceHash(_, let fields) = write {
                straight.writes[index].fieldCount = Int32(truncatingIfNeeded: fields.count)
            }
        }
        end(&part)
        return part
    }

    /// Notes what was not done: why is found out when it is sent again, unless it is refused for good.
    private func take(
        _ replies: [RESPValue], _ part: Part, _ straight: Straight, _ rest: inout Rest
    ) throws {
        var start = try takeMarker(of: part, in: replies)
        var isAnyDone = false
        for sent in straight.writes {
            let end = start + Int(sent.replies)
            defer { start = end }
            // Most are one command.
            if sent.replies == 1, replies[start].isSuccess {
                isAnyDone = true
                continue
            }
            let own = replies[start..<end]
            if isDone(own, fieldCount: Int64(sent.fieldCount)) {
                isAnyDone = true
            } else if own.count != CommandEncoder.updateCommands, let error = own.firstError,
                ErrorClass(error) == .record
            {
                rest.refused[sent.write] = error
            } else {
                rest.undone.insert(sent.write)
            }
        }
        if isAnyDone { backoff.reset() }
    }
}
