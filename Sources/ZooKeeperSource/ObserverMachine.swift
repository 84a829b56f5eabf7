import ChangeModel
import Engine
import ZooKeeperClient

/// Observer capture without its connection: what is committed in, entries of the log out.
///
/// Every transaction becomes the changes that it made. A snapshot is compared with what is known, as a walk of
/// `WatchMachine` is.
struct ObserverMachine {
    struct Options {
        var scope: CaptureScope
        var mode = SnapshotMode.initial
        var deletesWhatLeftTheScope = false
        /// `nil`: what is captured begins at the ensemble's root.
        var chroot: String?
        /// What is known is of another ensemble, or of a later state of this one.
        var isNewEnsemble = false
    }

    private let options: Options
    private var scope: CaptureScope { options.scope }
    /// Of the last change handed out.
    private var order: CommitOrder
    /// The snapshot that is being compared is of this zxid.
    private var snapshotZxid = Zxid.none
    /// Data before changes that the transaction at hand may still carry, in bytes.
    private var beforeBudget = ObserverMachine.beforeLimit
    /// What the log will say of every node once all entries handed out are in it.
    private(set) var known: KnownState
    /// All up to it is in the entries handed out.
    private(set) var settled: Zxid
    /// No server that is behind it is believed.
    private var seen: Zxid
    private(set) var resyncs = 0
    /// Snapshots that took the place of transactions.
    private(set) var gaps = 0
    /// A snapshot is being compared: what is known is ahead of the entries by the change that is held back.
    private(set) var isInSnapshot = false

    /// What is known can be built upon: transactions behind `settled` say the rest.
    private(set) var isContinuous: Bool
    /// All up to it is in the log as it was made; `none` where nothing was captured like that before.
    private var told = Zxid.none
    private var isFirstSnapshot = true
    private var reason = SnapshotReason.initial
    private var unvisited: Set<String> = []
    private var repeats = RepeatedSnapshots()
    private var emitter = EntryEmitter()
    /// Bytes of the entries that wait.
    private(set) var waitingBytes = 0

    /// A transaction is one batch of the log: what it deletes may be more than it can hold.
    private static let beforeLimit = 32 << 20

    init(_ options: Options, recovered: RecoveredCapture) {
        self.options = options
        known = recovered.known
        settled = recovered.position.settled
        let isObserved =
            recovered.position.mode == .observer && settled > .none && !options.isNewEnsemble
            && recovered.known.scope == options.scope
        isContinuous =
            isObserved && recovered.isComplete && options.mode != .always
            && recovered.known.openScope == nil
        if isObserved { told = settled }
        // The zxids of another ensemble begin anew.
        order = options.isNewEnsemble ? .start : recovered.position.order
        seen = options.isNewEnsemble ? .none : recovered.position.seen
        if !isContinuous { settled = .none }
    }

    /// Gives away what is known; nothing more may come then.
    mutating func takeKnown() -> KnownState {
        defer { known = KnownState() }
        return known
    }

    /// The zxid to go on from; 0: from a snapshot.
    var start: Int64 { isContinuous ? settled.value : 0 }

    var position: CapturePosition {
        // While a snapshot is told, its zxid has been seen: no other one that is behind it may go on with it.
        CapturePosition(
            seen: max(seen, settled, order.zxid), settled: max(settled, told), mode: .observer, order: order)
    }

    /// Whether a server at this zxid knows less than the log.
    func isBehind(_ zxid: Int64) -> Bool { zxid < position.seen.value }

    // MARK: Snapshots

    /// Sinks that need every live node once more: the next snapshot tells them, be it one beside the transactions.
    mutating func repeatSnapshot(for sinks: [String]) {
        guard options.mode != .never else { return repeats.refuse(sinks) }
        repeats.request(sinks)
    }

    var owesSnapshot: Bool { repeats.isOwed }

    mutating func takeRepeats() -> [String] { repeats.takeComplete() }

