import RedisClient

/// Slots as ranges, and as text: `0-5460,9000`.
struct SlotList: Hashable {
    private(set) var ranges: [ClosedRange<Int>] = []

    /// - Parameter slots: in ascending order.
    init(_ slots: some Sequence<HashSlot>) {
        for slot in slots {
            if let last = ranges.last, last.upperBound + 1 == slot.number {
                ranges[ranges.count - 1] = last.lowerBound...slot.number
            } else {
                ranges.append(slot.number...slot.number)
            }
        }
    }

    /// `nil` for a text of another form, and for slots that do not exist or do not ascend.
    init?(_ text: String) {
        var next = 0
        for part in text.split(separator: ",") {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1],
                first >= next, last >= first, last < HashSlot.count
            else { return nil }
            ranges.append(first...last)
            next = last + 1
        }
    }

    var text: String {
        ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }

    var slots: some Sequence<HashSlot> { ranges.lazy.joined().compactMap { HashSlot($0) } }
    var count: Int { ranges.reduce(0) { $0 + $1.count } }
}
