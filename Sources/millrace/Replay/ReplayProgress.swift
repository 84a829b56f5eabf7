/// How far a replay is: a line on the terminal.
struct ReplayProgress {
    private static let interval = Duration.milliseconds(250)
    private static let width = 30

    private let offsets: Range<Int64>
    private let begin = ContinuousClock.now
    private let line = ProgressLine()

    init(_ offsets: Range<Int64>) {
        self.offsets = offsets
    }

    /// Shows it after a while. Throws `CancellationError` when nobody wants it any more, with the line taken away.
    func show(_ progress: (sink: String, offset: Int64, delivered: Int64)?) async throws {
        do {
            try await Task.sleep(for: ReplayProgress.interval)
        } catch {
            line.clear()
            throw error
        }
        if let progress, !offsets.isEmpty { line.show(text(progress)) }
    }

    private func text(_ progress: (sink: String, offset: Int64, delivered: Int64)) -> String {
        let done = Double(max(progress.offset - offsets.lowerBound, 0)) / Double(offsets.count)
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        let filled = Int(done * Double(ReplayProgress.width))
        let bar =
            String(repeating: "#", count: filled)
            + String(repeating: ".", count: max(ReplayProgress.width - filled, 0))
        let left = done > 0.01 ? readable(milliseconds: Int64(seconds / done * (1 - done) * 1000)) : "?"
        let rate = seconds > 0 ? Int64(Double(progress.delivered) / seconds) : 0
        return
            "\(progress.sink) [\(bar)] \(Int(done * 100)) %  \(progress.delivered) changes, \(rate)/s, \(left) left"
    }
}
