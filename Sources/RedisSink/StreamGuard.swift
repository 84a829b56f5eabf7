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
    let lagPatience: Duration
    /// Of the replayed batch that is being written.
    var placements: ReplayPlacements?
    /// Streams whose top entry has been compared with the checkpoint in this run.
    private var verified: Set<Bytes> = []
    /// Of these the ones that exist.
    private(set) var existing: Set<Bytes> = []
    private var minimum: (id: StreamID?, until: ContinuousClock.Instant)?
    /// Numbered by zxids: the last entry of each stream that was compared with the log, and what came of it.
    var known: [Bytes: (last: StreamID, origin: Origin)] = [:]
    /// Every live node has been asked for, behind what was refused.
    var hasAskedForAll = false

    /// More streams than this are compared again rather than remembered.
    private static let rememberedStreams = 100_000
    private static let trimInterval = Duration.seconds(60)
    /// IDs from here up in generation 0 are no offsets but clocks: milliseconds since 1970.
    private static let firstClockID: UInt64 = 1_000_000_000_000

    init(_ configuration: RedisSink.Configuration) {
        numbering = configuration.stream?.id ?? .offset
        lagPatience = configuration.lagPatience
    }

    /// Streams are compared again before they are written again, and a replay is given new IDs.
    func forget() {
        verified = []
        existing = []
        known = [:]
        hasAskedForAll = false
        placements = nil
    }

    /// Compares the last ID of each stream that this run has not written yet with its checkpoint.
    ///
    /// Returns the streams that are ahead of it by entries of our form, each with the highest generation there: they
    /// have to be written with a higher one. IDs made of zxids have none to raise: what the stream has must be in the log, too.
    /// Throws `PipelineError.failed` where somebody else has written a stream, or a change has no place to make an ID of.
    func check(
        _ batch: MappedBatch, _ context: SinkContext, _ reader: some KeyReader,
        basis: (Bytes) -> Checkpoint
    ) async throws -> [(stream: Bytes, generation: UInt16)] {
        // Replayed letters take whatever ID is free.
        guard numbering == .offset || numbering == .zxid && !batch.isReplay else { return [] }
        if numbering == .zxid { try checkOrder(of: batch) }
        let fresh = newStreams(in: batch)
        guard !fresh.isEmpty else { return [] }
        if verified.count > StreamGuard.rememberedStreams {
            verified = []
            existing = []
            known = [:]
        }
        var ahead: [(stream: Bytes, generation: UInt16)] = []
        let questions = fresh.map { KeyQuestion.streamInfo($0.key) }
        for (first, replies) in zip(fresh, try await reader.askInParts(questions)) {
            for reply in replies { try reply.checkForTrouble() }
            guard let info = replies.first, let last = StreamID(lastOf: info) else { continue }
            existing.insert(first.key)
            let stored = basis(first.key)
            if numbering == .zxid {
                try await checkLast(last, info, first, batch, stored, context)
                continue
            }
            let nextNew = StreamID(
                generation: max(context.generation(of: stored.sent), stored.floor), offset: stored.sent,
                index: 0)
            guard last >= nextNew else { continue }
            guard last.generation > 0 || last.high < StreamGuard.firstClockID else {
                throw foreign(first.key, last)
            }
            ahead.append((first.key, max(last.generation, stored.floor)))
        }
        verified.formUnion(fresh.map(\.key))
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

    /// A stream and the first of the batch's changes that writes it.
    struct FirstWrite {
        var key: Bytes
        var change: Int
    }

    private func newStreams(in batch: MappedBatch) -> [FirstWrite] {
        var fresh: [FirstWrite] = []
        var seen: Set<Bytes> = []
        var last: Bytes?
        for (index, change) in batch.changes.enumerated() {
            for case .streamAdd(let key, _) in change.writes where key != last {
                last = key
                if !verified.contains(key), seen.insert(key).inserted {
                    fresh.append(FirstWrite(key: key, change: index))
                }
            }
        }
        return fresh
    }

    func foreign(_ key: Bytes, _ last: StreamID) -> PipelineError {
        .failed(
            "the stream \(String(decoding: key, as: UTF8.self)) has the entry \(last.text), which this pipeline "
                + "did not write: its own entries would be refused. Give the pipeline a stream of its own, or "
                + "remove that one")
    }

    /// `nil` where the log has nothing there that has an ID.
    private func lowestID(from offset: Int64, _ context: SinkContext) async throws -> StreamID? {
        let generation = context.generation(of: offset)
        guard numbering == .zxid else { return StreamID(generation: generation, offset: offset, index: 0) }
        // What is above the newest is of another ensemble, whose zxids were higher.
        guard let change = try await context.lookup.change(atOrBehind: offset), let order = change.order,
            let newest = try await context.newestOrder(), order <= newest
        else { return nil }
        return StreamID(zxidOf: change, generation: generation, index: 0)
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
            if minimum.map({ $0.until <= .now }) ?? true {
                let offset = try await context.offset(wallClockMilliseconds() - milliseconds)
                minimum = (try await lowestID(from: offset, context), .now + StreamGuard.trimInterval)
            }
            return minimum?.id.map { .minimumID($0) }
        }
    }
}
