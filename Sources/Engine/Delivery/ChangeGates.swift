import ChangeModel
import Mapping

/// The stages that remember earlier changes: what was mapped goes through them before a sink gets it.
///
/// What they remember is lost with the process and at every rewind. Nothing depends on it: without it more is
/// delivered than had to be.
struct ChangeGates {
    private enum Gate {
        case dedupe(DedupeGate)
        case throttle(ThrottleGate)
    }

    typealias Instant = ContinuousClock.Instant

    private let stages: [StatefulStage]
    private var gates: [Gate] = []

    init(_ stages: [StatefulStage]) {
        self.stages = stages
        clear()
    }

    /// Forgets everything; what was held back is read from the log again.
    mutating func clear() {
        gates = stages.map { stage in
            switch stage {
            case .dedupe: .dedupe(DedupeGate())
            case .throttle(let milliseconds): .throttle(ThrottleGate(.milliseconds(milliseconds)))
            }
        }
    }

    /// Every change goes on at once.
    var isEmpty: Bool { stages.isEmpty }

    /// What goes on to the sink now that this change has come.
    func take(_ change: MappedChange, at now: Instant) -> [MappedChange] {
        pass([change], from: 0, now)
    }

    /// What was held back and has its turn; all of it where nothing more is to be waited for.
    func release(_ all: Bool, at now: Instant) -> [MappedChange] {
        var released: [MappedChange] = []
        for index in gates.indices {
            guard case .throttle(let gate) = gates[index] else { continue }
            released += pass(gate.release(all, at: now), from: index + 1, now)
        }
        return released
    }

    private func pass(_ changes: [MappedChange], from first: Int, _ now: Instant) -> [MappedChange] {
        var changes = changes
        for index in first..<gates.count where !changes.isEmpty {
            switch gates[index] {
            case .dedupe(let gate): changes = changes.filter(gate.lets)
            case .throttle(let gate): changes = changes.flatMap { gate.take($0, at: now) }
            }
        }
        return changes
    }

    /// What these paths have written last did not arrive.
    func forget(_ paths: [String]) {
        for case .dedupe(let gate) in gates { for path in paths { gate.forget(path) } }
    }

    /// Offset of the oldest change that is held back: nothing from it on is delivered for good.
    var oldestHeld: Int64? { throttles.compactMap(\.oldest).min() }

    /// When the next one has its turn.
    var nextDue: Instant? { throttles.compactMap(\.nextDue).min() }

    private var throttles: [ThrottleGate] {
        gates.compactMap { if case .throttle(let gate) = $0 { gate } else { nil } }
    }
}

/// Lets no change through that writes what its node has written last.
final class DedupeGate {
    /// Twice as many paths are remembered at most; beyond that the half whose values came first is forgotten.
    private static let generation = 100_000
    private var young: [String: Print] = [:]
    private var old: [String: Print] = [:]

    /// Two hash values with seeds of this process: nobody can make two writes that share them.
    private struct Print: Equatable {
        var first: Int
        var second: Int
    }

    func lets(_ change: MappedChange) -> Bool {
        let path = change.change.path
        if change.change.operation == .delete {
            forget(path)
            return true
        }
        let print = Print(first: hash(change, 1), second: hash(change, 2))
        // What is repeated for a sink alone is repeated because the sink has lost it.
        if (young[path] ?? old[path]) == print, change.change.onlyFor == nil { return false }
        if young.count >= DedupeGate.generation {
            old = young
            young = [:]
        }
        young[path] = print
        return true
    }

    func forget(_ path: String) {
        young[path] = nil
        old[path] = nil
    }

    private func hash(_ change: MappedChange, _ seed: Int) -> Int {
        var hasher = Hasher()
        hasher.combine(seed)
        for write in change.writes {
            switch write {
            case .streamAdd(let key, let fields):
                hasher.combine(key)
                hasher.combine(StreamEntry.content(fields, of: change.change))
            case .envelope: hasher.combine(change.change.data)
            default: hasher.combine(write)
            }
        }
        return hasher.finalize()
    }
}

