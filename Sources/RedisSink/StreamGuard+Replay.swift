import ChangeModel
import Engine
import Mapping
import RedisClient

/// Replayed entries: where they go, and whether they are there.
extension StreamGuard {
    /// The IDs for a replayed batch: behind everything in their streams, before every offset still to come.
    ///
    /// The same for each attempt at the batch. `nil` where it is no replay, or needs no IDs of ours.
    func place(
        _ batch: MappedBatch, _ context: SinkContext, _ reader: some KeyReader, basis: (Bytes) -> Checkpoint
    ) async throws -> ReplayPlacements? {
        guard !batch.letters.isEmpty, numbering != .auto else { return nil }
        if let placements, placements.letters == batch.letters { return placements }
        var keys: [Bytes] = []
        for change in batch.changes {
            for case .streamAdd(let key, _) in change.writes where !keys.contains(key) { keys.append(key) }
        }
        guard !keys.isEmpty else { return nil }
        let free = try await freeIDs(of: keys, context, reader, basis)
        let made = ReplayPlacements(batch, free: free)
        placements = made
        return made
    }

    private func freeIDs(
        of keys: [Bytes], _ context: SinkContext, _ reader: some KeyReader, _ basis: (Bytes) -> Checkpoint
    ) async throws -> [Bytes: StreamID] {
        var free: [Bytes: StreamID] = [:]
        for (key, replies) in zip(keys, try await reader.ask(keys.map { .streamInfo($0) })) {
            for reply in replies { try reply.checkForTrouble() }
            let last = replies.first.flatMap { StreamID(lastOf: $0) }
            if let last, last.high > 0 || numbering == .zxid {
                free[key] = last.next
            } else if numbering == .zxid {
                // Nothing is below it, and nothing of the log can be.
                free[key] = StreamID.lowest
            } else {
                // In a stream without entries: behind the last offset that is never sent again. What is sent but
                // not confirmed may be sent once more, and would be refused below an ID taken from there.
                let stored = basis(key)
                let last = stored.confirmed - 1
                free[key] = StreamID(
                    generation: max(context.generation(of: max(last, 0)), stored.floor), offset: last,
                    index: 1)
            }
        }
        return free
    }

    /// Of the errors of a replay those that are real: an entry that an earlier attempt has written is none.
    func refusals(
        _ errors: [Int: RedisServerError], _ batch: MappedBatch, _ reader: some KeyReader
    ) async throws -> [Int: RedisServerError] {
        var real = errors
        for (index, error) in errors where error.isOfAnEntryBelow && batch.letters.indices.contains(index) {
            let places = placements?.places.filter { $0.number == batch.letters[index] } ?? []
            if try await StreamGuard.holds(places, reader) { real[index] = nil }
        }
        return real
    }

    /// The dead letters that the last replay has written into streams, as a checkpoint tells.
    ///
    /// - Parameter record: the field `r`.
    static func replayedLetters(_ record: RESPValue, _ reader: some KeyReader) async throws
        -> [ReplayedLetter]
    {
        try record.checkForTrouble()
        guard case .bulkString(let record) = record else { return [] }
        let letters = Dictionary(grouping: ReplayPlacements.parse(record), by: \.number)
        var written: [ReplayedLetter] = []
        for (number, places) in letters where try await holds(places, reader) {
            written.append(ReplayedLetter(number: number, offset: places[0].offset))
        }
        return written
    }

    /// Whether every entry is in its stream. One that has been trimmed away counts as absent: written twice is
    /// better than never.
    private static func holds(
        _ places: [ReplayPlacements.Place], _ reader: some KeyReader
    ) async throws -> Bool {
        guard !places.isEmpty else { return false }
        let questions = places.map { place in
            var question = KeyQuestion(key: place.key)
            question.addEntry(place.id)
            return question
        }
        let replies = try await reader.ask(questions)
        for reply in replies.joined() { try reply.checkForTrouble() }
        return zip(places, replies).allSatisfy { place, replies in
            let fields = replies.first?.array?.first?.array?.last
            return fields?.field("replayed_offset")?.string == "\(place.offset)"
        }
    }
}
