import ArgumentParser
import Engine
import PipelineDefinition
import SegmentLog
import SystemPackage

extension ExitCode {
    /// It failed while running; or a difference or damage was found.
    static let failed = ExitCode(1)
    /// The definition is wrong.
    static let definition = ExitCode(2)
    /// A server, a file or a permission is missing.
    static let unavailable = ExitCode(3)
}

/// Writes a line to standard error.
func complain(_ message: String) {
    // Where even standard error is gone there is nobody left to tell.
    _ = try? FileDescriptor.standardError.writeAll((message + "\n").utf8)
}

/// Runs the body of a command: what it throws becomes a message and an exit code.
func reportingFailures(_ body: () async throws -> Void) async throws {
    do {
        try await body()
    } catch let error as PipelineError {
        complain("millrace: \(error.message)")
        throw error.kind == .failed ? ExitCode.failed : ExitCode.unavailable
    } catch let error as LogError {
        let error = PipelineError(log: error)
        complain("millrace: \(error.message)")
        throw error.kind == .failed ? ExitCode.failed : ExitCode.unavailable
    } catch let error as DefinitionFileError {
        complain("millrace: \(error)")
        throw ExitCode.unavailable
    }
}
