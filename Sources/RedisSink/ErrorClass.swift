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
        switch error.prefix {
        case .oom, .misconf, .noreplicas, .loading, .busy, .masterdown, .tryagain, .clusterdown:
            self = .passing
        case .readonly, .noauth: self = .reconnect
        case .moved, .ask, .crossslot: self = .cluster
        default: self = .record
        }
    }
}
