/// Why a log cannot be opened, read or written.
public struct LogError: Error, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// Another process writes this log.
        case locked
        /// Bytes that are not what was written.
        case corrupt
        case io, outOfSpace, permission, notFound
        /// The offset lies before the log's start: retention has removed it.
        case trimmed
        case invalidArgument, unsupportedVersion
        /// The writer has been closed, or has failed in a way that leaves the state of the disk unknown.
        case closed
    }

    public var code: Code
    public var message: String
    public var file: String?
    /// Byte in the file.
    public var position: Int64?
    public var errno: Int32?

    public init(
        code: Code, message: String, file: String? = nil, position: Int64? = nil, errno: Int32? = nil
    ) {
        self.code = code
        self.message = message
        self.file = file
        self.position = position
        self.errno = errno
    }

    public var description: String {
        let place = file.map { $0 + (position.map { " at byte \($0)" } ?? "") + ": " } ?? ""
        return place + message
    }
}
