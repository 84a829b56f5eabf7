/// What the replies to a batch say of the cluster.
struct ClusterObstacle {
    /// The slots that have moved, and where to.
    private(set) var moves: [(slot: HashSlot, address: RedisEndpoint.Address)] = []
    private(set) var error: RedisClusterError?

    /// Looks at the replies themselves: inside a transaction that was executed there is no such error.
    /// `MOVED` counts more than what else is there; of that the first.
    ///
    /// - Parameters:
    ///   - slot: of the batch.
    ///   - node: who replied.
    init(in replies: some Sequence<RESPValue>, slot: HashSlot, node: RedisEndpoint.Address) {
        for case .error(let reply) in replies {
            guard let code = examine(ClusterObstacle.cause(of: reply), slot, node) else { continue }
            if case .moved? = error?.code { continue }
            guard error == nil || code.isMove else { continue }
            error = RedisClusterError(code: code, message: reply.message, node: node)
        }
    }

    private mutating func examine(
        _ reply: RedisServerError, _ slot: HashSlot, _ node: RedisEndpoint.Address
    ) -> RedisClusterError.Code? {
        switch reply.prefix {
        case .moved, .ask:
            guard let (number, text) = reply.redirection, let told = HashSlot(number),
                let address = RedisEndpoint.Address(redirection: text, by: node)
            else { return .tryAgain }
            if reply.prefix == .moved { moves.append((told, address)) }
            guard told == slot else { return .crossSlot }
            return reply.prefix == .moved ? .moved(to: address) : .ask(to: address)
        case .tryagain: return .tryAgain
        case .clusterdown: return .clusterDown
        case .loading: return .loading
        case .masterdown: return .masterDown
        case .readonly: return .readOnly
        case .crossslot: return .crossSlot
        default: return nil
        }
    }

    /// `EXEC` wraps the error for which it refuses a whole transaction.
    private static func cause(of reply: RedisServerError) -> RedisServerError {
        guard reply.prefix == .execabort, let cause = reply.message.firstRange(of: "because of: ") else {
            return reply
        }
        return RedisServerError(message: String(reply.message[cause.upperBound...]))
    }
}

extension RedisClusterError.Code {
    fileprivate var isMove: Bool {
        if case .moved = self { true } else { false }
    }

    /// Whether the map of slots may be wrong.
    var questionsTopology: Bool {
        switch self {
        case .moved, .clusterDown, .readOnly, .masterDown, .notCovered, .unreachable, .connectionLost: true
        default: false
        }
    }
}
