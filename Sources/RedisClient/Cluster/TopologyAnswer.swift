/// What one node says of the cluster.
struct TopologyAnswer {
    let topology: ClusterTopology
    /// Whether it sees most of the masters.
    let isHealthy: Bool
    /// Grows with every failover and migration that it has heard of; 0 where it may not be asked.
    let epoch: Int64

    static var question: RedisCommandBatch {
        var batch = RedisCommandBatch()
        batch.append("CLUSTER", "SLOTS")
        batch.append("CLUSTER", "INFO")
        return batch
    }

    /// - Throws: `notSupported` where the server is no node of a cluster, `server`, `protocolViolation`, and
    ///   `connectionFailed` where the node knows of no slot.
    init(_ replies: [RESPValue], asked: RedisEndpoint.Address) throws(RedisError) {
        guard replies.count == 2 else {
            throw RedisError(
                code: .protocolViolation, message: "unexpected replies to CLUSTER SLOTS",
                address: asked.description)
        }
        if case .error(let error) = replies[0] {
            let isAlone = error.message.contains("cluster support disabled")
            throw RedisError(
                code: isAlone ? .notSupported : .server(error),
                message: isAlone ? "the server is no node of a cluster" : error.message,
                address: asked.description)
        }
        topology = try ClusterTopology(parsing: replies[0], asked: asked)
        guard !topology.masters.isEmpty else {
            throw RedisError(
                code: .connectionFailed, message: "the node knows of nobody who serves slots",
                address: asked.description)
        }
        var fields: [Substring: Substring] = [:]
        for line in (replies[1].string ?? "").split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...]
        }
        isHealthy = fields["cluster_state"].map { $0 == "ok" } ?? true
        epoch = fields["cluster_current_epoch"].flatMap { Int64($0) } ?? 0
    }

    init(topology: ClusterTopology, isHealthy: Bool, epoch: Int64) {
        self.topology = topology
        self.isHealthy = isHealthy
        self.epoch = epoch
    }

    /// Where nodes differ, a healthy one is right against one that is cut off, then the one that has heard
    /// more, then the majority, then the one that knows more slots.
    static func best(of answers: [TopologyAnswer]) -> ClusterTopology? {
        let rated = answers.map { answer in
            (
                answer.topology,
                [
                    answer.isHealthy ? 1 : 0, answer.epoch,
                    Int64(answers.count { $0.topology.hasSameOwners(as: answer.topology) }),
                    Int64(answer.topology.coveredSlots),
                ]
            )
        }
        return rated.max { $0.1.lexicographicallyPrecedes($1.1) }?.0
    }
}

/// When the map of slots is asked for: at most once in an interval, by one task for all.
struct RefreshGate {
    enum Step: Equatable {
        /// The caller asks now, and tells `end` what came of it.
        case ask
        /// Another one is asking, or it is too early.
        case wait(until: ContinuousClock.Instant)
        /// Nothing is to be done.
        case none
    }

    static let interval = Duration.seconds(1)
    /// How often it is looked whether another task has come to an end.
    static let lookInterval = Duration.milliseconds(10)

    private var isStale = true
    private var isRunning = false
    private var next: ContinuousClock.Instant?
    /// Times that it was asked to the end.
    private(set) var rounds: UInt64 = 0

    /// The map may be wrong.
    mutating func doubt() {
        isStale = true
    }

    /// Somebody wants the map anew; one that is being asked for will do.
    mutating func want() {
        if !isRunning { isStale = true }
    }

    mutating func step(_ now: ContinuousClock.Instant) -> Step {
        if isRunning { return .wait(until: now + RefreshGate.lookInterval) }
        guard isStale else { return .none }
        if let next, now < next { return .wait(until: next) }
        isRunning = true
        isStale = false
        next = now + RefreshGate.interval
        return .ask
    }

    mutating func end(succeeded: Bool) {
        isRunning = false
        rounds += 1
        if !succeeded { isStale = true }
    }

    /// Who asked was cancelled: another one may ask at once.
    mutating func abandon() {
        isRunning = false
        isStale = true
        next = nil
    }
}
