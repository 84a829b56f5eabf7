import Glibc
public import SystemPackage

/// The kernel's lock of a log: whoever holds it is the one process that may write there. It goes with its holder.
public final class LogLock {
    private let file: LogFile

    /// Takes the lock and leaves this process's id in it.
    ///
    /// Throws `.locked`, with the id of the process that has it.
    public init(_ directory: FilePath) throws(LogError) {
        file = try LogFile(directory.appending("lock"), .create)
        guard try LogLock.take(file) else {
            let owner = LogDirectory.writerProcess(directory).map { "process \($0)" } ?? "another process"
            throw LogError(
                code: .locked, message: "\(owner) is writing this log; one log has one writer",
                file: directory.string)
        }
        try file.truncate(to: 0)
        try file.write(Array("\(getProcessID())\n".utf8), at: 0)
    }

    /// Whoever only looks whether the log has a writer holds the lock for a moment: it is tried again for a second.
    private static func take(_ file: LogFile) throws(LogError) -> Bool {
        for _ in 0..<50 {
            if try file.lock() { return true }
            usleep(20_000)
        }
        return false
    }
}
