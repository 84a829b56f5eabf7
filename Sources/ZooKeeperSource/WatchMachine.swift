import ChangeModel
import Engine
import ZooKeeperClient

/// How the first reading of the tree goes into the log.
public enum SnapshotMode: Sendable, Hashable {
    /// Every node is an `r` at the first start; later starts compare.
    case initial
    /// Every node is an `r` at each start.
    case always
    /// A baseline is read and nothing of it logged.
    case never
    /// As `initial`; for captures by position, also when the position is lost.
    case whenNeeded
}

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

    private enum Reason { case walk, created, changed }

    private struct Read {
        var path: String
        var reason: Reason
    }

    private enum Pending {
        case watch
        /// Asks whether a node is still hidden.
        case probe(path: String)
        case data(path: String, reason: Reason)
        /// Several reads in one request.
        case bundle([Read])
        case children(path: String)

        /// How much of the walk, and of the window, it is.
        var weight: (walk: Int, reads: Int) {
            switch self {
            case .watch, .children: (1, 1)
            case .data(_, let reason): (reason == .walk ? 1 : 0, 1)
            case .bundle(let reads): (reads.count { $0.reason == .walk }, reads.count)
            case .probe: (0, 1)
            }
        }
    }

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

    // Requests.
    private var nextTag: UInt64 = 0
    private var pending: [UInt64: Pending] = [:]
    private var walkPending = 0
    /// Requests that wait for their answers, each read of a bundle counted.
    private(set) var requestsUnderWay = 0
    private var bundles = true
    /// Data reads under way for a path, and the last tag whose answer is too old.
    private var reading: [String: (count: Int, discard: UInt64)] = [:]
    private var window = ReadWindow()

    // What waits to be asked for.
    private var eventQueue: [String] = []
    private var eventQueueHead = 0
    private var queued: [String: Reason] = [:]
    private var walkStack: [Pending] = []

    // The walk.
    private(set) var isWalking = false
    /// False from the first request that the connection has lost: nothing may be concluded from what is missing.
    private var isAttached = false
    private var walkReason = SnapshotReason.initial
    private var unvisited: Set<String> = []
    private var hidden: Set<String> = []
    private var wasHidden: Set<String> = []
    private var isFirstWalk = true
    /// The path that was probed last.
    private var lastProbed = ""

    // Snapshots repeated for one sink.
    private var owed: [String] = []
    /// Those that the walk under way serves.
    private var repeating: [String] = []
    private var repeated: [String] = []
    /// Known nodes that were hidden from a repeated snapshot, with the sinks that still need them.
    private var late: [String: Set<String>] = [:]
    private var postponed: [String] = []
    /// All that were postponed and are not complete yet.
    private var incomplete: [String] = []

    private var emitter = EntryEmitter()

    init(_ options: Options, recovered: RecoveredCapture) {
        self.options = options
        known = recovered.known
        seen = recovered.position.seen
        settled = recovered.position.settled
    }

    var position: CapturePosition { CapturePosition(seen: seen, settled: settled) }
    var hiddenPaths: Int { hidden.count }

    // MARK: Events

    /// A session is attached: watches, then the walk, all from the beginning.
    mutating func connected() {
        pending = [:]
        requestsUnderWay = 0
        reading = [:]
        eventQueue = []
        eventQueueHead = 0
        queued = [:]
        isAttached = true
        if options.resyncs || isFirstWalk { walkFromRoots() }
        for path in scope.paths {
            ask(.watch, .addWatch(path, .persistentRecursive))
        }
    }

    private mutating func walkFromRoots() {
        beginWalk()
        // Pushed in reverse: the stack gives the first path first.
        walkStack = scope.paths.reversed().map { .data(path: $0, reason: .walk) }
    }

    /// Asks whether nodes that had been hidden from the session can be read now; one that can starts a resync.
    mutating func probeHidden() {
        guard !isWalking, isAttached else { return }
        // Never the same few: the next ones in order, and from the beginning after the last.
        let paths = hidden.sorted()
        let start = paths.firstIndex { $0 > lastProbed } ?? 0
        for path in (paths[start...] + paths[..<start]).prefix(WatchMachine.probes) {
            lastProbed = path
            ask(.probe(path: path), .getData(path))
        }
    }

    /// Every live node is told once more, to these sinks alone.
    mutating func repeatSnapshot(for sinks: [String]) {
        // Whoever asked for no snapshot gets none now.
        guard mode != .never else {
            repeated += sinks
            return
        }
        // One that the walk under way serves gets another walk: it may have lost what it has been told so far.
        owed += sinks
        if isAttached, !isWalking { walkFromRoots() }
    }

    /// The sinks whose repeated snapshot is complete with the entries handed out.
    mutating func takeRepeated() -> [String] {
        defer { repeated = [] }
        return repeated
    }

    /// The sinks whose repeated snapshot lacks nodes that may not be read now.
    mutating func takePostponed() -> [String] {
        defer { postponed = [] }
        return postponed
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
        walkPending = 0
        repeating += owed
        owed = []
        wasHidden.formUnion(hidden)
        hidden = []
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
        case .created: enqueue(path, .created)
        case .dataChanged: enqueue(path, .changed)
        case .deleted: deleted(path, zxid: notification.zxid)
        default: break
        }
    }

    private mutating func deleted(_ path: String, zxid: Int64) {
        if reading[path] != nil {
            reading[path]?.discard = nextTag
            enqueue(path, .changed)
        }
        unvisited.remove(path)
        if let node = known.nodes[path] {
            emitDelete(path, node, zxid: max(Zxid(zxid), zxid < 0 ? seen : .none, node.mzxid))
        }
    }

    /// The answer to a request. Throws where no later answer can be better.
    mutating func replied(
        tag: UInt64, zxid: Int64, _ result: Result<ZooKeeperResponse, ZooKeeperError>
    ) throws(PipelineError) {
        guard let request = pending.removeValue(forKey: tag) else { return }
        see(zxid)
        walkPending -= request.weight.walk
        requestsUnderWay -= request.weight.reads
        switch (request, result) {
        case (.watch, .failure(let error)):
            try failed(request, error)
        case (.probe(let path), _):
            probed(path, result)
        case (.data(let path, let reason), _):
            let isStale = finishRead(of: path, tag: tag)
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
        _ reads: [Read], tag: UInt64, _ result: Result<ZooKeeperResponse, ZooKeeperError>
    ) throws(PipelineError) {
        if case .success(.multiRead(let results)) = result {
            for (read, result) in zip(reads, results) where !finishRead(of: read.path, tag: tag) {
                try data(read.path, read.reason, result)
            }
            return
        }
        for read in reads { _ = finishRead(of: read.path, tag: tag) }
        guard case .failure(let error) = result else { return }
        switch error.code {
        case .unimplemented, .badArguments, .marshalling:
            // A server that does not know multiRead: one by one.
            bundles = false
            for read in reads { again(.data(path: read.path, reason: read.reason)) }
        case .throttled:
            for read in reads { again(.data(path: read.path, reason: read.reason)) }
        default:
            try failed(.bundle(reads), error)
        }
    }

    /// Reads go out one by one from now on. False where they do already.
    mutating func stopBundling() -> Bool {
        defer { bundles = false }
        return bundles
    }

    /// Whether the read was sent before a deletion that has been seen since.
    private mutating func finishRead(of path: String, tag: UInt64) -> Bool {
        guard let state = reading[path] else { return true }
        reading[path] = state.count > 1 ? (state.count - 1, state.discard) : nil
        return tag <= state.discard
    }

    private mutating func data(
        _ path: String, _ reason: Reason, _ result: Result<ZooKeeperResponse, ZooKeeperError>
    ) throws(PipelineError) {
        switch result {
        case .success(.data(let bytes, let stat)):
            window.read(bytes.count)
            counters.nodesRead += 1
            unvisited.remove(path)
            let isTold = compare(path, bytes, NodeStat(stat), reason)
            let sinks = late.removeValue(forKey: path) ?? []
            if !isTold { tellAgain(path, bytes, NodeStat(stat), sinks, reason) }
            if reason == .walk, stat.numChildren > 0 { walkStack.append(.children(path: path)) }
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
    private mutating func failed(_ request: Pending, _ error: ZooKeeperError) throws(PipelineError) {
        switch error.code {
        case .connectionLoss, .sessionExpired, .closed, .timeout, .frameTooLarge:
            isAttached = false
        case .throttled:
            if case .watch = request { connected() } else { again(request) }
        default:
            throw .unavailable("ZooKeeper refuses what the capture needs: \(error)")
        }
    }

    private mutating func again(_ request: Pending) {
        if case .data(let path, let reason) = request, reason != .walk {
            enqueue(path, reason)
        } else {
            walkStack.append(request)
        }
    }

    private mutating func listed(_ parent: String, _ names: [String]) {
        let prefix = parent == "/" ? "/" : parent + "/"
        for name in names {
            let path = prefix + name
            if !scope.excluded.contains(where: { $0.matches(path) }) {
                walkStack.append(.data(path: path, reason: .walk))
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
                reason == .created || (known.scope?.contains(path) ?? false) && !isBelow(wasHidden, path)
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
            return false
        }
        return true
    }

    private mutating func tellAgain(
        _ path: String, _ bytes: [UInt8], _ stat: NodeStat, _ late: Set<String>, _ reason: Reason
    ) {
        for sink in late.union(reason == .walk ? repeating : []).sorted() {
            emitter.emit(
                Change(
                    operation: .read, path: path, data: bytes, zxid: stat.mzxid, timestamp: stat.mtime,
                    stat: stat, onlyFor: sink))
        }
    }

    private mutating func emit(_ operation: Operation, _ path: String, _ bytes: [UInt8], _ stat: NodeStat) {
        known.nodes[path] = KnownNode(stat)
        // A baseline is known and not told.
        if operation == .read, mode == .never { return }
        let isCreate = operation == .create
        emitter.emit(
            Change(
                operation: operation, path: path, data: bytes, zxid: isCreate ? stat.czxid : stat.mzxid,
                timestamp: isCreate ? stat.ctime : stat.mtime, stat: stat))
    }

    private mutating func emitDelete(_ path: String, _ node: KnownNode, zxid: Zxid) {
        late.removeValue(forKey: path)
        known.nodes.removeValue(forKey: path)
        emitter.emit(
            Change(
                operation: .delete, path: path, data: nil, zxid: zxid, timestamp: wallClockMilliseconds(),
                stat: node.stat))
    }

    private func isBelow(_ roots: Set<String>, _ path: String) -> Bool {
        guard !roots.isEmpty else { return false }
        if roots.contains(path) || roots.contains("/") { return true }
        var end = path.endIndex
        while let slash = path[..<end].lastIndex(of: "/"), slash > path.startIndex {
            if roots.contains(String(path[..<slash])) { return true }
            end = slash
        }
        return false
    }

    /// When all is read: what was known and not found, nor hidden, nor about to be read, is gone.
    private mutating func endWalkIfDone() {
        guard isAttached, isWalking, walkStack.isEmpty, walkPending == 0 else { return }
        let gone = unvisited.filter { path in
            !isBelow(hidden, path) && reading[path] == nil && queued[path] == nil
        }
        // Children before their parents.
        for path in gone.sorted(by: >) {
            if let node = known.nodes[path] { emitDelete(path, node, zxid: max(seen, node.mzxid)) }
        }
        unvisited = []
        wasHidden = []
        isWalking = false
        isFirstWalk = false
        known.scope = scope
        known.openScope = nil
        emitter.endSnapshot()
        endRepeating()
        if !owed.isEmpty { walkFromRoots() }
    }

    /// A sink whose snapshot lacks hidden nodes is not done with: they follow when they can be read.
    private mutating func endRepeating() {
        let hiddenNodes =
            repeating.isEmpty || hidden.isEmpty ? [] : known.nodes.keys.filter { isBelow(hidden, $0) }
        if hiddenNodes.isEmpty {
            repeated += repeating
        } else {
            for path in hiddenNodes { late[path, default: []].formUnion(repeating) }
            postponed += repeating
            incomplete += repeating
        }
        repeating = []
        if late.isEmpty {
            repeated += incomplete
            incomplete = []
        }
    }

    // MARK: Requests

    private mutating func see(_ zxid: Int64) {
        if zxid > seen.value { seen = Zxid(zxid) }
    }

    private mutating func enqueue(_ path: String, _ reason: Reason) {
        if let waiting = queued[path] {
            if waiting == .changed { queued[path] = reason }
            return
        }
        queued[path] = reason
        eventQueue.append(path)
    }

    private var outgoing: [(request: ZooKeeperRequest, tag: UInt64)] = []

    private mutating func ask(_ what: Pending, _ request: ZooKeeperRequest) {
        nextTag += 1
        pending[nextTag] = what
        walkPending += what.weight.walk
        requestsUnderWay += what.weight.reads
        switch what {
        case .data(let path, _): beginRead(of: path)
        case .bundle(let reads): for read in reads { beginRead(of: read.path) }
        default: break
        }
        outgoing.append((request, nextTag))
    }

    private mutating func beginRead(of path: String) {
        let state = reading[path] ?? (0, 0)
        reading[path] = (state.count + 1, state.discard)
    }

    /// Asks for the reads, in bundles.
    private mutating func ask(_ reads: [Read]) {
        let size = bundles ? window.bundle : 1
        var rest = reads[...]
        while let first = rest.first {
            let part = rest.prefix(size)
            rest = rest.dropFirst(size)
            if part.count == 1 {
                ask(.data(path: first.path, reason: first.reason), .getData(first.path))
            } else {
                ask(.bundle(Array(part)), .multiRead(part.map { .getData($0.path) }))
            }
        }
    }

    /// The requests to send now: news first, then the walk, as many as may be under way.
    mutating func takeRequests() -> [(request: ZooKeeperRequest, tag: UInt64)] {
        var reads: [Read] = []
        while requestsUnderWay + reads.count < window.size, eventQueueHead < eventQueue.count {
            let path = eventQueue[eventQueueHead]
            eventQueueHead += 1
            reads.append(Read(path: path, reason: queued.removeValue(forKey: path) ?? .changed))
        }
        if eventQueueHead == eventQueue.count {
            eventQueue.removeAll(keepingCapacity: true)
            eventQueueHead = 0
        }
        while requestsUnderWay + reads.count < window.size, let next = walkStack.popLast() {
            switch next {
            case .data(let path, let reason): reads.append(Read(path: path, reason: reason))
            case .children(let path): ask(next, .getChildren(path))
            case .watch, .probe, .bundle: break
            }
        }
        ask(reads)
        if isAttached, !isWalking, pending.isEmpty, eventQueue.isEmpty { settled = seen }
        defer { outgoing = [] }
        return outgoing
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
