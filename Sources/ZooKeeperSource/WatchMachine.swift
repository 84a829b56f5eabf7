import ChangeModel
import Engine
import ZooKeeperClient

/// Watch capture without its connection: events in, requests and log entries out.
///
/// On every connection the watches come first, then a walk over the tree; what a walk does not find is gone.
/// Each event asks for one read, sent after it, so the read shows the change or a later one. Reads under way
/// when a node's deletion is seen are thrown away: their answers may be older than it.
struct WatchMachine {
    struct Counters: Equatable {
        var nodesRead = 0
        /// Values overwritten before they could be read, by the jumps in `version`.
        var missedValues = 0
        var resyncs = 0
    }

    private typealias Request = RequestQueue.Request
    private typealias Reason = RequestQueue.Reason

    /// What may differ between captures.
    struct Options {
        var scope: CaptureScope
        var mode = SnapshotMode.initial
        var deletesWhatLeftTheScope = false
        var resyncs = true
    }

    private let options: Options
    private var scope: CaptureScope { options.scope }
    private var mode: SnapshotMode { options.mode }
    /// What the log will say of every node once all entries handed out are in it.
    private(set) var known: KnownState
    private(set) var counters = Counters()
    private(set) var seen: Zxid
    private var settled: Zxid
    private var queue = RequestQueue()

    // The walk.
    private(set) var isWalking = false
    /// False from the first request that the connection has lost: nothing may be concluded from what is missing.
    private var isAttached = false
    private var walkReason = SnapshotReason.initial
    private var unvisited: Set<String> = []
    private var hidden = HiddenPaths()
    private var isFirstWalk = true
    private var repeats = RepeatedSnapshots()

    private var emitter = EntryEmitter()

    init(_ options: Options, recovered: RecoveredCapture) {
        self.options = options
        known = recovered.known
        seen = recovered.position.seen
        settled = recovered.position.settled
    }

    var position: CapturePosition { CapturePosition(seen: seen, settled: settled) }
    var hiddenPaths: Int { hidden.count }
    /// Requests that wait for their answers, each read of a bundle counted.
    var requestsUnderWay: Int { queue.underWay }

    // MARK: Events

    /// A session is attached: watches, then the walk, all from the beginning.
    mutating func connected() {
        queue.reset()
        isAttached = true
        if options.resyncs || isFirstWalk { walkFromRoots() }
        for path in scope.paths {
            queue.ask(.watch, .addWatch(path, .persistentRecursive))
        }
    }

    private mutating func walkFromRoots() {
        beginWalk()
        queue.walk(from: scope.paths)
    }

    /// Asks whether nodes that had been hidden from the session can be read now; one that can starts a resync.
    mutating func probeHidden() {
        guard !isWalking, isAttached else { return }
        for path in hidden.next(WatchMachine.probes) {
            queue.ask(.probe(path: path), .getData(path))
        }
    }

    /// Every live node is told once more, to these sinks alone.
    mutating func repeatSnapshot(for sinks: [String]) {
        // Whoever asked for no snapshot gets none now.
        guard mode != .never else { return repeats.refuse(sinks) }
        repeats.request(sinks)
        if isAttached, !isWalking { walkFromRoots() }
    }

    /// The sinks whose repeated snapshot is complete with the entries handed out, and those that wait for nodes which
    /// may not be read now.
    mutating func takeRepeats() -> (complete: [String], postponed: [String]) {
        (repeats.takeComplete(), repeats.takePostponed())
    }

    private mutating func probed(_ path: String, _ result: Result<ZooKeeperResponse, ZooKeeperError>) {
        switch result {
        case .success where !isWalking:
            walkFromRoots()
        case .failure(let error) where error.code == .noNode && !isWalking:
            // Deleted while it was hidden, without an event: a walk tells what of it is gone.
            walkFromRoots()
        default:
            break
        }
    }

    private static let probes = 100

    private mutating func beginWalk() {
        walkReason = known.scope == nil ? .initial : (isFirstWalk && mode == .always ? .always : .resync)
        if walkReason == .resync { counters.resyncs += 1 }
        isWalking = true
        repeats.beginWalk()
        hidden.beginWalk()
        emitter.beginSnapshot(SnapshotBegin(reason: walkReason, scope: scope))
        if isFirstWalk || known.scope != scope { leaveScope() }
        unvisited = Set(known.nodes.keys)
    }

    /// What is known of paths outside is forgotten, or deleted where that is asked for.
    private mutating func leaveScope() {
        let outside = known.nodes.filter { !scope.contains($0.key) }
        guard options.deletesWhatLeftTheScope else {
            for path in outside.keys { known.nodes.removeValue(forKey: path) }
            return
        }
        for (path, node) in outside.sorted(by: { $0.key > $1.key }) {
            emitDelete(path, node, zxid: max(seen, node.mzxid))
        }
    }

