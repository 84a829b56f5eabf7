/// Why a pipeline ended, in the terms that a caller can act on: the kind decides the exit code.
public struct PipelineError: Error, Hashable, CustomStringConvertible {
    public enum Kind: Sendable, Hashable {
        /// It failed while running: a refused record with `on_error: stop`, another writer, damage. Exit code 1.
        case failed
        /// A server, a file or a permission is missing. Exit code 3.
        case unavailable
    }

    public var kind: Kind
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public static func failed(_ message: String) -> PipelineError { PipelineError(.failed, message) }
    public static func unavailable(_ message: String) -> PipelineError {
        PipelineError(.unavailable, message)
    }

    public var description: String { message }
}
