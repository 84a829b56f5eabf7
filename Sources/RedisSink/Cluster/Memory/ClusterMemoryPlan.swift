import ChangeModel
import Engine
import Mapping
import RedisClient

/// What the writes of a batch become in a cluster that remembers what belongs to which path: steps, each of which is done
/// in all slots before the next begins. Pure.
///
/// 1. `paths` names what is new beside what was there.
/// 2. What is written, with its holds.
/// 3. What no path holds any more goes, with its holds.
/// 4. `paths` names what is left.
///
/// Only the outcome of the batch is written: a thing that it writes and gives up again was never there. After a process has
/// ended, or a slot has lost something, between any two of these, the same batch leads to the same.
struct ClusterMemoryPlan {
    struct Step {
        var slots: [SlotWrites] = []
        /// Paths and things that are remembered when it is done, beyond those before.
        var growth = Growth()
    }

    struct Growth {
        var paths: Int64 = 0
        var things: Int64 = 0

        static func + (left: Growth, right: Growth) -> Growth {
            Growth(paths: left.paths + right.paths, things: left.things + right.things)
        }
    }

    /// Those that have anything to do.
    private(set) var steps: [Step] = []
    /// Changes that cannot be carried out, by index.
    private(set) var refused: [Int: RedisServerError] = [:]

    var growth: Growth { steps.reduce(Growth()) { $0 + $1.growth } }

    private let changes: [MappedChange]
    private let state: ClusterMemoryState
    private let encoder: CommandEncoder
    /// What each path of the batch holds behind it.
    private var outcome: [String: [OwnedAddress]] = [:]
    /// What it may have held on the way.
    private var seen: [String: Set<OwnedAddress>] = [:]
    private var written: [OwnedAddress: [(change: Int, write: SinkWrite)]] = [:]
    /// The last change to give a thing up.
    private var given: [OwnedAddress: Int] = [:]
    private var lists: [Bytes: ListChange] = [:]

    /// What becomes of a list.
    private struct ListChange {
        var added: Set<String> = []
        var removed: Set<String> = []
        var change = 0
        var lifetime = ChildrenList.Lifetime.unchanged
    }

    /// One slot's part of a step.
    private struct Part {
        var removals: [(change: Int, write: SinkWrite)] = []
        var writes: [(change: Int, write: SinkWrite)] = []
        var lists: [(change: Int, write: SlotWrites.ListWrite)] = []
        var held: [Bytes] = []
        var released: [Bytes] = []
        var counts: [(name: Bytes, value: Bytes)] = []
        var uncounted: [Bytes] = []
    }

    private struct Parts {
        var bySlot: [HashSlot: Part] = [:]
        var things: Int64 = 0

        subscript(key: Bytes) -> Part {
            get { bySlot[HashSlot(of: key)] ?? Part() }
            _modify { yield &bySlot[HashSlot(of: key), default: Part()] }
        }
    }

    init(
        _ changes: [MappedChange], excluding excluded: Set<Int>, _ state: ClusterMemoryState,
        encoder: CommandEncoder
    ) {
        self.changes = changes
        self.state = state
        self.encoder = encoder
        for index in changes.indices where !excluded.contains(index) { follow(index) }
        var (early, late) = (Parts(), Parts())
        settleThings(&early, &late)
        settleLists(&early, &late)
        var first = Step()
        var last = Step()
        if let memory = state.memory { remember(memory, &first, &last) }
        steps = [first, step(early), step(late), last].filter { !$0.slots.isEmpty }
    }

    // MARK: The changes, in order