    mutating func notified(_ notification: WatchNotification) {
        see(notification.zxid)
        let path = notification.path
        guard scope.contains(path) else { return }
        switch notification.type {
        case .created: queue.enqueue(path, .created)
        case .dataChanged: queue.enqueue(path, .changed)
        case .deleted: deleted(path, zxid: notification.zxid)
        default: break
        }
    }

    private mutating func deleted(_ path: String, zxid: Int64) {
        queue.distrustReads(of: path)
        unvisited.remove(path)
        if let node = known.nodes[path] {
            emitDelete(path, node, zxid: max(Zxid(zxid), zxid < 0 ? seen : .none, node.mzxid))
        }
    }

    /// The answer to a request. Throws where no later answer can be better.
    mutating func replied(
        tag: UInt64, zxid: Int64, _ result: Result<ZooKeeperResponse, ZooKeeperError>
    ) throws(PipelineError) {
        guard let request = queue.answered(tag) else { return }
        see(zxid)
        switch (request, result) {
        case (.watch, .failure(let error)):
            try failed(request, error)
        case (.probe(let path), _):
            probed(path, result)
        case (.data(let path, let reason), _):
            let isStale = queue.finishRead(of: path, tag: tag)
            if !isStale { try data(path, reason, result) }
        case (.bundle(let reads), _):
            try bundle(reads, tag: tag, result)
        case (.children(let path), .success(.children(let names, _))):
            listed(path, names)
        case (.children(let path), .failure(let error)) where error.code == .noAuth:
            hidden.insert(path)
        case (.children, .failure(let error)) where error.code == .noNode:
            break
        case (.children, .failure(let error)):
            try failed(request, error)
        default:
            break
        }
        endWalkIfDone()
    }

    private mutating func bundle(
        _ reads: [RequestQueue.Read], tag: UInt64, _ result: Result<ZooKeeperResponse, ZooKeeperError>
    ) throws(PipelineError) {
        if case .success(.multiRead(let results)) = result {
            for (read, result) in zip(reads, results) where !queue.finishRead(of: read.path, tag: tag) {
                try data(read.path, read.reason, result)
            }
            return
        }
        for read in reads { _ = queue.finishRead(of: read.path, tag: tag) }
        guard case .failure(let error) = result else { return }
        switch error.code {
        case .unimplemented, .badArguments, .marshalling:
            // A server that does not know multiRead: one by one.
            _ = queue.stopBundling()
            queue.again(.bundle(reads))
        default:
            try failed(.bundle(reads), error)
        }
    }

    /// Reads go out one by one from now on. False where they do already.
    mutating func stopBundling() -> Bool { queue.stopBundling() }

    private mutating func data(
        _ path: String, _ reason: Reason, _ result: Result<ZooKeeperResponse, ZooKeeperError>
    ) throws(PipelineError) {
        switch result {
        case .success(.data(let bytes, let stat)):
            queue.received(bytes.count)
            counters.nodesRead += 1
            unvisited.remove(path)
            let node = NodeStat(stat)
            let isTold = compare(path, bytes, node, reason)
            let sinks = repeats.sinks(for: path, inWalk: reason == .walk)
            if !isTold { tellAgain(path, bytes, node, sinks) }
            if reason == .walk, node.numChildren > 0 { queue.push(.children(path: path)) }
        case .failure(let error) where error.code == .noNode:
            unvisited.remove(path)
            if let node = known.nodes[path] { emitDelete(path, node, zxid: max(seen, node.mzxid)) }
        case .failure(let error) where error.code == .noAuth:
            hidden.insert(path)
        case .failure(let error):
            try failed(.data(path: path, reason: reason), error)
        case .success:
            break
        }
    }

    /// A lost connection makes the client reconnect, and everything is asked anew; a busy server is asked again.
    private mutating func failed(_ request: Request, _ error: ZooKeeperError) throws(PipelineError) {
        switch error.code {
        case .connectionLoss, .sessionExpired, .closed, .timeout, .frameTooLarge:
            isAttached = false
        case .throttled:
            if case .watch = request { connected() } else { queue.again(request) }
        default:
            throw .unavailable("ZooKeeper refuses what the capture needs: \(error)")
        }
    }

    private mutating func listed(_ parent: String, _ names: [String]) {
        let prefix = parent == "/" ? "/" : parent + "/"
        for name in names {
            let path = prefix + name
            if !scope.excluded.contains(where: { $0.matches(path) }) {
                queue.push(.data(path: path, reason: .walk))
            }
        }
    }

