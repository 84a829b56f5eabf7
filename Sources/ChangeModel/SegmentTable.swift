/// Finds a path segment, given as bytes, among many: one hash and, almost always, one comparison.
struct SegmentTable: Sendable {
    private struct Entry {
        var bytes: [UInt8]
        var targets: [Int32]
    }

    private var entries: [Entry] = []
    /// Where an entry is, until the table is built.
    private var indices: [[UInt8]: Int] = [:]
    /// Open addressing: index of an entry, or -1. A power of two, at most half full.
    private var slots: [Int32] = []

    var isEmpty: Bool { entries.isEmpty }

    /// What the segment stands for; empty where it stands for nothing.
    func targets(of segment: UnsafeBufferPointer<UInt8>) -> [Int32] {
        guard !entries.isEmpty else { return [] }
        var slot = SegmentTable.hash(segment) & (slots.count - 1)
        while true {
            let index = Int(slots[slot])
            guard index >= 0 else { return [] }
            if entries[index].bytes.elementsEqual(segment) { return entries[index].targets }
            slot = (slot + 1) & (slots.count - 1)
        }
    }

    mutating func add(_ target: Int32, for text: String) {
        let bytes = [UInt8](text.utf8)
        if let index = indices[bytes] {
            if !entries[index].targets.contains(target) { entries[index].targets.append(target) }
            return
        }
        indices[bytes] = entries.count
        entries.append(Entry(bytes: bytes, targets: [target]))
    }

    /// To be called once, behind the last `add`.
    mutating func build() {
        indices = [:]
        var size = 4
        while size < entries.count * 2 { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        for (index, entry) in entries.enumerated() {
            var slot = entry.bytes.withUnsafeBufferPointer(SegmentTable.hash) & (size - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = Int32(index)
        }
    }

    /// 64-bit FNV-1a, its upper half mixed in. The table holds what a definition says, so that no path, however
    /// made, meets more than the definition's own collisions.
    private static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return Int(truncatingIfNeeded: hash ^ hash >> 32)
    }
}
