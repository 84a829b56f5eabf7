import ChangeModel
import Engine
import Mapping
import RedisClient

/// What the writes of a batch become where Redis remembers what belongs to which path: things whose last owner goes
/// are removed, and lists are written as a whole. Pure.
struct OwnedPlan {
    /// Those of the batch, with writes that need no memory.
    private(set) var changes: [MappedChange]
    /// What is to be remembered, for the same transaction.
    private(set) var memory = RedisCommandBatch()
    /// Changes that cannot be carried out, by index.
    private(set) var refused: [Int: RedisServerError] = [:]
    private(set) var state: OwnedState

    private var touchedPaths: Set<String> = []
    private var touchedOwners: Set<OwnedAddress> = []
    /// The last change to write each list, and how long it is kept.
    private var touchedLists: [Bytes: (change: Int, lifetime: ChildrenList.Lifetime)] = [:]

    init(_ changes: [MappedChange], excluding excluded: Set<Int>, _ state: OwnedState) {
        self.changes = changes
        self.state = state
        for index in changes.indices where !excluded.contains(index) { plan(index) }
        for (list, last) in touchedLists { write(list, last.change, last.lifetime) }
        if let names = state.names { remember(names) }
    }

    private mutating func plan(_ index: Int) {
        let change = changes[index]
        let path = change.change.path
        var writes = change.writes
        var addresses: [OwnedAddress] = []
        if state.names != nil {
            for case let address? in writes.map(OwnedAddress.init) where !addresses.contains(address) {
                addresses.append(address)
            }
            // Of these only the memory knows what they remove.
            writes.removeAll { OwnedAddress($0) == nil }
        }
        let old = state.names == nil ? [] : state.paths[path] ?? []
        let gone = old.filter { !addresses.contains($0) }
        if let error = refusal(writes, gone) {
            refused[index] = error
            return
        }
        var planned: [SinkWrite] = []
        for address in gone where release(address) { add(address.removal, index, &planned) }
        if state.names != nil {
            for address in addresses where !old.contains(address) {
                state.owners[address, default: 0] += 1
                touchedOwners.insert(address)
            }
            if addresses != old {
                state.paths[path] = addresses.isEmpty ? nil : addresses
                touchedPaths.insert(path)
            }
        }
        for write in writes { add(write, index, &planned) }
        changes[index].writes = planned
    }

    /// Why a list that the change needs cannot be written.
    private func refusal(_ writes: [SinkWrite], _ gone: [OwnedAddress]) -> RedisServerError? {
        guard !state.refusedLists.isEmpty else { return nil }
        return (writes + gone.map(\.removal)).lazy.compactMap { write in
            guard write.isOfList, let key = write.key else { return nil }
            return state.refusedLists[key]
        }.first
    }

    /// One owner fewer; returns whether it was the last.
    private mutating func release(_ address: OwnedAddress) -> Bool {
        touchedOwners.insert(address)
        let left = (state.owners[address] ?? 1) - 1
        state.owners[address] = left > 0 ? left : nil
        return left <= 0
    }

    private mutating func add(_ write: SinkWrite, _ index: Int, _ planned: inout [SinkWrite]) {
        switch write {
        case .addListItem(let key, let item):
            state.lists[key, default: []].insert(String(decoding: item, as: UTF8.self))
            touchedLists[key] = (index, .forever)
        case .removeListItem(let key, let item):
            state.lists[key, default: []].remove(String(decoding: item, as: UTF8.self))
            touchedLists[key] = (index, touchedLists[key]?.lifetime ?? .unchanged)
        case .expiring(let inner, let milliseconds) where inner.isOfList:
            add(inner, index, &planned)
            if let key = inner.key, let milliseconds {
                touchedLists[key]?.lifetime = .milliseconds(milliseconds)
            }
        default:
            planned.append(write)
        }
    }

    private mutating func write(_ list: Bytes, _ change: Int, _ lifetime: ChildrenList.Lifetime) {
        guard let text = ChildrenList.text(state.lists[list] ?? []) else {
            return changes[change].writes.append(.deleteKey(key: list))
        }
        let write = SinkWrite.setString(key: list, value: text)
        switch lifetime {
        case .forever: changes[change].writes.append(write)
        case .unchanged: changes[change].writes.append(.expiring(write, milliseconds: nil))
        case .milliseconds(let count): changes[change].writes.append(.expiring(write, milliseconds: count))
        }
    }

    // MARK: Remembering

    private mutating func remember(_ names: OwnedState.Names) {
        let paths = touchedPaths.map { (Bytes($0.utf8), state.paths[$0].map(OwnedAddress.record)) }
        let owners = touchedOwners.map { ($0.record, state.owners[$0].map { Bytes(String($0).utf8) }) }
        append(paths, names.paths)
        append(owners, names.owners)
    }

    /// Sets the fields that have a value, and removes the others.
    private mutating func append(_ fields: [(name: Bytes, value: Bytes?)], _ key: String) {
        let kept = fields.filter { $0.value != nil }
        if !kept.isEmpty {
            memory.begin(argumentCount: 2 + 2 * kept.count)
            memory.add("HSET" as StaticString)
            memory.add(key)
            for case let (name, value?) in kept {
                memory.add(name)
                memory.add(value)
            }
        }
        let gone = fields.filter { $0.value == nil }
        if !gone.isEmpty {
            memory.begin(argumentCount: 2 + gone.count)
            memory.add("HDEL" as StaticString)
            memory.add(key)
            for field in gone { memory.add(field.name) }
        }
    }

    /// At most how many paths, and how many things, Redis remembers behind the batch.
    func size(_ before: OwnedState) -> Int64 {
        func grown(_ count: Int64, _ old: Int, _ new: Int) -> Int64 { count + Int64(new - old) }
        return max(
            grown(before.counts.paths, before.paths.count, state.paths.count),
            grown(before.counts.owners, before.owners.count, state.owners.count))
    }
}

extension SinkWrite {
    /// Whether it changes an item of a list, of which the sink writes the whole.
    var isOfList: Bool {
        switch self {
        case .addListItem, .removeListItem: true
        case .expiring(let write, _): write.isOfList
        default: false
        }
    }
}
