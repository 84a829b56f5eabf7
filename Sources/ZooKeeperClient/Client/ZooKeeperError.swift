/// Why an operation or a connection failed.
public struct ZooKeeperError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What went wrong; the numbers of ZooKeeper's `KeeperException.Code` where the server said it.
    public enum Code: Sendable, Hashable {
        // Said by the server.
        case systemError
        /// Rolled back: another operation of the same multi failed.
        case runtimeInconsistency
        case dataInconsistency
        case marshalling
        case unimplemented
        case badArguments
        case apiError
        case noNode
        case noAuth
        case badVersion
        case noChildrenForEphemerals
        case nodeExists
        case notEmpty
        case sessionExpired
        case invalidACL
        case authenticationFailed
        case sessionMoved
        case notReadOnly
        case noWatcher
        case quotaExceeded
        case throttled
        // Found by the client.
        /// The connection is not there or went away: whether the server carried out a write is not known.
        case connectionLoss
        /// No connection could be made.
        case connectionFailed
        /// The server closed the connection without an answer to the connect request: its state is older than
        /// what the client has seen, or it serves nobody at the moment.
        case refusedByServer
        /// No answer in time, from the server or from the client's own queue.
        case timeout
        /// A frame is larger than the configuration allows.
        case frameTooLarge
        /// The server sent what the protocol does not allow.
        case protocolViolation
        /// An observer: the transactions that came are not one after the other.
        case missingTransactions
        /// An observer: the ensemble does not hold what was seen before.
        case ensembleBehind
        /// An observer: nobody fetched its events for too long.
        case stalled
        /// More requests wait than the configuration allows.
        case overloaded
        /// The caller's task was cancelled; whether the server carried out a write is not known.
        case cancelled
        /// The client is closed.
        case closed
        /// A code of the server without a name here.
        case unknown(Int32)
    }

    public var code: Code
    /// The path of the request, without the chroot, where there is one.
    public var path: String?
    public var message: String
    /// In a failed multi, the index of the operation that failed; none of the others were applied.
    public var operation: Int?

    public init(_ code: Code, path: String? = nil, message: String, operation: Int? = nil) {
        self.code = code
        self.path = path
        self.message = message
        self.operation = operation
    }

    public var description: String {
        var text = "\(code)"
        if let path { text += " at \(path)" }
        if let operation { text += " (operation \(operation) of a multi)" }
        return text + ": " + message
    }
}

extension ZooKeeperError.Code {
    /// Names a code of a reply header (`KeeperException.Code` in ZooKeeper's source).
    init(server code: Int32) {
        self =
            switch code {
            case -1: .systemError
            case -2: .runtimeInconsistency
            case -3: .dataInconsistency
            case -4: .connectionLoss
            case -5: .marshalling
            case -6: .unimplemented
            case -7, -122: .timeout
            case -8: .badArguments
            case -100: .apiError
            case -101: .noNode
            case -102: .noAuth
            case -103: .badVersion
            case -108: .noChildrenForEphemerals
            case -110: .nodeExists
            case -111: .notEmpty
            case -112: .sessionExpired
            case -114: .invalidACL
            case -115: .authenticationFailed
            case -118: .sessionMoved
            case -119: .notReadOnly
            case -121: .noWatcher
            case -125: .quotaExceeded
            case -127: .throttled
            default: .unknown(code)
            }
    }

    var serverMessage: String {
        switch self {
        case .runtimeInconsistency: "rolled back because another operation of the multi failed"
        case .marshalling: "the server could not read the request"
        case .unimplemented: "the server does not know this operation"
        case .badArguments: "the server calls the arguments wrong"
        case .noNode: "there is no such node"
        case .noAuth: "the session may not do this"
        case .badVersion: "the node has another version"
        case .noChildrenForEphemerals: "an ephemeral node cannot have children"
        case .nodeExists: "the node exists already"
        case .notEmpty: "the node has children"
        case .sessionExpired: "the session has expired"
        case .invalidACL: "the access control list is not valid"
        case .authenticationFailed: "the server refuses the credentials or their scheme"
        case .sessionMoved: "the session has moved to another server"
        case .notReadOnly: "the server is read-only"
        case .noWatcher: "there is no such watch"
        case .quotaExceeded: "a quota is exceeded"
        case .throttled: "the server is too busy for this request"
        case .timeout: "the server gave the request up"
        default: "the server reports an error"
        }
    }
}

extension ZooKeeperError {
    init(server code: Int32, path: String?, operation: Int? = nil) {
        let named = Code(server: code)
        self.init(named, path: path, message: "\(named.serverMessage) (\(code))", operation: operation)
    }

    static func connectionLoss(path: String?) -> ZooKeeperError {
        ZooKeeperError(.connectionLoss, path: path, message: "the connection was lost before the answer came")
    }

    static func notConnected(path: String?) -> ZooKeeperError {
        ZooKeeperError(.connectionLoss, path: path, message: "there is no connection")
    }

    static func closed(path: String?) -> ZooKeeperError {
        ZooKeeperError(.closed, path: path, message: "the client is closed")
    }
}
