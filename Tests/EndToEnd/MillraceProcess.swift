import Foundation
import TestServers

/// The real program, as a user runs it, with standard output and standard error in files.
final class MillraceProcess: Sendable {
    let process: ServerProcess
    private let outputFile: String
    private let errorFile: String

    init(_ arguments: [String], environment: [String: String], directory: String) throws {
        let name = UUID().uuidString
        outputFile = "\(directory)/\(name).out"
        errorFile = "\(directory)/\(name).err"
        process = try ServerProcess(
            executable: "/bin/sh",
            arguments: ["-c", #"exec "$0" "$@" 2>"$MILLRACE_STDERR""#, try MillraceProcess.program()]
                + arguments,
            environment: environment.merging(["MILLRACE_STDERR": errorFile]) { $1 }, directory: directory,
            logFile: outputFile)
    }

    /// The program beside the test's own, or the one named by MILLRACE_PROGRAM.
    static func program() throws -> String {
        if let named = ProcessInfo.processInfo.environment["MILLRACE_PROGRAM"] { return named }
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let path = own.deletingLastPathComponent().appendingPathComponent("millrace").path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw TestServerError("there is no program at \(path); build it, or name it by MILLRACE_PROGRAM")
        }
        return path
    }

    var output: String { (try? String(contentsOfFile: outputFile, encoding: .utf8)) ?? "" }
    var errors: String { (try? String(contentsOfFile: errorFile, encoding: .utf8)) ?? "" }

    /// The most memory that has been resident so far (VmHWM), in bytes.
    var peakMemory: Int {
        let status = try? String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)
        let line = status?.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }

    func exit(within timeout: Duration = .seconds(60)) async throws -> Int32 {
        try await process.waitForExit(timeout: timeout)
    }

    /// SIGTERM, and the exit code that it ends with.
    func stop() async throws -> Int32 {
        await process.terminate(timeout: .seconds(20))
        return try await exit(within: .seconds(1))
    }
}
