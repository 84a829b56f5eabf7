import ChangeModel
import Engine
import Mapping
import RedisClient

/// Watches over explicit stream IDs: that no entry of ours is refused unnoticed, and nobody else writes our streams.
final class StreamGuard {
    /// What a stream's checkpoint says.
    struct Basis {
        var checkpoint: Checkpoint
        /// Offsets below it have been sent before: their entries may be there already.
        var resendBelow: Int64 = 0
    }

    let numbering: StreamOptions.EntryID
    /// Of the replayed batch that is being written.
    var placements: ReplayPlacements?
    /// Streams whose top entry has been compared with the checkpoint in this run.
    private var verified: Set<Bytes> = []
    /// Of these the ones that exist.
    private(set) var existing: Set<Bytes> = []
    private var minimum: (id: StreamID, until: ContinuousClock.Instant)?

    /// More streams than this are compared again rather than remembered.
    private static let rememberedStreams = 100_000
    private static let trimInterval = Duration.seconds(60)
    /// IDs from here up in generation 0 are no offsets but clocks: milliseconds since 1970.
    private static let firstClockID: UInt64 = 1_000_000_000_000

    init(numbering: StreamOptions.EntryID) {
        self.numbering = numbering
    }

    /// Streams are compared again before they are written again, and a replay is given new IDs.
    func forget() {
        verified = []
        existing = []
        placements = nil
    }

    /// Compares the last ID of each stream that this run has not written yet with its checkpoint.
    ///
    /// Returns the streams that are ahead of it by entries of our form, each with the highest generation there: they
    /// have to be written with a higher one. IDs made of zxids have none to raise: what is refused is looked for when it is.
    /// Throws `PipelineError.failed` where somebody else has written a stream, or a change has no place to make an ID of.
    func check(
        _ batch: MappedBatch, _ context: SinkContext, _ reader: some KeyReader,
        basis: (Bytes) -> Checkpoint
    ) async throws -> [(stream: Bytes, generation: UInt16)] {
        guard numbering != .auto else { return [] }
        if numbering == .zxid, !batch.isReplay { try checkOrder(of: batch) }
        let fresh = newStreams(in: batch)
        guard !fresh.isEmpty else { return [] }
        if verified.count > StreamGuard.rememberedStreams {
            verified = []
            existing = []
        }
        var ahead: [(stream: Bytes, generation: UInt16)] = []
        for (key, replies) in zip(fresh, try await reader.ask(fresh.map { .streamInfo($0) })) {
            for reply in replies { try reply.checkForTrouble() }
            let stored = basis(key)
            let nextNew = StreamID(
                generation: max(context.generation(of: stored.sent), stored.floor), offset: stored.sent,
                index: 0)
            guard let text = replies.first?.field("last-generated-id")?.string, let last = StreamID(text)
            else {
                continue
            }
            existing.insert(key)
            guard numbering == .offset, last >= nextNew else { continue }
            guard last.generation > 0 || last.high < StreamGuard.firstClockID else {
                throw foreign(key, last)
            }
            ahead.append((key, max(last.generation, stored.floor)))
        }
        verified.formUnion(fresh)
        return ahead
    }

    private func checkOrder(of batch: MappedBatch) throws(PipelineError) {
        for change in batch.changes where change.change.order == nil {
            guard change.writes.contains(where: { if case .streamAdd = $0 { true } else { false } }) else {
                continue
            }
            throw .failed(
                "the change at offset \(change.offset) (\(change.change.path)) was not captured by an observer that "
                    + "noted its place: there is no ID of its zxid for it. Start the sink behind it with millrace offsets "
                    + "reset, or give the sink id: offset")
        }
    }

    /// A stream has been made, or was found missing.
    func note(_ stream: Bytes, exists: Bool) {
        if !exists {
            existing.remove(stream)
        } else if verified.contains(stream) {
            existing.insert(stream)
        }
    }

    private func newStreams(in batch: MappedBatch) -> [Bytes] {
        var fresh: [Bytes] = []
        var seen: Set<Bytes> = []
        var last: Bytes?
        for change in batch.changes {
            for case .streamAdd(let key, _) in change.writes where key != last {
                last = key
                if !verified.contains(key), seen.insert(key).inserted { fresh.append(key) }
            }
        }
        return fresh
    }

