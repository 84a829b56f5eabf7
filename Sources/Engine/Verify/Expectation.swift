import ChangeModel
import Mapping

/// What an item may hold, by what is known of one node.
struct Wanted {
    enum Content: Hashable {
        case absent
        /// `nil`: there, with whatever it holds.
        case value(Bytes?)
        case fields([Bytes: Bytes?])
    }

    private(set) var contents: [Content] = []
    /// Nothing can be said: an earlier state of the node may stand there.
    private(set) var isOpen = false

    mutating func accept(_ content: Content) {
        if !contents.contains(content) { contents.append(content) }
    }

    mutating func acceptAnything() { isOpen = true }

    /// What a person is told; `nil` where nothing should be there.
    var shown: Content? { contents.first { $0 != .absent } }

    func takes(_ found: ItemContent, _ kind: SinkItem.Kind) -> Bool {
        isOpen || contents.contains { Wanted.matches($0, found, kind) }
    }

    private static func matches(_ wanted: Content, _ found: ItemContent, _ kind: SinkItem.Kind) -> Bool {
        switch (wanted, found) {
        case (.absent, .absent): return true
        case (.value(nil), .value): return true
        case (.value(let wanted?), .value(let found)):
            if wanted == found { return true }
            // A score is a number, however it is written.
            guard kind == .scoredMember else { return false }
            let (left, right) = (number(wanted), number(found))
            return left != nil && left == right
        case (.fields(let wanted), .fields(let found)):
            return wanted.count == found.count
                && wanted.allSatisfy { name, value in
                    guard let other = found[name] else { return false }
                    return value == nil || value == other
                }
        default: return false
        }
    }

    private static func number(_ bytes: Bytes) -> Double? { Double(String(decoding: bytes, as: UTF8.self)) }
}

/// What one node leaves in a sink, as far as the tree tells it: of a live node by its present state, whichever change of
/// it came last; of a path without a node by its deletion.
struct Expectation {
    /// In the order of the writes; each item once.
    private(set) var items: [(item: SinkItem, wanted: Wanted)] = []
    /// Items beside these may hold what the path wrote in an earlier state.
    private(set) var isOpen = false
    /// Why the node cannot be mapped: it is among the dead letters.
    private(set) var failure: MappingError?

    func wanted(_ item: SinkItem) -> Wanted? { items.first { $0.item == item }?.wanted }

    /// What a change of the node would have left.
    fileprivate enum Outcome {
        case writes([(SinkItem, Wanted.Content)], lifetime: Int64?)
        /// Nothing is written; what was there before stays.
        case untouched(DropReason)
        /// No rule writes anything for the path.
        case nothing
        case failed(MappingError)
    }

    /// - Parameter absents: by outcome, whether there may be nothing instead.
    fileprivate init(
        _ outcomes: [(operation: ChangeModel.Operation, outcome: Outcome)], mayExpire: (Int64) -> Bool
    ) {
        for case (_, .writes(let writes, let lifetime)) in outcomes {
            for (item, content) in writes {
                let index = items.firstIndex { $0.item == item } ?? items.count
                if index == items.count { items.append((item, Wanted())) }
                items[index].wanted.accept(content)
                if let lifetime, mayExpire(lifetime) { items[index].wanted.accept(.absent) }
            }
        }
        for (operation, outcome) in outcomes {
            switch outcome {
            case .writes(let writes, _):
                for index in items.indices where !writes.contains(where: { $0.0 == items[index].item }) {
                    items[index].wanted.accept(.absent)
                }
            case .nothing:
                for index in items.indices { items[index].wanted.accept(.absent) }
            // Before the first change that is seen of a node there is nothing of it.
            case .untouched(.operation) where operation == .create || operation == .read:
                for index in items.indices { items[index].wanted.accept(.absent) }
            case .untouched:
                open()
            case .failed(let error):
                failure = failure ?? error
                open()
            }
        }
    }

    private mutating func open() {
        isOpen = true
        for index in items.indices { items[index].wanted.acceptAnything() }
    }
}

/// Tells what nodes leave in one sink.
struct Expecter: Sendable {
    let mapper: Mapper
    let sink: Int
    let kind: SinkItem.Kind
    /// What a live node has left may depend on which change came last.
    var dependsOnOperation: Bool
    var dependsOnOffset: Bool
    /// Nodes may have been there before anything was delivered of them.
    var mayLackNodes: Bool

    /// Clocks of servers and of this machine may differ by this much, in milliseconds.
    private static let clockSkew: Int64 = 60_000

    /// - Parameter now: milliseconds since 1970.
    func live(_ node: TreeNode, now: Int64) -> Expectation {
        var operations: [ChangeModel.Operation] = [.read]
        if dependsOnOperation {
            operations.append(.create)
            if node.stat.version > 0 { operations.append(.update) }
        }
        var outcomes = operations.map { ($0, outcome(change($0, of: node))) }
        if mayLackNodes { outcomes.append((.read, .nothing)) }
        return Expectation(outcomes) { lifetime in
            // It lives from its last write on, which is not before the last change.
            node.stat.mtime + lifetime <= now + Expecter.clockSkew
        }
    }

