/// Many patterns as one automaton: which of them match a path is found in one pass over the path, and takes no
/// longer for a thousand patterns than for ten.
///
/// A state stands for patterns that agree so far. A path may be in several at once (`/a/{x}` and `/a/b`): all are
/// followed together, each at most once for each segment, so that no path, however made, takes long.
public struct PathMatcher: Sendable {
    private let states: [State]

    struct State: Sendable {
        var literals = SegmentTable()
        var partials = PartialSegments()
        /// Behind any one segment; -1: nowhere.
        var any: Int32 = -1
        /// Behind any one segment, and then any further.
        var many: Int32 = -1
        var repeats = false
        /// The patterns that end here, in order.
        var accepts: [Int32] = []
    }

    public init(_ patterns: [PathPattern]) {
        var builder = PathMatcherBuilder()
        for (index, pattern) in patterns.enumerated() { builder.insert(pattern, index: Int32(index)) }
        states = builder.build()
    }

    /// Whether any of the patterns matches.
    public func matches(_ path: String) -> Bool {
        var isMatch = false
        forEachMatch(path) { _ in
            isMatch = true
            return false
        }
        return isMatch
    }

    /// The patterns that match, by index and in order, for as long as `body` returns `true`.
    public func forEachMatch(_ path: String, _ body: (Int) -> Bool) {
        let work = path.utf8.withContiguousStorageIfAvailable { follow($0, path, body) }
        if work == nil { _ = Array(path.utf8).withUnsafeBufferPointer { follow($0, path, body) } }
    }

    /// Returns what it took: states that were followed, and patterns that were compared with a segment.
    func follow(_ bytes: UnsafeBufferPointer<UInt8>, _ path: String, _ body: (Int) -> Bool) -> Int {
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 3 * states.count) { scratch in
            var active = ActiveStates(scratch, capacity: states.count)
            active.start()
            var start = 0
            var work = 0
            while start < bytes.count {
                var end = start
                while end < bytes.count, bytes[end] != UInt8(ascii: "/") { end += 1 }
                if end > start { work += step(&active, bytes, start..<end, path) }
                if active.isEmpty { return work }
                start = end + 1
            }
            report(active, body)
            return work
        }
    }

    private func step(
        _ active: inout ActiveStates, _ bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ path: String
    ) -> Int {
        let segment = UnsafeBufferPointer(rebasing: bytes[range])
        active.beginStep()
        var work = 0
        for position in 0..<active.previousCount {
            let index = active.previous(position)
            if !states[index].literals.isEmpty {
                for target in states[index].literals.targets(of: segment) { active.insert(target) }
            }
            if states[index].any >= 0 { active.insert(states[index].any) }
            if states[index].many >= 0 { active.insert(states[index].many) }
            if states[index].repeats { active.insert(Int32(index)) }
            if !states[index].partials.isEmpty {
                work += states[index].partials.forEachMatch(segment, in: path, at: range) {
                    active.insert($0)
                }
            }
        }
        return work + active.count
    }

    /// Several states end with patterns of their own: always the lowest that was not yet told.
    private func report(_ active: ActiveStates, _ body: (Int) -> Bool) {
        var last: Int32 = -1
        while true {
            var next = Int32.max
            for position in 0..<active.count {
                let accepts = states[active.current(position)].accepts
                if let index = accepts.firstIndex(where: { $0 > last }) { next = min(next, accepts[index]) }
            }
            guard next < .max else { return }
            last = next
            if !body(Int(next)) { return }
        }
    }
}

/// The states that a path is in: two lists that change places with each segment, and for each state its place in
/// the newer one, which makes every insertion a single look. Nothing is cleared, and nothing is allocated.
struct ActiveStates {
    private let lists: UnsafeMutableBufferPointer<Int32>
    private let places: UnsafeMutableBufferPointer<UInt32>
    private let capacity: Int
    private var currentStart = 0
    private(set) var count = 0
    private(set) var previousCount = 0

    /// `scratch` holds three numbers for each state.
    init(_ scratch: UnsafeMutableBufferPointer<Int32>, capacity: Int) {
        lists = UnsafeMutableBufferPointer(rebasing: scratch[..<(2 * capacity)])
        // Whatever stood there before: a place counts only where the list names its state, too.
        places = UnsafeMutableRawBufferPointer(
            UnsafeMutableBufferPointer(rebasing: scratch[(2 * capacity)...])
        )
        .bindMemory(to: UInt32.self)
        self.capacity = capacity
    }

    var isEmpty: Bool { count == 0 }

    mutating func start() { insert(0) }

    mutating func beginStep() {
        previousCount = count
        count = 0
        currentStart = currentStart == 0 ? capacity : 0
    }

    func current(_ position: Int) -> Int { Int(lists[currentStart + position]) }

    func previous(_ position: Int) -> Int { Int(lists[(currentStart == 0 ? capacity : 0) + position]) }

    mutating func insert(_ state: Int32) {
        let place = Int(places[Int(state)])
        if place < count, lists[currentStart + place] == state { return }
        places[Int(state)] = UInt32(truncatingIfNeeded: count)
        lists[currentStart + count] = state
        count += 1
    }
}
