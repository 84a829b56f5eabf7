import ZooKeeperClient

/// What a capture asks its server: what waits, what is under way, and which answers are too old to be believed.
///
/// News (reads that events ask for) goes out before the walk; reads go in bundles, as many as may be under way.
struct RequestQueue {
    enum Reason { case walk, created, changed }

    struct Read {
        var path: String
        var reason: Reason
    }

    enum Request {
        case watch
        /// Asks whether a node is still hidden.
        case probe(path: String)
        case data(path: String, reason: Reason)
        /// Several reads in one request.
        case bundle([Read])
        case children(path: String)

        /// How much of the walk, and of the window, it is.
        fileprivate var weight: (walk: Int, reads: Int) {
            switch self {
            case .watch, .children: (1, 1)
            case .data(_, let reason): (reason == .walk ? 1 : 0, 1)
            case .bundle(let reads): (reads.count { $0.reason == .walk }, reads.count)
            case .probe: (0, 1)
            }
        }
    }

    // Under way.
    private var nextTag: UInt64 = 0
    private var pending: [UInt64: Request] = [:]
    private var walkPending = 0
    /// Requests that wait for their answers, each read of a bundle counted.
    private(set) var underWay = 0
    private var bundles = true
    /// Data reads under way for a path, and the last tag whose answer is too old.
    private var reading: [String: (count: Int, discard: UInt64)] = [:]
    private var window = ReadWindow()

    // Waiting.
    private var eventQueue: [String] = []
    private var eventQueueHead = 0
    private var queued: [String: Reason] = [:]
    private var walkStack: [Request] = []
    private var outgoing: [(request: ZooKeeperRequest, tag: UInt64)] = []

    /// Whether nothing is left of the walk to ask or to be answered.
    var isWalkDone: Bool { walkStack.isEmpty && walkPending == 0 }
    /// Whether no answer is awaited and no event waits for its read.
    var isIdle: Bool { pending.isEmpty && eventQueue.isEmpty }

    /// Whether a read of the node is under way or will be.
    func willRead(_ path: String) -> Bool { reading[path] != nil || queued[path] != nil }

    // MARK: What is to be asked

    /// A new connection: no answer to anything earlier will come.
    mutating func reset() {
        pending = [:]
        underWay = 0
        reading = [:]
        eventQueue = []
        eventQueueHead = 0
        queued = [:]
    }

    /// A walk begins with these paths, the first one first.
    mutating func walk(from paths: [String]) {
        walkPending = 0
        walkStack = paths.reversed().map { .data(path: $0, reason: .walk) }
    }

    /// The walk goes on with it.
    mutating func push(_ request: Request) { walkStack.append(request) }

    /// An event asks for a read.
    mutating func enqueue(_ path: String, _ reason: Reason) {
        if let waiting = queued[path] {
            if waiting == .changed { queued[path] = reason }
            return
        }
        queued[path] = reason
        eventQueue.append(path)
    }

    /// The same once more.
    mutating func again(_ request: Request) {
        switch request {
        case .data(let path, let reason) where reason != .walk: enqueue(path, reason)
        case .bundle(let reads): for read in reads { again(.data(path: read.path, reason: read.reason)) }
        default: push(request)
        }
    }

    /// Reads go out one by one from now on. False where they do already.
    mutating func stopBundling() -> Bool {
        defer { bundles = false }
        return bundles
    }

    // MARK: What goes out

    mutating func ask(_ what: Request, _ request: ZooKeeperRequest) {
        nextTag += 1
        pending[nextTag] = what
        walkPending += what.weight.walk
        underWay += what.weight.reads
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
    mutating func take() -> [(request: ZooKeeperRequest, tag: UInt64)] {
        var reads: [Read] = []
        while underWay + reads.count < window.size, eventQueueHead < eventQueue.count {
            let path = eventQueue[eventQueueHead]
            eventQueueHead += 1
            reads.append(Read(path: path, reason: queued.removeValue(forKey: path) ?? .changed))
        }
        if eventQueueHead == eventQueue.count {
            eventQueue.removeAll(keepingCapacity: true)
            eventQueueHead = 0
        }
        while underWay + reads.count < window.size, let next = walkStack.popLast() {
            switch next {
            case .data(let path, let reason): reads.append(Read(path: path, reason: reason))
            case .children(let path): ask(next, .getChildren(path))
            case .watch, .probe, .bundle: break
            }
        }
        ask(reads)
        defer { outgoing = [] }
        return outgoing
    }

    // MARK: What is answered

    /// The request that an answer belongs to; `nil` for one of an earlier connection.
    mutating func answered(_ tag: UInt64) -> Request? {
        guard let request = pending.removeValue(forKey: tag) else { return nil }
        walkPending -= request.weight.walk
        underWay -= request.weight.reads
        return request
    }

    /// A node's data has come: how large it is decides how many reads go out.
    mutating func received(_ bytes: Int) { window.read(bytes) }

    /// Whether the read was sent before a deletion that has been seen since.
    mutating func finishRead(of path: String, tag: UInt64) -> Bool {
        guard let state = reading[path] else { return true }
        reading[path] = state.count > 1 ? (state.count - 1, state.discard) : nil
        return tag <= state.discard
    }

    /// A deletion is seen: the answers of reads under way may be older, so the node is read once more.
    mutating func distrustReads(of path: String) {
        guard reading[path] != nil else { return }
        reading[path]?.discard = nextTag
        enqueue(path, .changed)
    }
}