    private mutating func follow(_ index: Int) {
        let writes = changes[index].writes
        guard state.memory != nil else {
            if let error = refusal(writes) {
                refused[index] = error
            } else {
                for write in writes { note(write, index) }
            }
            return
        }
        let path = changes[index].change.path
        let before = outcome[path] ?? state.paths[path] ?? []
        var addresses: [OwnedAddress] = []
        for case let address? in writes.map(OwnedAddress.init) where !addresses.contains(address) {
            addresses.append(address)
        }
        let gone = before.filter { !addresses.contains($0) }
        if let error = refusal(writes + gone.map(\.removal)) {
            refused[index] = error
            return
        }
        outcome[path] = addresses
        seen[path, default: Set(state.paths[path] ?? [])].formUnion(addresses)
        for address in gone { given[address] = index }
        for write in writes {
            guard let address = OwnedAddress(write) else { continue }
            written[address, default: []].append((index, write))
            if write.isOfList { note(write, index) }
        }
    }

    /// Why a list that the change needs cannot be written.
    private func refusal(_ writes: [SinkWrite]) -> RedisServerError? {
        guard !state.refusedLists.isEmpty else { return nil }
        return writes.lazy.compactMap { write in
            guard write.isOfList, let key = write.key else { return nil }
            return state.refusedLists[key]
        }.first
    }

    private mutating func note(_ write: SinkWrite, _ change: Int) {
        switch write {
        case .addListItem(let key, let item):
            let item = String(decoding: item, as: UTF8.self)
            lists[key, default: ListChange()].added.insert(item)
            lists[key]?.removed.remove(item)
            lists[key]?.change = change
            lists[key]?.lifetime = .forever
        case .removeListItem(let key, let item):
            let item = String(decoding: item, as: UTF8.self)
            lists[key, default: ListChange()].removed.insert(item)
            lists[key]?.added.remove(item)
            lists[key]?.change = change
        case .expiring(let inner, let milliseconds) where inner.isOfList:
            note(inner, change)
            if let key = inner.key, let milliseconds { lists[key]?.lifetime = .milliseconds(milliseconds) }
        default: break
        }
    }

    // MARK: Things

    /// A thing as the batch leaves it.
    private struct Fate {
        var before: Int64
        var held: [Bytes] = []
        var released: [Bytes] = []

        var most: Int64 { before + Int64(held.count) }
        var after: Int64 { max(most - Int64(released.count), 0) }
        var survives: Bool { after > 0 }
    }

    private mutating func settleThings(_ early: inout Parts, _ late: inout Parts) {
        let fates = fates()
        var kinds: [Bytes: Set<OwnedAddress.Kind>] = [:]
        for address in written.keys where fates[address]?.survives == true {
            kinds[address.key, default: []].insert(address.kind)
        }
        for (address, fate) in fates {
            let isReplaced = kinds[address.key]?.contains { $0 != address.kind } == true
            if address.kind == .listItem {
                if !isReplaced { settle(address, fate) }
            } else if fate.survives {
                early[address.key].writes += written[address] ?? []
            } else if !fate.released.isEmpty {
                let removal = (given[address] ?? 0, address.removal)
                // Where the key becomes one of another type, before that.
                if isReplaced {
                    early[address.key].removals.append(removal)
                } else {
                    late[address.key].removals.append(removal)
                }
            }
            if !fate.held.isEmpty {
                early[address.key].held += fate.held
                early[address.key].counts.append((address.record, Bytes("\(fate.most)".utf8)))
                if fate.before == 0 { early.things += 1 }
            }
            guard !fate.released.isEmpty else { continue }
            if isReplaced { release(address, fate, &early) } else { release(address, fate, &late) }
        }
    }

    private func release(_ address: OwnedAddress, _ fate: Fate, _ parts: inout Parts) {
        parts[address.key].released += fate.released
        if fate.survives {
            parts[address.key].counts.append((address.record, Bytes("\(fate.after)".utf8)))
        } else {
            parts[address.key].uncounted.append(address.record)
            parts.things -= 1
        }
    }

    /// An item goes even if nobody is known to hold it: what a path has written is given up only behind the list.
    private mutating func settle(_ item: OwnedAddress, _ fate: Fate) {
        let text = String(decoding: item.part, as: UTF8.self)
        guard !fate.survives else { return }
        var list = lists[item.key] ?? ListChange()
        list.added.remove(text)
        if let change = given[item] {
            list.removed.insert(text)
            list.change = max(list.change, change)
        }
        lists[item.key] = list
    }

