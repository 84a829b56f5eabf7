import ChangeModel
import Engine

/// Collects entries for the log. During a snapshot one change is held back, so that the last can be marked.
struct EntryEmitter {
    private var entries: [CaptureEntry] = []
    private var held: Change?
    private var isSnapshot = false

    mutating func beginSnapshot(_ begin: SnapshotBegin) {
        release(as: .snapshot)
        isSnapshot = true
        entries.append(.snapshotBegin(begin))
    }

    mutating func emit(_ change: Change) {
        if isSnapshot {
            release(as: .snapshot)
            held = change
        } else {
            entries.append(.change(change))
        }
    }

    mutating func emit(_ gap: CaptureGap) { entries.append(.gap(gap)) }

    mutating func endSnapshot() {
        release(as: .last)
        isSnapshot = false
        entries.append(.snapshotEnd)
    }

    /// The snapshot, if there is one, stays open.
    mutating func stop() { release(as: .snapshot) }

    private mutating func release(as mark: SnapshotMark) {
        guard var change = held else { return }
        change.snapshot = mark
        entries.append(.change(change))
        held = nil
    }

    mutating func take() -> [CaptureEntry] {
        defer { entries = [] }
        return entries
    }
}

extension Change {
    /// Roughly what it takes in the log, in bytes.
    var sizeInLog: Int { 160 + path.utf8.count + (data?.count ?? 0) + (before?.count ?? 0) }
}

/// How many reads may be under way: many small ones, few large ones, so that their answers fit in memory.
struct ReadWindow {
    private static let bytes = 8 << 20
    private static let largest = 500
    private static let smallest = 8

    /// Moving average of the data's size.
    private var average = 1024

    mutating func read(_ bytes: Int) {
        average += (bytes - average) / 16
    }

    /// Reads in one request: an answer stays far below what a client takes.
    var bundle: Int { max(size / 16, 1) }

    var size: Int {
        min(max(ReadWindow.bytes / max(average, 1), ReadWindow.smallest), ReadWindow.largest)
    }
}