/// Lets through at most one change of a node in an interval: the first at once, and when it is over the newest.
final class ThrottleGate {
    typealias Instant = ContinuousClock.Instant

    private struct Held {
        var change: MappedChange
        var due: Instant
    }

    private let interval: Duration
    private var passed: [String: Instant] = [:]
    private var held: [String: Held] = [:]
    private var heldBytes = 0

    /// More is not kept: then the older half has its turn early.
    private static let maximumHeld = 10_000
    private static let maximumBytes = 16 << 20
    private static let maximumReleased = 1000
    private static let maximumReleasedBytes = 1 << 20
    /// More is not remembered: then changes come early.
    private static let maximumPassed = 100_000

    init(_ interval: Duration) {
        self.interval = interval
    }

    var oldest: Int64? { held.values.lazy.map(\.change.offset).min() }
    var nextDue: Instant? { held.values.lazy.map(\.due).min() }

    func take(_ change: MappedChange, at now: Instant) -> [MappedChange] {
        let path = change.change.path
        if let earlier = drop(path) {
            guard change.replaces(earlier.change) else {
                hold(change, until: now + interval)
                return [earlier.change]
            }
            if change.change.onlyFor == nil {
                hold(change, until: earlier.due)
                return overflow(now)
            }
        } else if change.change.onlyFor == nil, let last = passed[path], now < last + interval {
            hold(change, until: last + interval)
            return overflow(now)
        }
        note(path, now)
        return [change]
    }

    /// In the order of the log; not more than a portion for the sink.
    func release(_ all: Bool, at now: Instant) -> [MappedChange] {
        guard !held.isEmpty else { return [] }
        let ready = held.values.filter { all || $0.due <= now }.map(\.change).sorted { $0.offset < $1.offset }
        var bytes = 0
        let portion = ready.prefix(ThrottleGate.maximumReleased).prefix { change in
            defer { bytes += change.byteCount }
            return bytes < ThrottleGate.maximumReleasedBytes
        }
        for change in portion {
            _ = drop(change.change.path)
            note(change.change.path, now)
        }
        return Array(portion)
    }

    private func overflow(_ now: Instant) -> [MappedChange] {
        guard held.count > ThrottleGate.maximumHeld || heldBytes > ThrottleGate.maximumBytes else {
            return []
        }
        let changes = held.values.map(\.change).sorted { $0.offset < $1.offset }
        let early = Array(changes.prefix((changes.count + 1) / 2))
        for change in early {
            _ = drop(change.change.path)
            note(change.change.path, now)
        }
        return early
    }

    private func hold(_ change: MappedChange, until due: Instant) {
        heldBytes += change.byteCount
        held[change.change.path] = Held(change: change, due: due)
    }

    private func drop(_ path: String) -> Held? {
        guard let dropped = held.removeValue(forKey: path) else { return nil }
        heldBytes -= dropped.change.byteCount
        return dropped
    }

    private func note(_ path: String, _ now: Instant) {
        if passed.count >= ThrottleGate.maximumPassed {
            passed = passed.filter { now < $0.value + interval }
            if passed.count >= ThrottleGate.maximumPassed { passed = [:] }
        }
        passed[path] = now
    }
}

extension MappedChange {
    /// Whether nothing of an earlier change of the same node would be left once this one is written.
    fileprivate func replaces(_ earlier: MappedChange) -> Bool {
        if writes.contains(.release) { return true }
        let targets = Set(writes.compactMap(\.target))
        return earlier.writes.allSatisfy { write in write.target.map(targets.contains) ?? true }
    }

    var byteCount: Int {
        writes.reduce(change.path.utf8.count + (change.data?.count ?? 0) + 256) { $0 + $1.byteCount }
    }
}
