/// How long changes were on their way, counted by bounds; a change weighs one.
public struct LatencyHistogram: Sendable, Hashable {
    /// Upper bounds, inclusive, in milliseconds: the resolution of the times in the log.
    public static let bounds: [Int64] = [
        1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000,
    ]

    /// Changes within each bound and beyond the one before; the last beyond all bounds.
    public private(set) var counts = [Int64](repeating: 0, count: LatencyHistogram.bounds.count + 1)
    /// Of all times, in milliseconds.
    public private(set) var sum: Int64 = 0

    public init() {}

    public var total: Int64 { counts.reduce(0, +) }

    /// - Parameter changes: that took so long, each.
    public mutating func add(milliseconds: Int64, changes: Int64 = 1) {
        // A clock that was set back.
        let time = max(milliseconds, 0)
        let place = LatencyHistogram.bounds.firstIndex { time <= $0 } ?? LatencyHistogram.bounds.count
        counts[place] &+= changes
        sum &+= time &* changes
    }

    mutating func add(_ other: LatencyHistogram) {
        for index in counts.indices { counts[index] &+= other.counts[index] }
        sum &+= other.sum
    }
}
