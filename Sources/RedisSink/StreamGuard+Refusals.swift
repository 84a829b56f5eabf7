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
        let replies = try await reader.ask(entries.map(\.question))
        for (entry, replies) in zip(entries, replies) {
            for reply in replies { try reply.checkForTrouble() }
            if try await !isExplained(entry, replies, batch, basis, context) {
                real[entry.change] = errors[entry.change]
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
            question.addStreamInfo()
            return question
        }
    }

    /// Whether nothing is missing though the entry was refused.
    private func isExplained(
        _ entry: Refused, _ replies: [RESPValue], _ batch: MappedBatch, _ basis: Basis, _ context: SinkContext
    ) async throws -> Bool {
        let change = batch.changes[entry.change]
        let wasSent = change.offset < basis.resendBelow
        let found = replies.first?.array?.first?.array?.last
        let info = replies.last
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
        guard let info, try await isOurs(last, info, entry.key, change, context) else {
            throw foreign(entry.key, last)
        }
        // Of a log that began later: what its snapshot tells, the stream was told when it came.
        return isTrimmed || change.change.placed != nil && !wasSent
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
            owned[first.key] = last
        } else if try await !isOurs(last, info, first.key, change, context) {
            throw foreign(first.key, last)
        }
    }

    /// Whether the last entry of a stream is one that the log has, too.
    ///
    /// What the log has not captured yet is waited for, for as long as `lagPatience`.
    ///
    /// - Parameter change: one that writes the stream, and shows which fields a rule has replaced.
    private func isOurs(
        _ last: StreamID, _ info: RESPValue, _ key: Bytes, _ change: MappedChange, _ context: SinkContext
    ) async throws -> Bool {
        if owned[key] == last { return true }
        let entry = info.field("last-entry")?.array
        let id = entry?.first?.string.flatMap { StreamID($0) } ?? last
        let fields = entry?.last
        let deadline = ContinuousClock.now + lagPatience
        while try await !holds(id, fields, key, change, context) {
            let newest = try await context.lookup.change(atOrBehind: context.endOffset - 1)?.order
            guard UInt64(bitPattern: newest?.zxid.value ?? 0) < last.high, .now < deadline else {
                return false
            }
            context.trouble.met("the log has not captured what the stream has already, up to \(last.text)")
            try await Task.sleep(for: .milliseconds(200))
        }
        owned[key] = last
        return true
    }

    private func holds(
        _ id: StreamID, _ fields: RESPValue?, _ key: Bytes, _ change: MappedChange, _ context: SinkContext
    ) async throws -> Bool {
        guard let zxid = Int64(exactly: id.high) else { return false }
        let isReplayed = fields?.field("replayed_offset") != nil
        // Dead letters that were replayed into an empty stream.
        if zxid == 0 { return isReplayed }
        // Snapshots of two logs need not be alike, and a letter has the next free ID.
        if id.isPlaced || isReplayed {
            let newest = try await context.lookup.change(atOrBehind: context.endOffset - 1)?.order
            return (newest?.zxid.value ?? 0) >= zxid
        }
        let facts = change.facts(in: key)
        return try await context.lookup.change(of: Zxid(zxid)) { change, generation in
            guard StreamID(zxidOf: change, generation: generation, index: 0).isOfSameChange(as: id) else {
                return false
            }
            guard let fields else { return true }
            return facts.allSatisfy { fields.field($0)?.string == change.fact($0) }
        } != nil
    }
}

extension Change {
    /// What tells a change from another one of the same ID, as a stream's entry has it.
    static let facts = ["op", "path", "ts_ms"]

    func fact(_ name: String) -> String {
        switch name {
        case "op": operation.letter
        case "path": path
        default: "\(timestamp)"
        }
    }
}

extension MappedChange {
    /// Those of the facts that stand in its entry for a stream, where no rule has replaced them.
    fileprivate func facts(in stream: Bytes) -> [String] {
        for case .streamAdd(stream, let fields) in writes {
            return Change.facts.filter { name in
                fields.value(of: name).map { String(decoding: $0, as: UTF8.self) } == change.fact(name)
            }
        }
        return []
    }
}

extension FieldList {
    /// Whether an entry of a stream tells of the same change.
    fileprivate func tellsTheSame(as entry: RESPValue) -> Bool {
        guard entry.field("replayed_offset") == nil else { return false }
        return Change.facts.allSatisfy { name in
            entry.field(name)?.string == value(of: name).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    fileprivate func value(of name: String) -> Bytes? {
        fields.first { $0.name.elementsEqual(name.utf8) }?.value
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
