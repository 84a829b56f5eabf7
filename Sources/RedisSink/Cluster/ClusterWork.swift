import Engine
import Mapping
import RedisClient

/// What a batch asks of a cluster, in units that are executed and sent again each as one: a slot's stream entries with
/// the slot's checkpoint, or one write of a key.
///
/// Of several writes of the same thing only the last is sent: so a unit that is sent again, in whatever order, never puts
/// an older value over a newer one.
///
/// Where nothing has failed yet there is nothing to send again: a batch may go out before its units are made
/// (`RedisClusterSink.sendStraight`).
struct ClusterWork {
    /// A write of the batch: index of the change, and of the write in it.
    struct WriteIndex: Hashable {
        var change: Int
        var write: Int
    }

    /// Writes of a unit, in order. A key has most often one in a batch, which takes no memory of its own.
    struct WriteList: RandomAccessCollection {
        private var first: WriteIndex?
        private var more: [WriteIndex] = []

        init(_ first: WriteIndex) { self.first = first }

        init(_ writes: [WriteIndex]) {
            first = writes.first
            more = Array(writes.dropFirst())
        }

        var startIndex: Int { 0 }
        var endIndex: Int { first == nil ? 0 : 1 + more.count }
        subscript(position: Int) -> WriteIndex {
            if position == 0, let first { first } else { more[position - 1] }
        }

        mutating func append(_ index: WriteIndex) {
            if first == nil { first = index } else { more.append(index) }
        }

        mutating func popLast() -> WriteIndex? {
            if let last = more.popLast() { return last }
            defer { first = nil }
            return first
        }
    }

    struct Unit {
        let slot: HashSlot
        /// Of a slot its entries, in order. Of a key the last write, behind those that it takes the place of.
        var writes: WriteList
        /// Of a slot: what its entries are written to.
        var streams: [Bytes] = []
        var target = ClusterBatch.Target.owner
        var isOpen = true

        var isAsking: Bool { if case .asking = target { true } else { false } }
    }

    let batch: MappedBatch
    var units: [Unit] = []
    /// Whether the units are made. Until then all of it is open.
    private(set) var isPlanned = false
    /// Nothing of it was sent before.
    var isFresh = true
    /// Changes that the servers have refused for good, by index.
    var refused: [Int: RedisServerError] = [:]
    /// Of each unit what it is sent, where the sink remembers (`ClusterMemoryPlan`); empty otherwise.
    private(set) var slotWrites: [SlotWrites] = []
    /// Changes, by index, whose commands keep a slot's writes from being executed.
    var notAccepted: [Int: RedisServerError] = [:]
    /// What the writes were made for is no more.
    var isOutdated = false
    /// Slots of which a change was refused, which is not yet told to anybody.
    private(set) var slotsWithRefusals: Set<HashSlot> = []

    var isOpen: Bool { !isPlanned || units.contains { $0.isOpen } }

    /// What a write changes: a key, or one part of it.
    private struct Thing: Hashable {
        var key: Bytes
        var part: Bytes?

        // All bytes at once: an array hashes them one by one.
        func hash(into hasher: inout Hasher) {
            key.withUnsafeBytes { hasher.combine(bytes: $0) }
            part?.withUnsafeBytes { hasher.combine(bytes: $0) }
        }
    }

    init(_ batch: MappedBatch) { self.batch = batch }

    /// What was made of a batch.
    init(_ batch: MappedBatch, _ slotWrites: [SlotWrites]) {
        self.batch = batch
        self.slotWrites = slotWrites
        units = slotWrites.map { Unit(slot: $0.slot, writes: WriteList([])) }
        isPlanned = true
    }

    /// Makes the units.
    ///
    /// - Parameter ahead: by slot the offset before which everything is there already.
    mutating func plan(ahead: [Int64]?) {
        isPlanned = true
        var byThing: [Thing: Int] = [:]
        // Of streams; a table that is asked for each entry.
        var bySlot: [Int32] = []
        if batch.changes.first?.writes.first?.isStreamEntry == false {
            byThing.reserveCapacity(batch.changes.count)
            units.reserveCapacity(batch.changes.count)
        }
        // By index: a copy of a change retains each of its parts.
        for change in batch.changes.indices {
            for write in batch.changes[change].writes.indices {
                guard let key = batch.changes[change].writes[write].key else { continue }
                let slot = HashSlot(of: key)
                if let ahead, !batch.isReplay, batch.changes[change].offset < ahead[slot.number] { continue }
                let index = WriteIndex(change: change, write: write)
                if batch.changes[change].writes[write].isStreamEntry {
                    if bySlot.isEmpty { bySlot = [Int32](repeating: -1, count: HashSlot.count) }
                    guard bySlot[slot.number] >= 0 else {
                        bySlot[slot.number] = Int32(units.count)
                        units.append(Unit(slot: slot, writes: WriteList(index)))
                        units[units.count - 1].streams.append(key)
                        continue
                    }
                    let unit = Int(bySlot[slot.number])
                    units[unit].writes.append(index)
                    if !units[unit].streams.contains(key) {
                        units[unit].streams.append(key)
                    }
                } else {
                    let thing = Thing(key: key, part: batch.changes[change].writes[write].part)
                    // Most are new: one look at the table.
                    if let unit = byThing.updateValue(units.count, forKey: thing) {
                        byThing[thing] = unit
                        units[unit].writes.append(index)
                    } else {
                        units.append(Unit(slot: slot, writes: WriteList(index)))
                    }
                }
            }
        }
    }

