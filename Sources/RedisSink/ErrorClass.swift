import RedisClient

/// What an error reply asks for.
enum ErrorClass: Equatable {
    /// It passes by itself: wait, and send the same again.
    case passing
    /// This server will not take it: connect anew and look at the checkpoint.
    case reconnect
    /// The command itself is at fault: its change is refused, the rest goes on.
    case record
    /// The server speaks as a cluster node.
    case cluster

    init(_ error: RedisServerError) {
        // What EXEC says names a cause; a cause that names another is none of Redis.
        let cause = error.prefix == .execabort ? ErrorClass.cause(of: error) : nil
        switch (cause ?? error).prefix {
        case .oom, .misconf, .noreplicas, .loading, .busy, .masterdown, .tryagain, .clusterdown:
            self = .passing
        case .readonly, .noauth: self = .reconnect
        case .moved, .ask, .crossslot: self = .cluster
        default: self = .record
        }
    }

    /// What EXEC says where a limit was passed after the commands had been queued: `EXECABORT Transaction
    /// discarded because of: OOM …`.
    private static func cause(of error: RedisServerError) -> RedisServerError? {
        guard let cause = error.message.firstRange(of: "because of: ") else { return nil }
        return RedisServerError(message: String(error.message[cause.upperBound...]))
    }
}
