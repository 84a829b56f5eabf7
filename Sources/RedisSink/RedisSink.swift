public import Engine
public import Logging
import Mapping
import RedisClient

/// Delivers to one Redis: data and checkpoint in one MULTI, stream IDs from the log's offsets, one transaction
/// in flight, fenced by WATCH. Effectively once into streams and keys.
public actor RedisSink: ChangeSink {
    let configuration: Configuration
    let key: String
    private let client: RedisClient
    private let logger: Logger
    var context: SinkContext?
    private var link: RedisConnection?
    /// The checkpoint as Redis holds it, as far as we know.
    var stored: Checkpoint?
    /// Confirmed by the engine, to be written with the next transaction.
    var confirmed: Int64 = 0
    private let guardian: StreamGuard
    /// Offsets below it have been sent before.
    private var resendBelow: Int64 = 0
    private var backoff = Backoff()
    private var lastLook = ContinuousClock.now
    private var lastFollowed = ContinuousClock.now
    /// The log's end when every live node was asked for once more: all of them follow behind it.
    private var snapshotAskedAt: Int64?

    /// How long one attempt to connect may take, with what it has to ask Sentinel.
    private static let connectRound = Duration.seconds(10)
    private static let lookInterval = Duration.seconds(1)
    private static let followInterval = Duration.seconds(2)

    public init(_ configuration: Configuration, logger: Logger) {
        self.configuration = configuration
        key = CheckpointRecord.key(pipeline: configuration.pipeline, sink: configuration.sink)
        var logger = logger
        logger[metadataKey: "sink"] = "\(configuration.sink)"
        self.logger = logger
        client = RedisClient(configuration: configuration.redis, logger: logger)
        guardian = StreamGuard(configuration)
    }

    // MARK: ChangeSink

    public func start(_ context: SinkContext) async throws -> Int64 {
        self.context = context
        var floor: UInt16?
        while true {
            try Task.checkCancellation()
            do {
                let connection = try await connect()
                let found = try await read(connection, watching: true)
                var claim = try Claim(found, context: context, configuration: configuration, key: key)
                if let above = claim.generationAbove {
                    // Attempts share one: generations are few.
                    let taken = floor.flatMap { $0 > above ? $0 : nil }
                    claim.checkpoint.floor =
                        if let taken { taken } else { try await context.startGeneration(above) }
                    floor = claim.checkpoint.floor
                }
                if let message = claim.message { logger.warning("\(message)") }
                if claim.missesChanges { try await askForSnapshot(context) }
                if try await write(claim.checkpoint, connection) {
                    confirmed = claim.checkpoint.confirmed
                    resendBelow = claim.checkpoint.sent
                    EvictionWarning.give(
                        try await connection.send(EvictionWarning.question),
                        server: "\(configuration.redis.endpoint)", logger)
                    return claim.checkpoint.confirmed
                }
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    public func deliver(_ batch: MappedBatch) async throws -> DeliveryOutcome {
        var refused: [Int: RedisServerError] = [:]
        while true {
            try Task.checkCancellation()
            await followMaster()
            do {
                let connection: RedisConnection
                switch try await attached() {
                case .ready(let ready): connection = ready
                case .rewound(let offset): return .rewound(to: offset)
                }
                guard let context, var basis = stored else { throw RedisSink.notStarted }
                let ahead = try await guardian.check(batch, context, connection) { _ in basis }
                if let highest = ahead.map(\.generation).max() {
                    basis.floor = max(basis.floor, try await context.startGeneration(highest))
                    stored = basis
                }
                let checkpoint = next(basis, after: batch)
                let owned = try await plan(batch, excluding: Set(refused.keys), connection)
                if let owned { refused.merge(owned.refused) { first, _ in first } }
                let transaction = Transaction(
                    owned?.changes ?? batch.changes, excluding: Set(refused.keys), memory: owned?.memory,
                    checkpoint: checkpoint, key: key, encoder: try await encoder(context, batch, connection),
                    isFenced: configuration.isFenced)
                let replies = try await connection.send(transaction.commands)
                switch transaction.outcome(of: replies) {
                case .executed(let errors):
                    try settle(checkpoint, transaction, replies)
                    let final = try await guardian.filter(
                        errors, batch, .init(checkpoint: checkpoint, resendBelow: resendBelow), context,
                        connection)
                    refused.merge(final) { first, _ in first }
                    if let offset = try await replicate() { return .rewound(to: offset) }
                    return .delivered(rejections(refused, batch))
                case .notAccepted(let errors):
                    refused.merge(errors) { first, _ in first }
                case .conflict:
                    if let offset = try await examine(try transaction.checkpoint(in: replies), connection) {
                        return .rewound(to: offset)
                    }
                case .passing(let error):
                    try await wait(error)
                case .reconnect(let error):
                    try await drop(error)
                case .fatal(let error):
                    throw fatal(error)
                case .malformed:
                    throw RedisError(
                        code: .protocolViolation, message: "answers to a transaction of another form")
                }
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    public func confirm(_ offset: Int64) {
        confirmed = offset
    }

    public func idle() async throws -> Int64? {
        guard let stored else { return nil }
        if confirmed > stored.confirmed {
            let empty = MappedBatch(
                offsets: stored.sent..<max(stored.sent, confirmed), changes: [], settled: stored.settled,
                generation: stored.generation)
            if case .rewound(let offset) = try await deliver(empty) { return offset }
            return nil
        }
        guard ContinuousClock.now - lastLook >= RedisSink.lookInterval else { return nil }
        await followMaster()
        do {
            switch try await attached() {
            case .rewound(let offset): return offset
            case .ready(let connection):
                let offset = try await examine(read(connection, watching: false), connection)
                works()
                return offset
            }
        } catch let error as RedisError {
            try await lost(error)
            return nil
        }
    }

    public func replayedLetters() async throws -> [ReplayedLetter] {
        do {
            guard case .ready(let connection) = try await attached() else {
                throw PipelineError.failed("sink \(configuration.sink) has lost what it had acknowledged")
            }
            var commands = RedisCommandBatch()
            commands.append("HGET", key, CheckpointRecord.replayedField)
            guard let record = try await connection.send(commands).first else { return [] }
            return try await StreamGuard.replayedLetters(record, connection)
        } catch let error as RedisError {
            throw PipelineError.unavailable("Redis: \(error)")
        }
    }

    public func close() async {
        await client.close()
    }

    // MARK: Positions

    private func next(_ stored: Checkpoint, after batch: MappedBatch) -> Checkpoint {
        var checkpoint = stored
        checkpoint.sent = max(stored.sent, batch.offsets.upperBound)
        checkpoint.confirmed = max(stored.confirmed, confirmed)
        checkpoint.generation = max(stored.generation, batch.generation)
        checkpoint.settled = max(stored.settled, batch.settled)
        checkpoint.owner = configuration.owner
        checkpoint.written = wallClockMilliseconds()
        return checkpoint
    }

    /// A transaction has gone through: what Redis now holds is ours, unless somebody was quicker.
    private func settle(
        _ checkpoint: Checkpoint, _ transaction: Transaction, _ replies: [RESPValue]
    ) throws(PipelineError) {
        let found = try transaction.checkpoint(in: replies)
        if configuration.isFenced, let found, isForeign(found, checkpoint) { throw fenced(found) }
        stored = checkpoint
        lastLook = .now
        works()
    }

    /// The server takes what it is sent.
    private func works() {
        backoff.reset()
        context?.trouble.passed()
    }

    /// Compares what Redis holds with what we know; the offset to go back to where it has lost something.
    ///
    /// Throws `PipelineError.failed` where another process has taken the sink.
    private func examine(_ found: Checkpoint?, _ connection: RedisConnection) async throws -> Int64? {
        guard let context, let known = stored else { throw RedisSink.notStarted }
        lastLook = .now
        guard configuration.isFenced else { return nil }
        if let found, isForeign(found, known) { throw fenced(found) }
        if let found, found.epoch == known.epoch, found.logID == known.logID, found.sent >= known.sent {
            // Larger: our transaction was executed and its answer lost. Sending it again tells what was refused.
            resendBelow = found.sent
            stored = found
            stored?.floor = max(found.floor, known.floor)
            return nil
        }
        var claim = try Claim(
            lost: found, known: known, context: context, configuration: configuration, key: key)
        claim.checkpoint.epoch = known.epoch
        if claim.missesChanges { try await askForSnapshot(context) }
        let now = try await read(connection, watching: true)
        if now != found { return try await examine(now, connection) }
        // Refused where the watch was broken before it was set anew, or by another owner: look again.
        guard try await write(claim.checkpoint, connection) else {
            return try await examine(try await read(connection, watching: true), connection)
        }
        confirmed = claim.checkpoint.confirmed
        guardian.forget()
        resendBelow = claim.checkpoint.sent
        return claim.checkpoint.confirmed
    }

    /// Once is enough, as long as the log still holds what was appended since.
    private func askForSnapshot(_ context: SinkContext) async throws {
        if let snapshotAskedAt, context.startOffset <= snapshotAskedAt { return }
        let end = context.endOffset
        try await context.repeatSnapshot()
        snapshotAskedAt = end
    }

    private func read(_ connection: RedisConnection, watching: Bool) async throws -> Checkpoint? {
        var batch = RedisCommandBatch()
        if watching, configuration.isFenced { batch.append("WATCH", key) }
        CheckpointRecord.appendRead(key: key, to: &batch)
        let replies = try await connection.send(batch)
        for case .error(let error) in replies {
            switch ErrorClass(error) {
            case .passing, .reconnect: throw RedisError(code: .server(error), message: error.message)
            case .record, .cluster: throw fatal(error)
            }
        }
        guard let last = replies.last else { return nil }
        return try CheckpointRecord.parse(last, key: key)
    }

    /// Writes a checkpoint without data; `false` where somebody else wrote it first.
    func write(_ checkpoint: Checkpoint, _ connection: RedisConnection) async throws -> Bool {
        let transaction = Transaction(
            [], excluding: [], checkpoint: checkpoint, key: key,
            encoder: CommandEncoder(), isFenced: configuration.isFenced)
        let replies = try await connection.send(transaction.commands)
        switch transaction.outcome(of: replies) {
        case .executed:
            try settle(checkpoint, transaction, replies)
            return true
        case .conflict, .notAccepted:
            return false
        case .passing(let error), .reconnect(let error):
            throw RedisError(code: .server(error), message: error.message)
        case .fatal(let error):
            throw fatal(error)
        case .malformed:
            throw RedisError(code: .protocolViolation, message: "answers to a transaction of another form")
        }
    }

    /// `WAIT`, again and again, until enough replicas have what was written; nothing is written again for it.
    ///
    /// Returns the offset to go back to where a failover has lost it.
    private func replicate() async throws -> Int64? {
        guard let wait = configuration.wait else { return nil }
        while true {
            try Task.checkCancellation()
            await followMaster()
            do {
                let connection: RedisConnection
                if let link, !link.isClosed {
                    connection = link
                } else {
                    switch try await attached() {
                    case .rewound(let offset): return offset
                    case .ready(let ready): connection = ready
                    }
                    // WAIT waits for what its own connection has written: on a new one that has to be something.
                    guard let stored, try await write(stored, connection) else {
                        let found = try await read(connection, watching: true)
                        if let offset = try await examine(found, connection) { return offset }
                        await connection.close()
                        continue
                    }
                }
                var batch = RedisCommandBatch()
                batch.append("WAIT", "\(wait.replicas)", "\(wait.timeoutMilliseconds)")
                switch try await connection.send(batch).first {
                case .integer(let count)? where count >= wait.replicas:
                    works()
                    return nil
                case .error(let error)?
                where error.prefix == .noperm || error.message.hasPrefix("ERR unknown"):
                    throw fatal(error)
                case .error(let error)?:
                    // It has become a replica, for example.
                    try await drop(error)
                case .integer(let count)?:
                    try await self.wait(
                        RedisServerError(
                            message: "\(count) of \(wait.replicas) replicas have what was written"))
                default:
                    throw RedisError(code: .protocolViolation, message: "an answer to WAIT of another form")
                }
            } catch let error as RedisError {
                try await lost(error)
            }
        }
    }

    private func encoder(
        _ context: SinkContext, _ batch: MappedBatch, _ connection: RedisConnection
    ) async throws -> CommandEncoder {
        guard let stored else { throw RedisSink.notStarted }
        return CommandEncoder(
            trim: try await guardian.trim(configuration.stream?.trim, context),
            numbering: guardian.numbering,
            placements: try await guardian.place(batch, context, connection) { _ in stored })
    }

    // MARK: Connection

    enum Attachment {
        case ready(RedisConnection)
        case rewound(Int64)
    }

    /// The connection with the watch set on it. After a reconnect the checkpoint is read first: the server may
    /// be another one, or have lost something.
    func attached() async throws -> Attachment {
        if let link, !link.isClosed { return .ready(link) }
        let connection = try await connect()
        if let offset = try await examine(read(connection, watching: true), connection) {
            return .rewound(offset)
        }
        return .ready(connection)
    }

    /// Asks Sentinel, where there is one, every two seconds.
    private func followMaster() async {
        guard ContinuousClock.now - lastFollowed >= RedisSink.followInterval else { return }
        await client.followMaster()
        lastFollowed = .now
    }

    private func connect() async throws(RedisError) -> RedisConnection {
        if let link, !link.isClosed { return link }
        link = nil
        // Every failure is heard of at once, for whoever watches.
        let connection = try await client.connection(
            deadline: .now + RedisSink.connectRound, isPatient: false)
        link = connection
        return connection
    }

    func lost(_ error: RedisError) async throws {
        try Task.checkCancellation()
        if backoff.isFirst { logger.warning("Redis: \(error); trying again") }
        context?.trouble.met("\(error)")
        await link?.close()
        link = nil
        try await Task.sleep(for: backoff.take())
    }

    private func drop(_ error: RedisServerError) async throws {
        try await lost(RedisError(code: .server(error), message: error.message))
    }

    private func wait(_ error: RedisServerError) async throws {
        if backoff.isFirst { logger.warning("Redis: \(error.message); waiting") }
        context?.trouble.met("\(configuration.redis.endpoint): \(error.message)")
        try await Task.sleep(for: backoff.take())
    }
}