    /// Makes the units of a batch that was sent before: open are those whose last write is not done. One that was
    /// refused counts for nothing.
    mutating func plan(undone: Set<WriteIndex>, refused: [WriteIndex: RedisServerError]) {
        isFresh = false
        isPlanned = true
        for (write, error) in refused {
            guard let key = self.write(write).key else { continue }
            refuse(write.change, in: HashSlot(of: key), error)
        }
        guard !undone.isEmpty else { return }
        plan(ahead: nil)
        for unit in units.indices {
            while let last = units[unit].writes.last, refused[last] != nil {
                _ = units[unit].writes.popLast()
            }
            units[unit].isOpen = units[unit].writes.last.map(undone.contains) ?? false
        }
    }

    func write(_ index: WriteIndex) -> SinkWrite { batch.changes[index.change].writes[index.write] }

    /// What `HLEN` says where a hash has its fields and no other; `nil` where a unit is none.
    func fieldCount(_ unit: Int) -> Int64? {
        guard let index = units[unit].writes.last, case .replaceHash(_, let fields) = write(index) else {
            return nil
        }
        return Int64(fields.count)
    }

    /// Of a write of a key: what it stands for is refused, and the one that it took the place of has its turn.
    mutating func refuse(_ unit: Int, _ error: RedisServerError) {
        guard let last = units[unit].writes.popLast() else { return }
        refuse(last.change, in: units[unit].slot, error)
        units[unit].isOpen = !units[unit].writes.isEmpty
    }

    /// Of a slot's entries, by number: they are sent no more.
    mutating func refuse(_ errors: [Int: RedisServerError], of unit: Int) {
        let writes = units[unit].writes
        var refused: Set<Int> = []
        for (number, write) in writes.enumerated() {
            guard let error = errors[number] else { continue }
            refused.insert(write.change)
            refuse(write.change, in: units[unit].slot, error)
        }
        units[unit].writes = WriteList(writes.filter { !refused.contains($0.change) })
    }

    mutating func refuse(_ change: Int, in slot: HashSlot, _ error: RedisServerError) {
        refused[change] = refused[change] ?? error
        slotsWithRefusals.insert(slot)
    }

    /// Slots that are not done, or of which something is left to be told.
    var unsettledSlots: Set<HashSlot> {
        units.reduce(into: slotsWithRefusals) { if $1.isOpen { $0.insert($1.slot) } }
    }
}

extension SinkWrite {
    /// `nil` where it is none of Redis.
    var key: Bytes? {
        switch self {
        case .streamAdd(let key, _), .setString(let key, _), .replaceHash(let key, _),
            .setHashField(let key, _, _), .removeHashField(let key, _), .addMember(let key, _),
            .removeMember(let key, _), .addScoredMember(let key, _, _), .removeScoredMember(let key, _),
            .addListItem(let key, _), .removeListItem(let key, _), .deleteKey(let key):
            key
        case .expiring(let write, _): write.key
        case .envelope, .release: nil
        }
    }

    /// The field or member, where it is not the whole key. A sink writes whole keys or parts, never both.
    fileprivate var part: Bytes? {
        switch self {
        case .setHashField(_, let part, _), .removeHashField(_, let part), .addMember(_, let part),
            .removeMember(_, let part), .addScoredMember(_, let part, _), .removeScoredMember(_, let part),
            .addListItem(_, let part), .removeListItem(_, let part):
            part
        case .expiring(let write, _): write.part
        case .streamAdd, .setString, .replaceHash, .deleteKey, .envelope, .release: nil
        }
    }

    fileprivate var isStreamEntry: Bool {
        if case .streamAdd = self { true } else { false }
    }

    /// Whether its commands have to be executed as one.
    var isTransaction: Bool {
        switch self {
        case .replaceHash(_, let fields): !fields.isEmpty
        case .expiring(.setString, _): false
        case .expiring: true
        default: false
        }
    }
}