    private func fates() -> [OwnedAddress: Fate] {
        var fates: [OwnedAddress: Fate] = [:]
        for (path, addresses) in seen {
            for address in addresses {
                let hold = Hold(address: address, path: path)
                let isHeld = state.holds.contains(hold)
                // Whoever is known to hold it counts, whatever the number says.
                var fate = fates[address] ?? Fate(before: state.owners[address] ?? (isHeld ? 1 : 0))
                switch (outcome[path]?.contains(address) == true, isHeld) {
                case (true, false): fate.held.append(hold.record)
                case (false, true): fate.released.append(hold.record)
                default: break
                }
                fates[address] = fate
            }
        }
        return fates
    }

    // MARK: Lists

    private func settleLists(_ early: inout Parts, _ late: inout Parts) {
        for (key, list) in lists {
            let old = state.lists[key] ?? nil
            let before = old.flatMap(ChildrenList.items) ?? []
            let items = before.union(list.added).subtracting(list.removed)
            if list.added.isEmpty, items == before { continue }
            let write = SlotWrites.ListWrite(
                key: key, old: old, new: ChildrenList.text(items), lifetime: list.lifetime)
            if list.added.isEmpty {
                late[key].lists.append((list.change, write))
            } else {
                early[key].lists.append((list.change, write))
            }
        }
    }

    private func step(_ parts: Parts) -> Step {
        var step = Step()
        step.growth.things = parts.things
        for (slot, part) in parts.bySlot {
            var memory = RedisCommandBatch()
            if let names = state.memory {
                memory.appendHSET(names.holds(slot), part.held.map { ($0, []) })
                memory.appendHDEL(names.holds(slot), part.released)
                memory.appendHSET(names.owners(slot), part.counts)
                memory.appendHDEL(names.owners(slot), part.uncounted)
            }
            // The sort is stable: of one change the order of its writes stays.
            let writes = part.writes.sorted { $0.change < $1.change }
            let lists = part.lists.sorted { $0.change < $1.change }
            guard !writes.isEmpty || !part.removals.isEmpty || !lists.isEmpty || memory.count > 0 else {
                continue
            }
            step.slots.append(
                SlotWrites(
                    slot, writes: part.removals + writes, lists: lists, memory: memory, encoder: encoder))
        }
        return step
    }

    // MARK: Paths

    private func remember(_ memory: ClusterMemory, _ first: inout Step, _ last: inout Step) {
        var named: [HashSlot: [(name: Bytes, value: Bytes)]] = [:]
        var kept: [HashSlot: [(name: Bytes, value: Bytes)]] = [:]
        var gone: [HashSlot: [Bytes]] = [:]
        for (path, addresses) in outcome {
            let before = state.paths[path] ?? []
            let all = before + addresses.filter { !before.contains($0) }
            let (slot, name) = (HashSlot(of: path), Bytes(path.utf8))
            if all.count > before.count {
                named[slot, default: []].append((name, OwnedAddress.record(all)))
                if before.isEmpty { first.growth.paths += 1 }
            }
            guard addresses.count < all.count else { continue }
            if addresses.isEmpty {
                gone[slot, default: []].append(name)
                last.growth.paths -= 1
            } else {
                kept[slot, default: []].append((name, OwnedAddress.record(addresses)))
            }
        }
        for (slot, fields) in named {
            var commands = RedisCommandBatch()
            commands.appendHSET(memory.paths(slot), fields)
            first.slots.append(SlotWrites(slot, writes: [], memory: commands, encoder: encoder))
        }
        for slot in Set(kept.keys).union(gone.keys) {
            var commands = RedisCommandBatch()
            commands.appendHSET(memory.paths(slot), kept[slot] ?? [])
            commands.appendHDEL(memory.paths(slot), gone[slot] ?? [])
            last.slots.append(SlotWrites(slot, writes: [], memory: commands, encoder: encoder))
        }
    }
}