    /// A snapshot beside the transactions begins, for sinks that need one.
    mutating func beginAside() { repeats.beginWalk() }

    /// A node of it. One that is newer or older than what is known is left out: what made it so is, or will be, among the
    /// transactions, and the sinks get it from there.
    mutating func nodeAside(_ node: SnapshotNode) {
        guard repeats.isServing, let path = relative(node.path), let known = known.nodes[path],
            known.czxid.value == node.stat.czxid, known.mzxid.value == node.stat.mzxid
        else { return }
        let stat = NodeStat(node.stat)
        for sink in repeats.sinks(for: path, inWalk: true) {
            var change = Change(
                operation: .read, path: path, data: node.data, zxid: stat.mzxid, timestamp: stat.mtime,
                stat: stat,
                onlyFor: sink)
            change.snapshot = .snapshot
            emit(change)
        }
    }

    /// All of it has come. A snapshot that is being compared meanwhile ends the same: its last change is held back till then.
    mutating func endAside() { if !isInSnapshot { repeats.endWalk(hidden: []) } }

    /// It cannot be had now.
    mutating func abandonAside() { if !isInSnapshot { repeats.abandonWalk() } }

    /// - Precondition: the snapshot is not behind what was seen (`isBehind`).
    /// - Returns: The transactions whose history is gone: those between the last one in the log and the snapshot.
    mutating func beginSnapshot(_ zxid: Int64) -> CaptureGap? {
        var gap: CaptureGap?
        if told > .none, zxid > told.value {
            let missing = CaptureGap(after: told, upTo: Zxid(zxid))
            emitter.emit(missing)
            gaps += 1
            gap = missing
        }
        reason =
            known.scope == nil ? .initial : (isFirstSnapshot && options.mode == .always ? .always : .resync)
        if reason == .resync { resyncs += 1 }
        isInSnapshot = true
        snapshotZxid = Zxid(zxid)
        repeats.beginWalk()
        emitter.beginSnapshot(SnapshotBegin(reason: reason, scope: scope))
        if isFirstSnapshot || known.scope != scope { leaveScope(Zxid(zxid)) }
        unvisited = Set(known.nodes.keys)
        return gap
    }

    /// What is known of paths outside is forgotten, or deleted where that is asked for.
    private mutating func leaveScope(_ zxid: Zxid) {
        let outside = known.nodes.filter { !scope.contains($0.key) }
        guard options.deletesWhatLeftTheScope else {
            for path in outside.keys { known.nodes.removeValue(forKey: path) }
            return
        }
        for (path, node) in outside.sorted(by: { $0.key > $1.key }) {
            delete(path, node, zxid: max(zxid, node.mzxid), time: wallClockMilliseconds())
        }
    }

    mutating func node(_ node: SnapshotNode) {
        guard let path = relative(node.path), scope.contains(path) else { return }
        unvisited.remove(path)
        let stat = NodeStat(node.stat)
        // The leader writes on while it sends: a node may be newer than its snapshot.
        seen = max(seen, stat.czxid, stat.mzxid)
        let isTold = compare(path, node.data, stat)
        let sinks = repeats.sinks(for: path, inWalk: true)
        guard !isTold else { return }
        for sink in sinks {
            emit(
                Change(
                    operation: .read, path: path, data: node.data, zxid: stat.mzxid, timestamp: stat.mtime,
                    stat: stat, onlyFor: sink))
        }
    }

