import ChangeModel
import Engine
import SegmentLog

/// Where a sink goes on, decided from the checkpoint found and the log at hand. Pure.
struct Claim {
    /// To be written: the next epoch, positions that this log can vouch for.
    var checkpoint: Checkpoint
    /// What a person should know about the decision.
    var message: String?
    /// A generation above this one has to be started first: another log has written stream IDs up to it.
    var generationAbove: UInt16?
    /// The log does not hold all that the sink has not taken: it needs every live node once more.
    var missesChanges = false

    /// At a start.
    ///
    /// Throws `.unavailable` where the checkpoint belongs to another log, `.failed` where there is none and the
    /// definition says stop.
    init(
        _ found: Checkpoint?, context: SinkContext, configuration: RedisSink.Configuration, key: String
    ) throws(PipelineError) {
        guard let found else {
            let position = try Claim.position(context, configuration, key: key)
            checkpoint = Claim.fresh(at: position, epoch: 1, context, configuration)
            missesChanges = Claim.missesStart(context, configuration)
            return
        }
        if found.logID == context.logID {
            (checkpoint, message, missesChanges) = Claim.continuing(found, context, configuration)
        } else {
            // A log that began above this checkpoint's generation was made in the knowledge of it.
            let highest = max(found.generation, found.floor)
            let isSuccessor = (context.generations.first?.number ?? 0) > highest
            guard context.takeOver || isSuccessor else {
                throw .unavailable(
                    "the checkpoint \(key) belongs to the log \(found.logID), this is log \(context.logID); "
                        + "--take-over delivers this log from its start")
            }
            let position = try Claim.position(context, configuration, key: key)
            checkpoint = Claim.fresh(at: position, epoch: found.epoch + 1, context, configuration)
            missesChanges = Claim.missesStart(context, configuration)
            if !isSuccessor { generationAbove = highest }
            message = "the sink is taken over from log \(found.logID)"
        }
        checkpoint.epoch = found.epoch + 1
    }

    /// After Redis has lost a checkpoint, or gone back to an older one, under a running process.
    init(
        lost found: Checkpoint?, known: Checkpoint, context: SinkContext,
        configuration: RedisSink.Configuration, key: String
    ) throws(PipelineError) {
        if let found, found.logID == known.logID {
            (checkpoint, message, missesChanges) = Claim.continuing(found, context, configuration)
        } else {
            missesChanges = Claim.missesStart(context, configuration)
            // `latest` asked for nothing from before the first start; what came after it is owed.
            let position: Int64 =
                switch configuration.onMissingCheckpoint {
                case .earliest: context.startOffset
                case .latest: known.confirmed
                case .stop: throw Claim.missing(key)
                }
            checkpoint = Claim.fresh(at: position, epoch: known.epoch, context, configuration)
        }
        checkpoint.floor = max(checkpoint.floor, known.floor)
    }

    private static func continuing(
        _ found: Checkpoint, _ context: SinkContext, _ configuration: RedisSink.Configuration
    ) -> (Checkpoint, message: String?, missesChanges: Bool) {
        let start = context.startOffset
        var checkpoint = found
        let limit = min(context.limit(forCheckpointOf: found.generation), context.endOffset)
        checkpoint.sent = min(found.sent, limit)
        checkpoint.confirmed = min(found.confirmed, checkpoint.sent)
        checkpoint.owner = configuration.owner
        checkpoint.written = wallClockMilliseconds()
        if checkpoint.confirmed < start {
            let message =
                "the log no longer holds offsets \(checkpoint.confirmed) to \(start - 1), which the sink has not "
                + "taken; delivery goes on from \(start), and every live node follows once more"
            checkpoint.confirmed = start
            checkpoint.sent = max(checkpoint.sent, start)
            return (checkpoint, message, true)
        }
        guard found.sent > limit else { return (checkpoint, nil, false) }
        return (
            checkpoint,
            "the log has lost its end: the sink had offsets up to \(found.sent), the log vouches for \(limit); "
                + "'millrace verify' finds keys of nodes that were only in it",
            false
        )
    }

    /// Whether a sink that begins with the log's start begins too late.
    private static func missesStart(_ context: SinkContext, _ configuration: RedisSink.Configuration) -> Bool
    {
        configuration.onMissingCheckpoint == .earliest && context.startOffset > 0
    }

    private static func position(
        _ context: SinkContext, _ configuration: RedisSink.Configuration, key: String
    ) throws(PipelineError) -> Int64 {
        switch configuration.onMissingCheckpoint {
        case .earliest: context.startOffset
        case .latest: context.endOffset
        case .stop: throw missing(key)
        }
    }

    static func missing(_ key: String) -> PipelineError {
        .failed("there is no checkpoint \(key), and on_missing_checkpoint says stop")
    }

    private static func fresh(
        at position: Int64, epoch: Int64, _ context: SinkContext, _ configuration: RedisSink.Configuration
    ) -> Checkpoint {
        Checkpoint(
            epoch: epoch, sent: position, confirmed: position, generation: context.generation,
            logID: context.logID, settled: .none, floor: 0, owner: configuration.owner,
            written: wallClockMilliseconds())
    }
}