    // MARK: Comparison

    /// Whether the log hears of it.
    private mutating func compare(
        _ path: String, _ bytes: [UInt8], _ stat: NodeStat, _ reason: Reason
    ) -> Bool {
        guard let old = known.nodes[path] else {
            let isNews =
                reason == .created || (known.scope?.contains(path) ?? false) && !hidden.covered(path)
            if isNews { counters.missedValues += Int(max(stat.version, 0)) }
            emit(isNews ? .create : .read, path, bytes, stat)
            return true
        }
        // No server behind what the log has seen is read, so a lower zxid comes from a new ensemble, perhaps one that
        // an earlier start began to compare.
        if stat.czxid > old.czxid || isFirstWalk && stat.czxid != old.czxid {
            emitDelete(path, old, zxid: Zxid(stat.czxid.value &- 1))
            counters.missedValues += Int(max(stat.version, 0))
            emit(.create, path, bytes, stat)
        } else if stat.mzxid > old.mzxid || isFirstWalk && stat.mzxid != old.mzxid {
            counters.missedValues += max(Int(stat.version) - Int(old.version) - 1, 0)
            emit(.update, path, bytes, stat)
        } else if isWalking, walkReason == .always, reason == .walk {
            emit(.read, path, bytes, stat)
        } else {
            known.fill(path, bytes)
            return false
        }
        return true
    }

    private mutating func tellAgain(_ path: String, _ bytes: [UInt8], _ stat: NodeStat, _ sinks: [String]) {
        for sink in sinks {
            emitter.emit(
                Change(
                    operation: .read, path: path, data: bytes, zxid: stat.mzxid, timestamp: stat.mtime,
                    stat: stat, onlyFor: sink))
        }
    }

    private mutating func emit(_ operation: Operation, _ path: String, _ bytes: [UInt8], _ stat: NodeStat) {
        let before = operation == .update ? known.nodes[path]?.data : nil
        known.tell(path, stat, bytes)
        // A baseline is known and not told.
        if operation == .read, mode == .never { return }
        let isCreate = operation == .create
        emitter.emit(
            Change(
                operation: operation, path: path, data: bytes, zxid: isCreate ? stat.czxid : stat.mzxid,
                timestamp: isCreate ? stat.ctime : stat.mtime, stat: stat, before: before))
    }

    private mutating func emitDelete(_ path: String, _ node: KnownNode, zxid: Zxid) {
        repeats.deleted(path)
        known.nodes.removeValue(forKey: path)
        emitter.emit(
            Change(
                operation: .delete, path: path, data: nil, zxid: zxid, timestamp: wallClockMilliseconds(),
                stat: node.stat, before: node.data))
    }

    /// When all is read: what was known and not found, nor hidden, nor about to be read, is gone.
    private mutating func endWalkIfDone() {
        guard isAttached, isWalking, queue.isWalkDone else { return }
        let gone = unvisited.filter { !hidden.cover($0) && !queue.willRead($0) }
        // Children before their parents.
        for path in gone.sorted(by: >) {
            if let node = known.nodes[path] { emitDelete(path, node, zxid: max(seen, node.mzxid)) }
        }
        unvisited = []
        hidden.endWalk()
        isWalking = false
        isFirstWalk = false
        known.scope = scope
        known.openScope = nil
        emitter.endSnapshot()
        let isPartial = repeats.isServing && hidden.count > 0
        repeats.endWalk(hidden: isPartial ? known.nodes.keys.filter(hidden.cover) : [])
        if repeats.isOwed { walkFromRoots() }
    }

    // MARK: What goes out

    private mutating func see(_ zxid: Int64) {
        if zxid > seen.value { seen = Zxid(zxid) }
    }

    /// The requests to send now.
    mutating func takeRequests() -> [(request: ZooKeeperRequest, tag: UInt64)] {
        let requests = queue.take()
        if isAttached, !isWalking, queue.isIdle { settled = seen }
        return requests
    }

    /// No further event will come: the change held back is released, and what is known is what the log says.
    mutating func stop() { emitter.stop() }

    /// What belongs into the log, in order.
    mutating func takeEntries() -> [CaptureEntry] { emitter.take() }
}

extension NodeStat {
    init(_ stat: Stat) {
        self.init(
            czxid: Zxid(stat.czxid), mzxid: Zxid(stat.mzxid), pzxid: Zxid(stat.pzxid), ctime: stat.ctime,
            mtime: stat.mtime, version: stat.version, cversion: stat.cversion, aversion: stat.aversion,
            ephemeralOwner: stat.ephemeralOwner, numChildren: stat.numChildren)
    }
}