    /// Whether the log hears of it.
    private mutating func compare(_ path: String, _ data: [UInt8], _ stat: NodeStat) -> Bool {
        let operation: Operation
        var before: [UInt8]?
        if let old = known.nodes[path] {
            if stat.czxid != old.czxid {
                delete(path, old, zxid: Zxid(stat.czxid.value &- 1), time: stat.ctime)
                operation = .create
            } else if stat.mzxid != old.mzxid {
                operation = .update
                before = old.data
            } else if reason == .always {
                operation = .read
            } else {
                known.fill(path, data)
                return false
            }
        } else {
            operation = known.scope?.contains(path) ?? false ? .create : .read
        }
        known.tell(path, stat, data)
        // A baseline is known and not told.
        if operation == .read, options.mode == .never { return true }
        let isCreate = operation == .create
        emit(
            Change(
                operation: operation, path: path, data: data, zxid: isCreate ? stat.czxid : stat.mzxid,
                timestamp: isCreate ? stat.ctime : stat.mtime, stat: stat, before: before))
        return true
    }

    mutating func endSnapshot(_ zxid: Int64) {
        // Children before their parents.
        for path in unvisited.sorted(by: >) {
            guard let node = known.nodes[path] else { continue }
            delete(path, node, zxid: max(Zxid(zxid), node.mzxid), time: wallClockMilliseconds())
        }
        unvisited = []
        known.scope = scope
        known.openScope = nil
        emitter.endSnapshot()
        repeats.endWalk(hidden: [])
        isInSnapshot = false
        isFirstSnapshot = false
        isContinuous = true
        settled = Zxid(zxid)
        told = settled
    }

    // MARK: Transactions

    /// Throws `PipelineError.failed` for one of a kind that nobody here knows.
    mutating func transaction(_ transaction: Transaction) throws(PipelineError) {
        // What is in the log is not told again, whatever a leader sends.
        guard transaction.zxid > settled.value else { return }
        beforeBudget = ObserverMachine.beforeLimit
        let effects = transaction.effects
        for case (_, .unknown(let type, _)) in effects {
            throw .failed(
                "the transaction \(Zxid(transaction.zxid).hexadecimal) is of type \(type), which this version does not "
                    + "know, and what it does to the tree neither; capture: watch goes on without")
        }
        // Paths of a multi of which an earlier part has been done.
        var touched: Set<String> = []
        for (place, effect) in effects.enumerated() {
            switch effect.operation {
            case .closeSession:
                closeSession(transaction)
            case .create, .delete, .setData, .reconfigure:
                guard let path = effect.operation.path.flatMap(relative), scope.contains(path) else {
                    continue
                }
                let later = effects[(place + 1)...].lazy.map(\.operation)
                guard touched.contains(path) || !isHeld(effect.operation, path, transaction, later) else {
                    continue
                }
                if effects.count > 1 { touched.insert(path) }
                apply(effect.operation, path, known.nodes[path], index: effect.index, transaction)
            case .setACL, .check, .createSession, .multi, .error, .unknown:
                break
            }
        }
        settled = Zxid(transaction.zxid)
        told = settled
    }

    /// Whether the snapshot before has it already.
    private func isHeld(
        _ operation: Transaction.Operation, _ path: String, _ transaction: Transaction,
        _ later: some Sequence<Transaction.Operation>
    ) -> Bool {
        let node = known.nodes[path]
        // The leader does the parts of a multi one by one, and may have sent the node between two of them.
        if let node, case .multi = transaction.operation {
            switch operation {
            case .setData(_, _, let version) where node.mzxid.value == transaction.zxid:
                return node.version >= version
            case .delete where node.czxid.value == transaction.zxid:
                return later.contains {
                    if case .create(let made, _, _, _, _) = $0 { relative(made) == path } else { false }
                }
            default: break
            }
        }
        return FuzzySnapshot.holds(
            operation, zxid: transaction.zxid, czxid: node?.czxid.value, mzxid: node?.mzxid.value)
    }

