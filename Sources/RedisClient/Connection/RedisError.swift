/// Why something could not be asked of Redis, or was not answered.
///
/// Safe to print: neither passwords nor data are in it, except what a server quotes in an error of `server`.
public struct RedisError: Error, Sendable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        /// No connection came about: nobody listens, TLS failed, a file that TLS needs cannot be used.
        case connectionFailed
        /// The connection was closed, by either side. What was sent may or may not have been executed.
        case connectionClosed
        /// Something took longer than the configuration allows. What was sent may or may not have been
        /// executed.
        case timeout
        /// The peer does not speak RESP, or sends what nobody asked for.
        case protocolViolation
        /// A reply is beyond `RESPLimits`, or too much is outstanding on the connection.
        case limitExceeded
        /// The server does not accept the credentials, or wants some.
        case authenticationFailed
        /// The server refused a command that sets the connection up.
        case server(RedisServerError)
        /// The URL cannot be read.
        case invalidURL
        /// The server or this client lacks what was asked for.
        case notSupported
        /// The task was cancelled. What was sent may or may not have been executed.
        case cancelled
    }

    public var code: Code
    public var message: String
    /// The server, as `host:port` or the path of a socket.
    public var address: String?

    public init(code: Code, message: String, address: String? = nil) {
        self.code = code
        self.message = message
        self.address = address
    }

    public var description: String {
        address.map { "\($0): \(message)" } ?? message
    }
}
