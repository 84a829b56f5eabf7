import Engine
import Mapping
import RedisClient

/// Turns the writes of changes into Redis commands.
struct CommandEncoder {
    var trim: StreamTrim?
    /// What the entries' IDs are made of.
    var numbering = StreamOptions.EntryID.offset
    /// In a replay the IDs that its entries take.
    var placements: ReplayPlacements?

    /// How a stream is kept from growing for ever.
    enum StreamTrim: Sendable, Hashable {
        case maxLength(Int64, isApproximate: Bool)
        /// The lowest ID to keep.
        case minimumID(StreamID)
    }

    /// Appends the commands of one change.
    ///
    /// - Parameter floor: stream IDs are at least of this generation.
    func append(_ change: MappedChange, floor: UInt16, to batch: inout RedisCommandBatch) {
        forEachEntry(of: change, floor: floor) { key, id, fields in
            append(key, id, fields, to: &batch)
        }
        for write in change.writes { append(write, to: &batch) }
    }

    /// The stream entries of a change, each with the ID that it takes.
    func forEachEntry(of change: MappedChange, floor: UInt16, _ body: (Bytes, StreamID, FieldList) -> Void) {
        var entries: [(key: Bytes, count: UInt64)] = []
        for case .streamAdd(let key, let fields) in change.writes {
            // The fan-out index counts this change's entries in the same stream.
            let index = change.writes.count == 1 ? nil : entries.firstIndex { $0.key == key }
            let count = index.map { entries[$0].count } ?? 0
            let id = id(of: change, floor: floor, key: key, entry: count)
            if let index {
                entries[index].count += 1
            } else if change.writes.count > 1 {
                entries.append((key, 1))
            }
            body(key, id, fields)
        }
    }

    /// The ID of an entry; `entry` counts those of the change in the same stream.
    @inline(__always)
    func id(of change: borrowing MappedChange, floor: UInt16, key: Bytes, entry: UInt64) -> StreamID {
        placements?.id(offset: change.offset, key: key, entry: entry)
            ?? StreamID(of: change, numbering, floor: floor, entry: entry)
    }

    /// Appends the commands of a write that is no stream entry.
    func append(_ write: SinkWrite, to batch: inout RedisCommandBatch) {
        switch write {
        case .streamAdd, .envelope:
            break
        case .addListItem, .removeListItem, .release:
            // What these become depends on what Redis holds: `OwnedPlan` or `ClusterMemoryPlan` has replaced them.
            break
        case .expiring(.setString(let key, let value), let milliseconds):
            begin("SET", milliseconds == nil ? 4 : 5, key, &batch)
            batch.add(value)
            batch.add(milliseconds == nil ? "KEEPTTL" : "PX" as StaticString)
            if let milliseconds { batch.add(milliseconds) }
        case .expiring(let write, let milliseconds):
            append(write, to: &batch)
            if let key = write.key, let milliseconds {
                begin("PEXPIRE", 3, key, &batch)
                batch.add(milliseconds)
            }
        case .setString(let key, let value):
            begin("SET", 3, key, &batch)
            batch.add(value)
        case .replaceHash(let key, let fields):
            begin("DEL", 2, key, &batch)
            if !fields.isEmpty { appendHSET(key, fields, to: &batch) }
        case .setHashField(let key, let field, let value):
            begin("HSET", 4, key, &batch)
            batch.add(field)
            batch.add(value)
        case .removeHashField(let key, let field):
            begin("HDEL", 3, key, &batch)
            batch.add(field)
        case .addMember(let key, let member):
            begin("SADD", 3, key, &batch)
            batch.add(member)
        case .removeMember(let key, let member):
            begin("SREM", 3, key, &batch)
            batch.add(member)
        case .addScoredMember(let key, let member, let score):
            begin("ZADD", 4, key, &batch)
            batch.add(score)
            batch.add(member)
        case .removeScoredMember(let key, let member):
            begin("ZREM", 3, key, &batch)
            batch.add(member)
        case .deleteKey(let key):
            begin("UNLINK", 2, key, &batch)
        }
    }

    /// Commands of `appendUpdate`.
    static let updateCommands = 2

    /// Gives a hash that has these fields, as far as we know, their new values. `HLEN` answers their number where it has
    /// no other.
    func appendUpdate(ofHash key: Bytes, _ fields: FieldList, to batch: inout RedisCommandBatch) {
        appendHSET(key, fields, to: &batch)
        begin("HLEN", 2, key, &batch)
    }

    private func appendHSET(_ key: Bytes, _ fields: FieldList, to batch: inout RedisCommandBatch) {
        begin("HSET", 2 + 2 * fields.count, key, &batch)
        fields.forEachBytes { name, value in
            batch.add(name)
            batch.add(value)
        }
    }

    private func begin(_ name: StaticString, _ count: Int, _ key: Bytes, _ batch: inout RedisCommandBatch) {
        batch.begin(argumentCount: count)
        batch.add(name)
        batch.add(key)
    }

    /// Appends the `XADD` of an entry.
    ///
    /// - Parameter mustExist: without the stream nothing is added, and the answer is null.
    func append(
        _ key: Bytes, _ id: StreamID, _ fields: FieldList, mustExist: Bool = false,
        to batch: inout RedisCommandBatch
    ) {
        let trimArguments =
            switch trim {
            case nil: 0
            case .maxLength(_, let isApproximate): isApproximate ? 3 : 2
            case .minimumID: 3
            }
        begin("XADD", (mustExist ? 4 : 3) + trimArguments + 2 * fields.count, key, &batch)
        if mustExist { batch.add("NOMKSTREAM" as StaticString) }
        switch trim {
        case nil: break
        case .maxLength(let length, let isApproximate):
            batch.add("MAXLEN" as StaticString)
            if isApproximate { batch.add("~" as StaticString) }
            batch.add(length)
        case .minimumID(let minimum):
            batch.add("MINID" as StaticString)
            batch.add("~" as StaticString)
            batch.add(minimum.text)
        }
        batch.add(numbering == .auto ? "*" : id.text)
        fields.forEachBytes { name, value in
            batch.add(name)
            batch.add(value)
        }
    }
}
