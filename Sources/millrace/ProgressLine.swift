import Glibc
import Synchronization
import SystemPackage

/// One line on a terminal that is written over, a few times a second; nothing where standard error is none.
///
/// May be used by several threads.
final class ProgressLine: Sendable {
    private static let interval = Duration.milliseconds(200)

    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let lastShown = Mutex<ContinuousClock.Instant?>(nil)

    /// - Parameter text: made only where it is shown.
    func show(_ text: @autoclosure () -> String) {
        guard isTerminal else { return }
        let isDue = lastShown.withLock { last in
            if let last, .now - last < ProgressLine.interval { return false }
            last = .now
            return true
        }
        if isDue { write("\r\u{1B}[K" + text()) }
    }

    /// Takes the line away.
    func clear() {
        if lastShown.withLock({ $0 != nil }) { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) {
        // Where even standard error is gone there is nobody left to tell.
        _ = try? FileDescriptor.standardError.writeAll(text.utf8)
    }
}
