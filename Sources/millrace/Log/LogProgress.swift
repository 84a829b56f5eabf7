import Glibc
import Synchronization
import SystemPackage

/// How much of a long work is done, on a terminal; nothing in a pipe.
final class LogProgress: Sendable {
    private let label: String
    private let isShown = isatty(STDERR_FILENO) == 1
    /// The last percentage shown; -1 before the first.
    private let shown = Atomic<Int64>(-1)

    init(_ label: String) {
        self.label = label
    }

    /// May be called by several threads.
    func note(_ done: Int64, of all: Int64) {
        guard isShown, all > 0 else { return }
        let percent = min(done * 100 / all, 100)
        guard shown.exchange(percent, ordering: .relaxed) < percent else { return }
        write("\r\(label) \(percent) %")
    }

    /// Takes the line away.
    func finish() {
        if isShown, shown.load(ordering: .relaxed) >= 0 { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) {
        // Where even standard error is gone there is nobody left to tell.
        _ = try? FileDescriptor.standardError.writeAll(text.utf8)
    }
}
