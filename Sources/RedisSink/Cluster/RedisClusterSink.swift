import ChangeModel
public import Engine
public import Logging
import Mapping
public import RedisClient

/// Delivers to a Redis Cluster, each write to the node that has its slot.
///
/// Streams: entries and a checkpoint of their slot in one step, fenced (`SlotTransaction`); effectively once. Keys: one
/// pipeline for each node with a marker behind it (`Marker`); at least once, and what is there in the end is the same.
///
/// A batch is done when all of it is; only then comes the next. So nothing newer of a key is under way while something
/// older of it is not settled, whatever the slots do. Where a node has lost what it had acknowledged, delivery goes back,
/// and only what that node's slots lack is written again (`ahead`). A sink that remembers what it has written, writes
/// lists (`ClusterMemoryPlan`) or holds changes back goes back as a whole.
public actor RedisClusterSink: ChangeSink {
    let configuration: RedisSink.Configuration
    let cluster: RedisCluster
    let logger: Logger
    let place: ClusterRecords.Place
    let guardian: StreamGuard
    var context: SinkContext?
    var backoff = Backoff()

    // What this process is and how far it has come.

    /// 0 before the start.
    var epoch: Int64 = 0
    /// Confirmed by the engine: everything before it is done in every slot.
    var confirmed: Int64 = 0
    /// By slot, where delivery has gone back: the offset before which everything is done already.
    var ahead: [Int64]?
    var generation: UInt16 = 0
    var settled = Zxid.none
    /// Stream IDs are at least of this generation; of some slots of a higher one.
    var floor: UInt16 = 0
    var floors: [HashSlot: UInt16] = [:]
    /// Started for a take-over.
    var takenGeneration: UInt16?
    /// Delivery has to go back to it before anything else.
    var owedRewind: Int64?
    var snapshotAskedAt: Int64?

    // What is known of the cluster.

    /// The map of slots that everything below was made for.
    var known: ClusterTopology?
    var masters: [RedisEndpoint.Address] = []
    /// By slot the position of its master; -1 where it has none.
    var owners = [Int16](repeating: -1, count: HashSlot.count)
    var links: [RedisEndpoint.Address: NodeLink] = [:]
    /// Histories of masters that have been seen before.
    var established: Set<String> = []
    /// By history who had it last.
    var holders: [String: RedisEndpoint.Address] = [:]
    /// Connections that ended with something under way.
    var ghosts: [RedisEndpoint.Address: [String]] = [:]
    /// By slot: the history that its data is part of.
    var homes = [String?](repeating: nil, count: HashSlot.count)
    /// By slot on its way: histories that have been written to besides.
    var guests: [HashSlot: [String: Guest]] = [:]
    var checkpoints: [HashSlot: StreamGuard.Basis] = [:]
    /// What a slot's checkpoint was where it had gone back, before our transaction wrote it.
    var regressed: [HashSlot: Checkpoint?] = [:]
    var placements: [RedisEndpoint.Address: MarkerPlacement] = [:]
    var shapes = HashShapes()
    /// Slots that a marker could not be written to.
    var avoided: Set<HashSlot> = []
    var lastMarked = ContinuousClock.now

    // What is known of what the cluster remembers for the sink (`ClusterMemory`).

    /// `nil`: it has to be counted.
    var stock: MemoryStock?
    /// What `ClusterMemory.proof` holds, "" for nothing; `nil`: not read yet.
    var proven: String?
    var needsRestoring = false
    var places: Places?

    var lastRefreshed = ContinuousClock.now

    struct Guest {
        var node: RedisEndpoint.Address
        /// The first offset that was written there.
        var since: Int64
    }

    static let lookInterval = Duration.seconds(1)
    private static let refreshInterval = Duration.seconds(1)
    /// Rounds after a redirection that follow at once.
    private static let quickRounds = 5

    /// - Throws: `RedisError` for an endpoint that is no cluster.
    public init(_ configuration: RedisSink.Configuration, logger: Logger) throws(RedisError) {
        self.configuration = configuration
        var logger = logger
        logger[metadataKey: "sink"] = "\(configuration.sink)"
        self.logger = logger
        cluster = try RedisCluster(configuration: configuration.redis, logger: logger)
        guardian = StreamGuard(configuration)
        place = ClusterRecords.Place(
            pipeline: configuration.pipeline, sink: configuration.sink,
            writesStreams: configuration.stream != nil)
    }

    // MARK: ChangeSink

    public func start(_ context: SinkContext) async throws -> Int64 {
        self.context = context
        while true {
            try Task.checkCancellation()
            do {
                let offset = try await claim(context)
                context.trouble.passed()
                return offset
            } catch let error as RedisClusterError {
                try await lost(error)
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    public func width() -> Int { masters.count }

    public func deliver(_ batch: MappedBatch) async throws -> DeliveryOutcome {
        if remembers { return try await deliverRemembering(batch) }
        var work = ClusterWork(batch)
        if !goesStraight(batch) { work.plan(ahead: ahead) }
        if let offset = try await complete(&work) { return .rewound(to: offset) }
        if let offset = try await replicate(work) { return .rewound(to: offset) }
        return finish(batch, work.refused)
    }

    /// Sends it until nothing is open. Returns the offset to go back to where something has been lost.
    func complete(_ work: inout ClusterWork) async throws -> Int64? {
        var quickRounds = 0
        while true {
            try Task.checkCancellation()
            do {
                try await refresh(waits: false)
                if let offset = try await reconcile(work) { return offset }
                guard work.isOpen else { return nil }
                let encoder = try await encoder(for: work.batch)
                // Nodes that get nothing are heard every second all the same.
                let isForAll = .now - lastMarked >= RedisClusterSink.lookInterval
                if isForAll { lastMarked = .now }
                let round =
                    work.isPlanned
                    ? try await send(&work, encoder, isForAll: isForAll)
                    : try await sendStraight(&work, encoder, isForAll: isForAll)
                if let cause = round.cause {
                    try await wait(cause)
                } else if isForAll {
                    context?.trouble.passed()
                }
                quickRounds = round.isRedirected ? quickRounds + 1 : 0
                if quickRounds > RedisClusterSink.quickRounds, work.isOpen {
                    quickRounds = 0
                    try await Task.sleep(for: backoff.take())
                }
            } catch let error as RedisClusterError {
                try await lost(error)
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    /// All of the batch is done.
    func finish(_ batch: MappedBatch, _ refused: [Int: RedisServerError]) -> DeliveryOutcome {
        if !batch.isReplay {
            generation = max(generation, batch.generation)
            settled = max(settled, batch.settled)
            if let farthest = ahead?.max(), farthest <= batch.offsets.upperBound { ahead = nil }
        }
        return .delivered(
            refused.sorted { $0.key < $1.key }.map { index, error in
                Rejection(batch.changes[index], reason: "Redis: \(error.message)")
            })
    }

    public func confirm(_ offset: Int64) {
        confirmed = offset
    }

    public func idle() async throws -> Int64? {
        guard epoch > 0 else { return nil }
        let isWritten = placements.values.allSatisfy { $0.isAway || $0.last.confirmed >= confirmed }
        if isWritten, .now - lastMarked < RedisClusterSink.lookInterval { return nil }
        do {
            try await refresh(waits: true)
            if let offset = try await reconcile(nil) { return offset }
            try await markAll()
            // What the markers said of their nodes.
            return try await reconcile(nil)
        } catch let error as RedisClusterError {
            try await lost(error)
        } catch let error as RedisError {
            try await lost(error)
        }
        return nil
    }

    public func replayedLetters() async throws -> [ReplayedLetter] {
        let reader = ClusterKeyReader(cluster: cluster)
        do {
            let keys = checkpoints.keys.map(checkpointKey)
            let questions = keys.map { key in
                var question = KeyQuestion(key: Array(key.utf8))
                question.commands.append("HGET", key, CheckpointRecord.replayedField)
                return question
            }
            var letters: [ReplayedLetter] = []
            for replies in try await reader.ask(questions) {
                guard let record = replies.first else { continue }
                letters += try await StreamGuard.replayedLetters(record, reader)
            }
            return letters
        } catch let error as RedisClusterError {
            throw PipelineError.unavailable("Redis: \(error)")
        } catch let error as RedisError {
            throw PipelineError.unavailable("Redis: \(error)")
        }
    }

    public func close() async {
        await cluster.close()
    }

    // MARK: Streams

    func checkpointKey(_ slot: HashSlot) -> String {
        CheckpointRecord.key(pipeline: place.pipeline, sink: place.sink, slot: slot)
    }

    /// What a slot's next transaction builds on; a fresh one where it has none.
    func basis(_ slot: HashSlot, _ context: SinkContext) -> Checkpoint {
        let position = position(of: slot)
        var checkpoint =
            checkpoints[slot]?.checkpoint
            ?? Checkpoint(
                epoch: epoch, sent: position, confirmed: position, generation: generation,
                logID: context.logID, settled: .none, floor: floor, owner: configuration.owner,
                written: wallClockMilliseconds())
        checkpoint.floor = max(checkpoint.floor, floors[slot] ?? 0)
        return checkpoint
    }

    private func encoder(for batch: MappedBatch) async throws -> CommandEncoder {
        guard place.writesStreams else { return CommandEncoder() }
        guard let context else { throw RedisSink.notStarted }
        let reader = ClusterKeyReader(cluster: cluster)
        let ahead = try await guardian.check(batch, context, reader) { basis(HashSlot(of: $0), context) }
        if let highest = ahead.map(\.generation).max() {
            let raised = try await context.startGeneration(highest)
            for stream in ahead {
                let slot = HashSlot(of: stream.stream)
                floors[slot] = max(floors[slot] ?? 0, raised)
            }
        }
        return CommandEncoder(
            trim: try await guardian.trim(configuration.stream?.trim, context),
            numbering: guardian.numbering,
            placements: try await guardian.place(batch, context, reader) { basis(HashSlot(of: $0), context) })
    }

    /// Slots that nobody writes to move without a redirection.
    ///
    /// - Parameter waits: until the nodes may be asked again; what is to be delivered does not.
    func refresh(waits: Bool) async throws(RedisClusterError) {
        guard .now - lastRefreshed >= RedisClusterSink.refreshInterval else { return }
        lastRefreshed = .now
        if waits { try await cluster.refreshTopology() } else { cluster.doubtTopology() }
        if placements.values.contains(where: \.isAway) { known = nil }
    }

    // MARK: Waiting

    func lost(_ error: some Error & CustomStringConvertible) async throws {
        try Task.checkCancellation()
        if (error as? RedisClusterError)?.code == .closed { throw CancellationError() }
        if let error = error as? RedisClusterError, let node = error.node {
            forget(node, hasUnanswered: error.code.leavesCommandsBehind)
        }
        if backoff.isFirst { logger.warning("Redis: \(error); trying again") }
        context?.trouble.met("\(error)")
        try await Task.sleep(for: backoff.take())
    }

    func wait(_ cause: String) async throws {
        if backoff.isFirst { logger.warning("Redis: \(cause); waiting") }
        context?.trouble.met(cause)
        try await Task.sleep(for: backoff.take())
    }
}
