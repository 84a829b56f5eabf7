import Engine
import Mapping
import RedisClient

/// Replayed entries: where they go, and whether they are there.
extension StreamGuard {
    /// The IDs for a replayed batch: behind everything in their streams, before every offset still to come.
    ///
    /// The same for each attempt at the batch. `nil` where it is no replay, or needs no IDs of ours.
    func place(
        _ batch: MappedBatch, _ stored: Checkpoint, _ context: SinkContext, _ connection: RedisConnection
    ) async throws -> ReplayPlacements? {
        guard batch.isReplay, !usesServerIDs else { return nil }
        if let placements, placements.letters == batch.letters { return placements }
        var keys: [Bytes] = []
        for change in batch.changes {
            for case .streamAdd(let key, _) in change.writes where !keys.contains(key) { keys.append(key) }
        }
        guard !keys.isEmpty else { return nil }
        let free = try await freeIDs(of: keys, stored, context, connection)
        let made = ReplayPlacements(batch, free: free)
        placements = made
        return made
    }

    private func freeIDs(
        of keys: [Bytes], _ stored: Checkpoint, _ context: SinkContext, _ connection: RedisConnection
    ) async throws -> [Bytes: StreamID] {
        var commands = RedisCommandBatch()
        for key in keys {
            commands.begin(argumentCount: 3)
            commands.add("XINFO" as StaticString)
            commands.add("STREAM" as StaticString)
            commands.add(key)
        }
        // In a stream without entries: behind the last offset that is never sent again. What is sent but not
        // confirmed may be sent once more, and would be refused below an ID taken from there.
        let last = stored.confirmed - 1
        let first = StreamID(
            generation: max(context.generation(of: max(last, 0)), stored.floor), offset: last, index: 1)
        var free: [Bytes: StreamID] = [:]
        for (key, reply) in zip(keys, try await connection.send(commands)) {
            try reply.checkForTrouble()
            let text = reply.field("last-generated-id")?.string
            if let id = text.flatMap({ StreamID($0) }), id.high > 0 {
                free[key] = id.next
            } else {
                free[key] = first
            }
        }
        return free
    }

    /// Of the errors of a replay those that are real: an entry that an earlier attempt has written is none.
    func refusals(
        _ errors: [Int: RedisServerError], _ batch: MappedBatch, _ connection: RedisConnection
    ) async throws -> [Int: RedisServerError] {
        var real = errors
        for (index, error) in errors where error.message.contains("equal or smaller than the target stream") {
            let places = placements?.places.filter { $0.number == batch.letters[index] } ?? []
            if try await holds(places, connection) { real[index] = nil }
        }
        return real
    }

    /// The dead letters that the last replay has written into streams, as the checkpoint tells.
    func replayedLetters(checkpoint key: String, _ connection: RedisConnection) async throws
        -> [ReplayedLetter]
    {
        var commands = RedisCommandBatch()
        commands.append("HGET", key, CheckpointRecord.replayedField)
        let reply = try await connection.send(commands).first
        try reply?.checkForTrouble()
        guard case .bulkString(let record)? = reply else { return [] }
        let letters = Dictionary(grouping: ReplayPlacements.parse(record), by: \.number)
        var written: [ReplayedLetter] = []
        for (number, places) in letters where try await holds(places, connection) {
            written.append(ReplayedLetter(number: number, offset: places[0].offset))
        }
        return written
    }

    /// Whether every entry is in its stream. One that has been trimmed away counts as absent: written twice is
    /// better than never.
    private func holds(
        _ places: [ReplayPlacements.Place], _ connection: RedisConnection
    ) async throws -> Bool {
        guard !places.isEmpty else { return false }
        var commands = RedisCommandBatch()
        for place in places {
            commands.begin(argumentCount: 4)
            commands.add("XRANGE" as StaticString)
            commands.add(place.key)
            commands.add(place.id.text)
            commands.add(place.id.text)
        }
        let replies = try await connection.send(commands)
        for reply in replies { try reply.checkForTrouble() }
        return zip(places, replies).allSatisfy { place, reply in
            let fields = reply.array?.first?.array?.last
            return fields?.field("replayed_offset")?.string == "\(place.offset)"
        }
    }
}