    private mutating func apply(
        _ operation: Transaction.Operation, _ path: String, _ old: KnownNode?, index: Int,
        _ transaction: Transaction
    ) {
        let zxid = Zxid(transaction.zxid)
        let (kind, data, stat): (Operation, [UInt8], NodeStat)
        switch operation {
        case .create(_, let bytes, _, let nodeKind, _):
            (kind, data) = (.create, bytes)
            stat = NodeStat(
                czxid: zxid, mzxid: zxid, pzxid: zxid, ctime: transaction.time, mtime: transaction.time,
                ephemeralOwner: nodeKind.owner(session: transaction.session))
        case .setData(_, let bytes, let version), .reconfigure(_, let bytes, let version):
            (kind, data) = (.update, bytes)
            var known = old?.stat ?? NodeStat(czxid: .none, mzxid: .none)
            known.mzxid = zxid
            known.mtime = transaction.time
            known.version = version
            stat = known
        case .delete:
            if let old { delete(path, old, zxid: zxid, index: index, transaction) }
            return
        default:
            return
        }
        known.tell(path, stat, data)
        emit(
            Change(
                operation: kind, path: path, data: data, zxid: zxid, index: Int32(truncatingIfNeeded: index),
                timestamp: transaction.time, stat: stat, session: transaction.session,
                before: kind == .update ? old?.data : nil))
    }

    /// The ensemble has not logged which nodes went with it.
    private mutating func closeSession(_ transaction: Transaction) {
        let own = known.nodes.filter {
            $0.value.ephemeralOwner == transaction.session && $0.value.stat.isEphemeral
        }
        let sorted = own.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        for (index, (path, node)) in sorted.enumerated() where node.czxid.value < transaction.zxid {
            delete(path, node, zxid: Zxid(transaction.zxid), index: index, transaction)
        }
    }

    private mutating func delete(
        _ path: String, _ node: KnownNode, zxid: Zxid, index: Int, _ transaction: Transaction
    ) {
        delete(
            path, node, zxid: zxid, time: transaction.time, index: Int32(truncatingIfNeeded: index),
            session: transaction.session)
    }

    private mutating func delete(
        _ path: String, _ node: KnownNode, zxid: Zxid, time: Int64, index: Int32 = 0, session: Int64? = nil
    ) {
        known.nodes.removeValue(forKey: path)
        repeats.deleted(path)
        emit(
            Change(
                operation: .delete, path: path, data: nil, zxid: zxid, index: index, timestamp: time,
                stat: node.stat, session: session, before: node.data))
    }

    /// A path below the chroot, as the log has it; `nil` for all others.
    private func relative(_ path: String) -> String? {
        guard let chroot = options.chroot else { return path }
        guard path.utf8.starts(with: chroot.utf8) else { return nil }
        let rest = path.utf8.dropFirst(chroot.utf8.count)
        if rest.isEmpty { return "/" }
        return rest.first == UInt8(ascii: "/") ? String(Substring(rest)) : nil
    }

    // MARK: What goes out

    private mutating func emit(_ change: consuming Change) {
        if change.session == nil {
            // A snapshot tells it: behind all that was told before it, before the next transaction.
            order = order.next(notBefore: isInSnapshot ? snapshotZxid : settled)
            change.placed = order
        } else {
            order = CommitOrder(zxid: change.zxid, index: Int64(change.index))
            let size = change.before?.count ?? 0
            if size > beforeBudget { change.before = nil } else { beforeBudget -= size }
        }
        waitingBytes += change.sizeInLog
        emitter.emit(change)
    }

    /// No further event will come: the change held back is released, and what is known is what the log says.
    mutating func stop() { emitter.stop() }

    /// What belongs into the log, in order.
    mutating func takeEntries() -> [CaptureEntry] {
        waitingBytes = 0
        return emitter.take()
    }
}

extension Transaction.NodeKind {
    /// As a node's stat tells it.
    fileprivate func owner(session: Int64) -> Int64 {
        switch self {
        case .persistent: 0
        case .ephemeral: session
        case .container: .min
        case .timeToLive(let milliseconds): Int64(bitPattern: 0xff << 56 | UInt64(bitPattern: milliseconds))
        }
    }
}