    /// Of the errors of a transaction those that are real: an entry that was sent before and is there, or has
    /// been trimmed away, is none.
    ///
    /// - Parameter isInTransaction: the streams that the transaction has written.
    /// - Throws: `PipelineError.failed` where an entry is refused because somebody else has written the stream.
    func filter(
        _ errors: [Int: RedisServerError], _ batch: MappedBatch, _ basis: Basis, _ reader: some KeyReader,
        isInTransaction: (Bytes) -> Bool = { _ in true }, _ context: SinkContext
    ) async throws -> [Int: RedisServerError] {
        if batch.isReplay { return try await refusals(errors, batch, reader) }
        var real = errors
        for (index, error) in errors where error.isOfAnEntryBelow {
            let change = batch.changes[index]
            let id = StreamID(of: change, numbering, floor: basis.checkpoint.floor, entry: 0)
            for case .streamAdd(let key, _) in change.writes where isInTransaction(key) {
                switch try await look(for: id, in: key, reader) {
                case .present: real[index] = nil
                case .trimmed where change.offset < basis.resendBelow: real[index] = nil
                case .trimmed(let last) where try await isOurs(last, context): real[index] = nil
                case .trimmed(let last): throw foreign(key, last)
                case .absent(let last) where change.offset >= basis.resendBelow: throw foreign(key, last)
                case .absent: break
                }
            }
        }
        return real
    }

    /// Whether an ID made of a zxid may be one of the log's, which another log may have written before.
    private func isOurs(_ last: StreamID, _ context: SinkContext) async throws -> Bool {
        guard numbering == .zxid, let newest = try await context.change(context.endOffset - 1)?.order else {
            return false
        }
        return last.high <= UInt64(bitPattern: newest.zxid.value)
    }

    private enum Presence {
        case present
        /// Everything that is left lies above it.
        case trimmed(last: StreamID)
        case absent(last: StreamID)
    }

    private func look(for id: StreamID, in key: Bytes, _ reader: some KeyReader) async throws -> Presence {
        var question = KeyQuestion(key: key)
        question.addEntry(id)
        question.addStreamInfo()
        let replies = try await reader.ask([question]).first ?? []
        for reply in replies { try reply.checkForTrouble() }
        if let found = replies.first?.array, !found.isEmpty { return .present }
        let info = replies.last
        let first = info?.field("first-entry")?.array?.first?.string.flatMap { StreamID($0) }
        // max-deleted-entry-id tells of XDEL only.
        let last = info?.field("last-generated-id")?.string.flatMap { StreamID($0) } ?? id
        if last >= id, first.map({ $0 > id }) ?? true { return .trimmed(last: last) }
        return .absent(last: last)
    }

    private func foreign(_ key: Bytes, _ last: StreamID) -> PipelineError {
        .failed(
            "the stream \(String(decoding: key, as: UTF8.self)) has the entry \(last.text), which this pipeline "
                + "did not write: its own entries would be refused. Give the pipeline a stream of its own, or "
                + "remove that one")
    }

    /// The trimming of the next transaction; an age is turned into an ID by the log's time index, once a minute.
    ///
    /// The log's own generation of that offset is a lower bound of what its entry has: a raised floor holds for
    /// later entries only, and must not cut off those before.
    func trim(_ trim: StreamOptions.Trim?, _ context: SinkContext) async throws -> CommandEncoder.StreamTrim?
    {
        switch trim {
        case nil:
            return nil
        case .length(let length, let isApproximate):
            return .maxLength(length, isApproximate: isApproximate)
        case .age(let milliseconds):
            if let minimum, minimum.until > .now { return .minimumID(minimum.id) }
            let offset = try await context.offset(wallClockMilliseconds() - milliseconds)
            let generation = context.generation(of: offset)
            let id: StreamID
            if numbering == .zxid {
                guard let change = try await context.change(offset), let order = change.order else {
                    return nil
                }
                id = StreamID(order, generation: change.placed == nil ? 0 : generation, index: 0)
            } else {
                id = StreamID(generation: generation, offset: offset, index: 0)
            }
            minimum = (id, .now + StreamGuard.trimInterval)
            return .minimumID(id)
        }
    }
}

extension RedisServerError {
    /// The stream has an entry of this ID or a higher one.
    var isOfAnEntryBelow: Bool { message.contains("equal or smaller than the target stream") }
}

extension [Int: RedisServerError] {
    /// Of several errors of one change: one that cannot be explained away counts more.
    mutating func note(_ error: RedisServerError, for change: Int) {
        if self[change]?.isOfAnEntryBelow ?? true { self[change] = error }
    }
}
