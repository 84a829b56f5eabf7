/// Compares an index file with the batches of its segment, as they pass by.
struct IndexCheck {
    private let index: SegmentIndex
    private var next = 0
    private var isRight = true
    private var latest = Int64.min

    init(_ index: SegmentIndex) {
        self.index = index
    }

    /// The batch at a position; all of them in order.
    mutating func pass(_ header: BatchHeader, at position: Int64) {
        while next < index.entries.count, index.entries[next].position <= position {
            let entry = index.entries[next]
            if entry.position != position || entry.offset != header.baseOffset
                || entry.latestTimestamp != latest
            {
                isRight = false
            }
            next += 1
        }
        latest = max(latest, header.lastTimestamp)
    }

    /// Whether every entry has met its batch, and the totals are those of the batches.
    func isRight(_ totals: SegmentTotals) -> Bool {
        isRight && next == index.entries.count && index.totals == totals && index.latestTimestamp == latest
    }
}
