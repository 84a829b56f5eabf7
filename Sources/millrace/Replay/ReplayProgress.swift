import Glibc
import SystemPackage

/// A line on the terminal that tells how far a replay is; nothing where standard error is none.
struct ReplayProgress {
    private static let interval = Duration.milliseconds(250)
    private static let width = 30

    private let offsets: Range<Int64>
    private let begin = ContinuousClock.now
    private let isTerminal = isatty(STDERR_FILENO) == 1

    init(_ offsets: Range<Int64>) {
        self.offsets = offsets
    }

    /// Shows it after a while. Throws `CancellationError` when nobody wants it any more, with the line taken away.
    func show(_ progress: (sink: String, offset: Int64, delivered: Int64)?) async throws {
        do {
            try await Task.sleep(for: ReplayProgress.interval)
        } catch {
            if isTerminal { write("\r\u{1B}[K") }
            throw error
        }
        guard isTerminal, let progress, !offsets.isEmpty else { return }
        let done = Double(max(progress.offset - offsets.lowerBound, 0)) / Double(offsets.count)
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        let filled = Int(done * Double(ReplayProgress.width))
        let bar =
            String(repeating: "#", count: filled)
            + String(repeating: ".", count: max(ReplayProgress.width - filled, 0))
        let left = done > 0.01 ? readable(milliseconds: Int64(seconds / done * (1 - done) * 1000)) : "?"
        let rate = seconds > 0 ? Int64(Double(progress.delivered) / seconds) : 0
        write(
            "\r\u{1B}[K\(progress.sink) [\(bar)] \(Int(done * 100)) %  \(progress.delivered) changes, \(rate)/s, \(left) left"
        )
    }

    private func write(_ text: String) {
        _ = try? FileDescriptor.standardError.writeAll(text.utf8)
    }
}
