import ChangeModel
import Engine
import Mapping
import RedisClient

/// Entries that a stream refuses, since it has their ID or a higher one.
extension StreamGuard {
    /// Of the errors of a transaction those that are real: an entry that is there already, or has been there and was trimmed
    /// away, is none.
    ///
    /// - Parameter isInTransaction: the streams that the transaction has written.
    /// - Throws: `PipelineError.failed` where an entry is refused because somebody else has written the stream.
    func filter(
        _ errors: [Int: RedisServerError], _ batch: MappedBatch, _ basis: Basis, _ context: SinkContext,
        _ reader: some KeyReader, isInTransaction: (Bytes) -> Bool = { _ in true }
    ) async throws -> [Int: RedisServerError] {
        if batch.isReplay { return try await refusals(errors, batch, reader) }
        var entries: [Refused] = []
        let encoder = CommandEncoder(numbering: numbering)
        for (index, error) in errors where error.isOfAnEntryBelow {
            encoder.forEachEntry(of: batch.changes[index], floor: basis.checkpoint.floor) { key, id, fields in
                guard isInTransaction(key) else { return }
                entries.append(Refused(change: index, key: key, id: id, fields: fields))
            }
        }
        var real = errors
        for entry in entries { real[entry.change] = nil }
        for start in stride(from: 0, to: entries.count, by: KeyQuestion.part) {
            let part = entries[start..<min(start + KeyQuestion.part, entries.count)]
            var infos: [Bytes: RESPValue] = [:]
            let keys = Array(Set(part.map(\.key)))
            for (key, replies) in zip(keys, try await reader.ask(keys.map { .streamInfo($0) })) {
                for reply in replies { try reply.checkForTrouble() }
                infos[key] = replies.first
            }
            for (entry, replies) in zip(part, try await reader.ask(part.map(\.question))) {
                for reply in replies { try reply.checkForTrouble() }
                let found = replies.first?.array?.first?.array?.last
                let change = batch.changes[entry.change]
                if try await !isExplained(entry, change, found, infos[entry.key], basis, context) {
                    real[entry.change] = errors[entry.change]
                }
            }
        }
        return real
    }

    private struct Refused {
        var change: Int
        var key: Bytes
        var id: StreamID
        var fields: FieldList

        var question: KeyQuestion {
            var question = KeyQuestion(key: key)
            question.addEntry(id)
            return question
        }
    }

    /// Whether nothing is missing though the entry was refused.
    ///
    /// - Parameter found: the fields of the entry that has its ID.
    private func isExplained(
        _ entry: Refused, _ change: MappedChange, _ found: RESPValue?, _ info: RESPValue?, _ basis: Basis,
        _ context: SinkContext
    ) async throws -> Bool {
        let wasSent = change.offset < basis.resendBelow
        // max-deleted-entry-id tells of XDEL only.
        let last = info.flatMap { StreamID(lastOf: $0) } ?? entry.id
        let first = info?.field("first-entry")?.array?.first?.string.flatMap { StreamID($0) }
        let isTrimmed = found == nil && last >= entry.id && first.map { $0 > entry.id } ?? true
        guard numbering == .zxid else {
            if found != nil || isTrimmed && wasSent { return true }
            if isTrimmed || !wasSent { throw foreign(entry.key, last) }
            return false
        }
        // The ID is as old as the transaction: an earlier log may have written it, or one of another history.
        if let found, entry.fields.tellsTheSame(as: found) { return true }
        let origin =
            if let info { try await origin(of: last, info, entry.key, change, context) } else {
                Origin.foreign
            }
        if origin == .foreign { throw foreign(entry.key, last) }
        // Of a log that began at another time: what its snapshot tells was told when it came, or is told once more.
        if change.change.placed != nil {
            if !isTrimmed || !wasSent { try await tellAgain(context) }
            return true
        }
        if isTrimmed, !wasSent, origin == .likelyOurs { try await tellAgain(context) }
        return isTrimmed
    }

    /// Every live node follows, behind all that is there: nothing of the present state depends on what was refused.
    private func tellAgain(_ context: SinkContext) async throws {
        guard !hasAskedForAll else { return }
        try await context.repeatSnapshot()
        hasAskedForAll = true
    }

    // MARK: Streams numbered by zxids

