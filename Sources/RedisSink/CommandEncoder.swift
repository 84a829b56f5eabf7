import ChangeModel
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

/// The ID of a stream entry.
///
/// | numbering | before the dash | behind it |
/// |---|---|---|
/// | `offset` | 16 bits generation, 48 bits offset + 1 | the fan-out index |
/// | `zxid` | the zxid | 16 bits generation (of what a snapshot tells; else 0), 38 bits index in the zxid, 10 bits fan-out index |
struct StreamID: Hashable, Comparable, Sendable {
    var high: UInt64
    var index: UInt64

    private static let offsetBits: UInt64 = 48

    init(generation: UInt16, offset: Int64, index: UInt64) {
        let position = (UInt64(bitPattern: offset) &+ 1) & (1 << StreamID.offsetBits - 1)
        high = UInt64(generation) << StreamID.offsetBits | position
        self.index = index
    }

    /// Of a change whose place is known; its generation sets what a snapshot tells apart from what an earlier log has told
    /// of the same zxid.
    init(_ order: CommitOrder, generation: UInt16, index: UInt64) {
        high = UInt64(bitPattern: order.zxid.value)
        let place = UInt64(bitPattern: order.index) & (1 << StreamID.placeBits - 1)
        let fanOut = min(index, UInt64(StreamOptions.entriesPerChange - 1))
        self.index = UInt64(generation) << 48 | place << StreamID.fanOutBits | fanOut
    }

    private static let placeBits: UInt64 = 38
    private static let fanOutBits: UInt64 = 10

    /// - Parameters:
    ///   - floor: IDs made of offsets are at least of this generation.
    ///   - entry: counts the change's entries in the stream.
    @inline(__always)
    init(
        of change: borrowing MappedChange, _ numbering: StreamOptions.EntryID, floor: UInt16, entry: UInt64
    ) {
        if numbering == .zxid {
            self.init(
                change.change.order ?? .start,
                generation: change.change.placed == nil ? 0 : change.generation, index: entry)
        } else {
            self.init(generation: max(change.generation, floor), offset: change.offset, index: entry)
        }
    }

    /// Reads `<number>-<number>`.
    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let high = UInt64(parts[0]), let index = UInt64(parts[1]) else { return nil }
        self.high = high
        self.index = index
    }

    var generation: UInt16 { UInt16(truncatingIfNeeded: high >> StreamID.offsetBits) }
    /// The offset; -1 for an ID that we cannot have given.
    var offset: Int64 { Int64(high & (1 << StreamID.offsetBits - 1)) - 1 }
    var text: String { "\(high)-\(index)" }

    /// The lowest ID above it; the highest of all has none and is its own.
    var next: StreamID {
        var next = self
        if index < .max {
            next.index += 1
        } else if high < .max {
            next.high += 1
            next.index = 0
        }
        return next
    }

    static func < (left: StreamID, right: StreamID) -> Bool {
        (left.high, left.index) < (right.high, right.index)
    }
}