    /// Of a path at which there is no node.
    func gone(_ path: String) -> Expectation {
        // It may never have been written, or written and deleted.
        Expectation([(.delete, outcome(deletion(of: path))), (.create, .nothing)]) { _ in true }
    }

    /// What leaves the node's present state in the sink; `nil` where no change of it does.
    func writes(_ node: TreeNode) -> (change: Change, writes: [SinkWrite])? {
        for operation in [ChangeModel.Operation.read, node.stat.version > 0 ? .update : .create] {
            let change = change(operation, of: node)
            if case .writes(let writes) = mapper.map(change, offset: 0, sink: sink) {
                return (change, writes)
            }
        }
        return nil
    }

    func writes(deleting path: String) -> (change: Change, writes: [SinkWrite])? {
        let change = deletion(of: path)
        guard case .writes(let writes) = mapper.map(change, offset: 0, sink: sink) else { return nil }
        return (change, writes)
    }

    func deletion(of path: String) -> Change {
        Change(operation: .delete, path: path, data: nil, zxid: .none, timestamp: 0)
    }

    func change(_ operation: ChangeModel.Operation, of node: TreeNode) -> Change {
        let isCreate = operation == .create
        return Change(
            operation: operation, path: node.path, data: node.data,
            zxid: isCreate ? node.stat.czxid : node.stat.mzxid,
            timestamp: isCreate ? node.stat.ctime : node.stat.mtime, stat: node.stat)
    }

    private func outcome(_ change: Change) -> Expectation.Outcome {
        let first = outcome(change, offset: 0)
        guard dependsOnOffset, case .writes(let writes, let lifetime) = first,
            case .writes(let others, _) = outcome(change, offset: 1 << 40)
        else { return first }
        // What differs comes from the offset, which nobody knows.
        let merged = writes.map { item, content in
            (item, others.first { $0.0 == item }.map { content.blurred(by: $0.1) } ?? content)
        }
        return .writes(merged, lifetime: lifetime)
    }

    private func outcome(_ change: Change, offset: Int64) -> Expectation.Outcome {
        switch mapper.map(change, offset: offset, sink: sink) {
        case .failed(let error): return .failed(error)
        case .dropped(.noRule), .dropped(.notAddressed): return .nothing
        case .dropped(let reason): return .untouched(reason)
        case .writes(let writes):
            var items: [(SinkItem, Wanted.Content)] = []
            var lifetime: Int64?
            for write in writes {
                guard let (item, content, milliseconds) = write.leaves(kind) else { continue }
                if let milliseconds { lifetime = min(lifetime ?? .max, milliseconds) }
                items.removeAll { $0.0 == item }
                items.append((item, content))
            }
            return .writes(items, lifetime: lifetime)
        }
    }
}

extension Wanted.Content {
    fileprivate func blurred(by other: Wanted.Content) -> Wanted.Content {
        switch (self, other) {
        case (.value(let one), .value(let another)): .value(one == another ? one : nil)
        case (.fields(let one), .fields(let another)):
            .fields(Dictionary(uniqueKeysWithValues: one.map { ($0, another[$0] == $1 ? $1 : nil) }))
        default: self
        }
    }
}

extension SinkWrite {
    /// The item that it writes and what it leaves there, for so many milliseconds; `nil` for a write that only the
    /// sink's memory gives a place.
    func leaves(_ kind: SinkItem.Kind) -> (item: SinkItem, content: Wanted.Content, milliseconds: Int64?)? {
        switch self {
        case .streamAdd, .release, .envelope: return nil
        case .expiring(let write, let milliseconds):
            return write.leaves(kind).map { ($0.item, $0.content, milliseconds) }
        case .setString(let key, let value): return (SinkItem(kind: kind, key: key), .value(value), nil)
        case .replaceHash(let key, let fields):
            // Of two fields of one name the later stands.
            let contents = Dictionary(fields.fields.map { ($0.name, Optional($0.value)) }) { $1 }
            return (SinkItem(kind: kind, key: key), .fields(contents), nil)
        case .deleteKey(let key): return (SinkItem(kind: kind, key: key), .absent, nil)
        case .setHashField(let key, let part, let value), .addScoredMember(let key, let part, let value):
            return (SinkItem(kind: kind, key: key, part: part), .value(value), nil)
        case .addMember(let key, let part), .addListItem(let key, let part):
            return (SinkItem(kind: kind, key: key, part: part), .value([]), nil)
        case .removeHashField(let key, let part), .removeMember(let key, let part),
            .removeScoredMember(let key, let part), .removeListItem(let key, let part):
            return (SinkItem(kind: kind, key: key, part: part), .absent, nil)
        }
    }
}