    /// Before a stream is written for the first time: what it has above the batch's first entry must be of the log's own history.
    ///
    /// Nothing is sent before that is known: what is sent once counts as sent.
    func checkLast(
        _ last: StreamID, _ info: RESPValue, _ first: FirstWrite, _ batch: MappedBatch, _ stored: Checkpoint,
        _ context: SinkContext
    ) async throws {
        let change = batch.changes[first.change]
        guard last >= StreamID(of: change, .zxid, floor: 0, entry: 0) else { return }
        if context.isReplay, change.offset >= stored.sent {
            throw PipelineError.failed(
                "the stream \(String(decoding: first.key, as: UTF8.self)) has entries up to \(last.text) already, and one that "
                    + "is numbered by zxid cannot stand behind them: replay with --key-prefix, or remove the stream"
            )
        }
        // After a restart it is one of those that are sent again.
        let entry = info.field("last-entry")?.array?.last
        let isSentAgain = batch.changes.contains { change in
            StreamID(of: change, .zxid, floor: 0, entry: 0).isOfSameChange(as: last)
                && change.writes.contains { write in
                    if case .streamAdd(first.key, let fields) = write, let entry {
                        fields.tellsTheSame(as: entry)
                    } else {
                        false
                    }
                }
        }
        if isSentAgain {
            known[first.key] = (last, .ours)
        } else if try await origin(of: last, info, first.key, change, context) == .foreign {
            throw foreign(first.key, last)
        }
    }

    /// Whose the last entry of a stream is.
    enum Origin {
        case ours
        /// It has no transaction that could be compared: a snapshot told it, or it is a dead letter that was replayed.
        case likelyOurs
        case foreign
    }

    /// Whether the last entry of a stream is one that the log has, too.
    ///
    /// What the log has not captured yet is waited for, as long as it goes on within `lagPatience`.
    ///
    /// - Parameter change: one that is not behind that entry.
    private func origin(
        of last: StreamID, _ info: RESPValue, _ key: Bytes, _ change: MappedChange, _ context: SinkContext
    ) async throws -> Origin {
        if let known = known[key], known.last == last { return known.origin }
        let entry = info.field("last-entry")?.array
        // Where that has been deleted, its ID has to do.
        let fields = entry?.first?.string == last.text ? entry?.last : nil
        var end = context.endOffset
        var deadline = ContinuousClock.now + lagPatience
        while true {
            let newest = try await context.newestOrder()?.zxid ?? .none
            let isCaptured = UInt64(bitPattern: newest.value) >= last.high
            if last.isPlaced || fields?.field("replayed_offset") != nil {
                // Snapshots of two logs need not be alike, and a letter has the next free ID.
                if isCaptured { return remember(last, .likelyOurs, key) }
            } else if try await logHas(last, fields, key, from: change.offset, context) {
                return remember(last, .ours, key)
            }
            if context.endOffset != end {
                end = context.endOffset
                deadline = .now + lagPatience
            }
            guard !isCaptured, .now < deadline else { return .foreign }
            context.trouble.met("the log has not captured what the stream has already, up to \(last.text)")
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    private func remember(_ last: StreamID, _ origin: Origin, _ key: Bytes) -> Origin {
        known[key] = (last, origin)
        return origin
    }

    private func logHas(
        _ id: StreamID, _ fields: RESPValue?, _ key: Bytes, from offset: Int64, _ context: SinkContext
    ) async throws -> Bool {
        guard let zxid = Int64(exactly: id.high) else { return false }
        return try await context.lookup.hasChange(of: Zxid(zxid), atOrBehind: offset) {
            change, generation, writes in
            guard StreamID(zxidOf: change, generation: generation, index: 0).isOfSameChange(as: id) else {
                return false
            }
            guard let fields else { return true }
            // As it is, or as the rules make it: they may have changed, or replace what tells it apart.
            return change.isTold(by: fields)
                || writes().contains { write in
                    if case .streamAdd(key, let made) = write { made.tellsTheSame(as: fields) } else { false }
                }
        }
    }
}

/// What tells a change from another one of the same ID, as a stream's entry has it.
private let facts = ["op", "path", "version", "ts_ms"]

extension Change {
    fileprivate func isTold(by entry: RESPValue) -> Bool {
        let values = [operation.letter, path, "\(version)", "\(timestamp)"]
        return zip(facts, values).allSatisfy { entry.field($0)?.string == $1 }
    }
}

extension FieldList {
    /// Whether an entry of a stream tells of the same change.
    fileprivate func tellsTheSame(as entry: RESPValue) -> Bool {
        let fields = fields
        return entry.field("replayed_offset") == nil
            && facts.allSatisfy { name in
                let value = fields.first { $0.name.elementsEqual(name.utf8) }?.value
                return entry.field(name)?.string == value.map { String(decoding: $0, as: UTF8.self) }
            }
    }
}

extension StreamID {
    /// The last ID that a stream has given, from the answer to `XINFO STREAM`; `nil` where there is no stream.
    init?(lastOf info: RESPValue) {
        guard let text = info.field("last-generated-id")?.string else { return nil }
        self.init(text)
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
