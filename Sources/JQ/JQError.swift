/// Why a jq program could not be compiled or did not end well. Safe to print: data that a message of jq's quotes
/// is cut off.
public struct JQError: Error, Hashable, CustomStringConvertible {
    public enum Code: Sendable, Hashable {
        /// The program is no jq.
        case syntax
        /// The program has ended with an error.
        case failed
        /// It did not end in time, or its output is larger than allowed.
        case limit
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
