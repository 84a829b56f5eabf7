/// Waits that grow from 10 to 500 ms.
struct Backoff {
    private static let first = Duration.milliseconds(10)
    private static let longest = Duration.milliseconds(500)
    private var next = Backoff.first

    var isFirst: Bool { next == Backoff.first }

    mutating func reset() { next = Backoff.first }

    /// The wait to come; the one after it is twice as long.
    mutating func take() -> Duration {
        defer { next = min(next * 2, Backoff.longest) }
        return next
    }
}
