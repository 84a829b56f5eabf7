import ChangeModel
import Engine
import Mapping
import RedisClient

/// Watches over explicit stream IDs: that no entry of ours is refused unnoticed, and nobody else writes our streams.
final class StreamGuard {
    let usesServerIDs: Bool
    /// Of the replayed batch that is being written.
    var placements: ReplayPlacements?
    /// Streams whose top entry has been compared with the checkpoint in this run.
    private var verified: Set<Bytes> = []
    /// Offsets below it have been sent before: their entries may be there already.
    private var resendBelow: Int64 = 0
    private var minimum: (id: StreamID, until: ContinuousClock.Instant)?

    /// More streams than this are compared again rather than remembered.
    private static let rememberedStreams = 100_000
    private static let trimInterval = Duration.seconds(60)
    /// IDs from here up in generation 0 are no offsets but clocks: milliseconds since 1970.
    private static let firstClockID: UInt64 = 1_000_000_000_000

    init(usesServerIDs: Bool) {
        self.usesServerIDs = usesServerIDs
    }

    func resend(below offset: Int64) {
        resendBelow = offset
    }

    /// Compares the last ID of each stream that this run has not written yet with the checkpoint.
    ///
    /// Returns the generation to write with from now on, where a stream is ahead of the checkpoint by entries of
    /// our form. Throws `PipelineError.failed` where somebody else has written a stream.
    func check(
        _ batch: MappedBatch, _ stored: Checkpoint, _ context: SinkContext, _ connection: RedisConnection
    ) async throws -> UInt16? {
        guard !usesServerIDs else { return nil }
        let fresh = newStreams(in: batch)
        guard !fresh.isEmpty else { return nil }
        var commands = RedisCommandBatch()
        for key in fresh {
            commands.begin(argumentCount: 3)
            commands.add("XINFO" as StaticString)
            commands.add("STREAM" as StaticString)
            commands.add(key)
        }
        let replies = try await connection.send(commands)
        for reply in replies { try reply.checkForTrouble() }
        let nextNew = StreamID(
            generation: max(context.generation(of: stored.sent), stored.floor), offset: stored.sent, index: 0)
        var highest: UInt16?
        for (key, reply) in zip(fresh, replies) {
            guard let text = reply.field("last-generated-id")?.string, let last = StreamID(text),
                last >= nextNew
            else { continue }
            guard last.generation > 0 || last.high < StreamGuard.firstClockID else {
                throw foreign(key, last)
            }
            highest = max(highest ?? 0, last.generation)
        }
        if verified.count > StreamGuard.rememberedStreams { verified = [] }
        verified.formUnion(fresh)
        guard let highest else { return nil }
        return try await context.startGeneration(max(highest, stored.floor))
    }

    private func newStreams(in batch: MappedBatch) -> [Bytes] {
        var fresh: [Bytes] = []
        var last: Bytes?
        for change in batch.changes {
            for case .streamAdd(let key, _) in change.writes where key != last {
                last = key
                if !verified.contains(key), !fresh.contains(key) { fresh.append(key) }
            }
        }
        return fresh
    }

    /// Of the errors of a transaction those that are real: an entry that was sent before and is there, or has
    /// been trimmed away, is none.
    ///
    /// Throws `PipelineError.failed` where an entry is refused because somebody else has written the stream.
    func filter(
        _ errors: [Int: RedisServerError], _ batch: MappedBatch, _ floor: UInt16,
        _ connection: RedisConnection
    ) async throws -> [Int: RedisServerError] {
        if batch.isReplay { return try await refusals(errors, batch, connection) }
        var real = errors
        for (index, error) in errors where error.message.contains("equal or smaller than the target stream") {
            let change = batch.changes[index]
            let id = StreamID(generation: max(change.generation, floor), offset: change.offset, index: 0)
            for case .streamAdd(let key, _) in change.writes {
                switch try await look(for: id, in: key, connection) {
                case .present: real[index] = nil
                case .trimmed where change.offset < resendBelow: real[index] = nil
                case .trimmed(let last): throw foreign(key, last)
                case .absent(let last) where change.offset >= resendBelow: throw foreign(key, last)
                case .absent: break
                }
            }
        }
        return real
    }

    private enum Presence {
        case present
        /// Everything that is left lies above it.
        case trimmed(last: StreamID)
        case absent(last: StreamID)
    }

    private func look(for id: StreamID, in key: Bytes, _ connection: RedisConnection) async throws -> Presence
    {
        var commands = RedisCommandBatch()
        commands.begin(argumentCount: 4)
        commands.add("XRANGE" as StaticString)
        commands.add(key)
        commands.add(id.text)
        commands.add(id.text)
        commands.begin(argumentCount: 3)
        commands.add("XINFO" as StaticString)
        commands.add("STREAM" as StaticString)
        commands.add(key)
        let replies = try await connection.send(commands)
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
            let id = StreamID(
                generation: context.generation(of: offset), offset: offset, index: 0)
            minimum = (id, .now + StreamGuard.trimInterval)
            return .minimumID(id)
        }
    }
}

extension RESPValue {
    /// Of a question about a key: that there is none, or one of another type, is an answer; BUSY or NOPERM is none.
    func checkForTrouble() throws(RedisError) {
        guard case .error(let error) = self else { return }
        if error.prefix == .wrongtype || error.message.hasPrefix("ERR no such key") { return }
        throw RedisError(code: .server(error), message: error.message)
    }

    /// A value of a map, which RESP2 gives as an array of names and values in turn.
    func field(_ name: String) -> RESPValue? {
        guard let items = array else { return nil }
        var index = 0
        while index + 1 < items.count {
            if items[index].string == name { return items[index + 1] }
            index += 2
        }
        return nil
    }
}
