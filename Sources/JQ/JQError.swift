/// Why a jq program could not be compiled or did not end well. Safe to print: data that a message of jq's quotes
/// is cut off.
public struct JQError: Error, Hashable, CustomStringConvertible {
    public enum Code: UInt8, Sendable, Hashable {
        /// The program is no jq.
        case syntax = 1
        /// The program has ended with an error, or has ended the worker.
        case failed = 2
        /// It did not end in time, its output is larger than allowed, or it needs more memory than allowed.
        case limit = 3
        /// There is no worker: it cannot be started.
        case unavailable = 4
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
