import ChangeModel
public import Logging
public import Mapping
public import SegmentLog
public import SystemPackage

/// One sink of a pipeline, ready to run.
public struct SinkSetup: Sendable {
    public var name: String
    public var sink: any ChangeSink
    public var checkpoints: any CheckpointStore

    public init(name: String, sink: any ChangeSink, checkpoints: any CheckpointStore) {
        self.name = name
        self.sink = sink
        self.checkpoints = checkpoints
    }
}

/// All that a pipeline is made of.
public struct PipelineSetup: Sendable {
    public var name: String
    public var directory: FilePath
    public var log: LogConfiguration
    public var retainsByForce: Bool
    public var mapper: Mapper
    public var source: any ChangeSource
    /// In the order in which the mapper knows them.
    public var sinks: [SinkSetup]
    public var onError: ErrorPolicy
    public var stopsWhenCaughtUp: Bool
    public var takesOver: Bool
    /// What the log knows is of another ensemble, or of a later state of this one.
    public var isNewEnsemble: Bool
    /// Whether a change carries the data before it too: each node's is kept in memory.
    public var tellsBefore = false
    public var logger: Logger

    public init(
        name: String, directory: FilePath, log: LogConfiguration, retainsByForce: Bool, mapper: Mapper,
        source: any ChangeSource, sinks: [SinkSetup], onError: ErrorPolicy, stopsWhenCaughtUp: Bool,
        takesOver: Bool, isNewEnsemble: Bool, logger: Logger
    ) {
        self.name = name
        self.directory = directory
        self.log = log
        self.retainsByForce = retainsByForce
        self.mapper = mapper
        self.source = source
        self.sinks = sinks
        self.onError = onError
        self.stopsWhenCaughtUp = stopsWhenCaughtUp
        self.takesOver = takesOver
        self.isNewEnsemble = isNewEnsemble
        self.logger = logger
    }
}

/// Capture, log and deliveries of one definition, as one piece of structured concurrency.
public struct Pipeline: Sendable {
    private let setup: PipelineSetup
    private let logger: Logger
    /// How it is, for whoever watches it.
    public let progress: PipelineProgress

    /// How long a shutdown waits for sinks to take what the log holds.
    private static let drainTimeout = Duration.seconds(10)
    /// How long a first start waits for each sink.
    private static let sinkTimeout = Duration.seconds(10)
    private static let housekeepingInterval = Duration.seconds(5)
    private static let owedInterval = Duration.milliseconds(50)
    /// Known state is written at least this often while there are changes.
    private static let stateInterval = Duration.seconds(300)

    public init(_ setup: PipelineSetup) {
        self.setup = setup
        var logger = setup.logger
        logger[metadataKey: "pipeline"] = "\(setup.name)"
        self.logger = logger
        progress = PipelineProgress(setup)
    }

    /// Runs until `shutdown` reaches 1 (then drains and writes the checkpoints) or, if asked to, until caught up.
    ///
    /// Throws `PipelineError`.
    public func run(shutdown: Watermark) async throws {
        defer { progress.ended() }
        let log = try await open()
        let ingest = Ingest(log: log, progress: progress.capture)
        let deadLetters = DeadLetters(logDirectory: setup.directory, policy: setup.onError, logger: logger)
        let sinks = progress.sinks
        let stop = Watermark(0)
        progress.started(.init(log: log, ingest: ingest, stop: stop))
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await capture(ingest, stop: stop)
                    ingest.finish()
                }
                group.addTask {
                    try await ingest.run()
                    log.tail.finish()
                    stop.set(1)
                }
                for (index, sink) in setup.sinks.enumerated() {
                    let delivery = delivery(sink, index, log, deadLetters, sinks[index])
                    group.addTask { try await deliver(delivery, stop: stop) }
                }
                group.addTask {
                    try await firstOf(
                        { try await shutdown.wait(until: 1) }, or: { try await stop.wait(until: 1) })
                    stop.set(1)
                }
                group.addTask { try await keepHouse(log, ingest, sinks, stop: stop) }
                if setup.stopsWhenCaughtUp {
                    group.addTask {
                        try await firstOf(
                            { try await waitUntilCaughtUp(log, ingest, sinks, stop: stop) },
                            or: { try await stop.wait(until: 1) })
                    }
                }
                // Not waitForAll: it would wait for the others before it tells of the first failure.
                while try await group.next() != nil {}
            }
        } catch {
            await close(log, deadLetters)
            throw error
        }
        await close(log, deadLetters)
        report(log, sinks)
    }

    /// Opens the log. An empty one takes a generation above whatever its sinks have seen, so every sink must be
    /// there for a first start.
    private func open() async throws -> PipelineLog {
        var generation: UInt16 = 0
        if !hasRecords() {
            for sink in setup.sinks {
                if let checkpoint = try await sink.checkpoints.read(timeout: Pipeline.sinkTimeout) {
                    let highest = max(checkpoint.generation, checkpoint.floor)
                    guard highest < .max else {
                        throw PipelineError.failed(
                            "\(sink.checkpoints.place) is at the last of 65,535 generations; use a new name")
                    }
                    generation = max(generation, highest + 1)
                }
            }
        }
        let log = try PipelineLog(
            directory: setup.directory, configuration: setup.log, initialGeneration: generation,
            keepsData: setup.tellsBefore)
        if await log.nextOffset == 0, log.generations.last.map({ $0.number < generation }) ?? false {
            _ = try await log.startGeneration(above: generation - 1)
        }
        if setup.isNewEnsemble, await log.nextOffset > 0 { _ = try await log.startGeneration(above: 0) }
        for warning in log.recovery.warnings { logger.warning("\(warning)") }
        logger.info(
            "log opened",
            metadata: [
                "directory": "\(setup.directory)", "end": "\(log.tail.value)",
            ])
        return log
    }

    private func hasRecords() -> Bool {
        ((try? LogDirectory.endOffset(setup.directory)) ?? 0) > 0
    }

    /// Captures until `stop`.
    private func capture(_ ingest: Ingest, stop: Watermark) async throws {
        let source = setup.source
        try await firstOf(
            { try await source.run(into: ingest) },
            or: { try await stop.wait(until: 1) })
    }

    private func delivery(
        _ sink: SinkSetup, _ index: Int, _ log: PipelineLog, _ deadLetters: DeadLetters,
        _ progress: SinkProgress
    ) -> Delivery {
        let feed = DeliveryFeed(
            directory: setup.directory, mapper: setup.mapper, sinkIndex: index, sinkName: sink.name,
            stateful: setup.mapper.stateful)
        return Delivery(
            name: sink.name, sink: sink.sink, feed: feed,
            context: SinkContext(
                log, sink: sink.name, takeOver: setup.takesOver, feed, trouble: progress.trouble),
            tail: log.tail,
            takeRejections: { try await deadLetters.take($0, $1, sink: sink.name) },
            hurries: setup.stopsWhenCaughtUp, progress: progress, logger: logger)
    }

    /// Delivers until the log is finished and drained, or the drain takes too long.
    private func deliver(_ delivery: Delivery, stop: Watermark) async throws {
        try await firstOf(
            { try await delivery.run() },
            or: {
                try await stop.wait(until: 1)
                try await Task.sleep(for: Pipeline.drainTimeout)
                logger.warning(
                    "a sink could not take everything in time; it goes on from its checkpoint at the next start",
                    metadata: ["sink": "\(delivery.name)"])
            })
        await delivery.sink.close()
    }

    /// Retention (at each new segment, and every few seconds for its age), the sync of `fsync: interval`, and the
    /// known state.
    private func keepHouse(
        _ log: PipelineLog, _ ingest: Ingest, _ progress: [SinkProgress], stop: Watermark
    ) async throws {
        var rolled: Int64 = 0
        var stateDue = ContinuousClock.now + Pipeline.stateInterval
        while true {
            let next = rolled + 1
            let isStopped = try await firstOf {
                try await stop.wait(until: 1)
                return true
            } or: {
                _ = try await log.rolled.wait(until: next, timeout: Pipeline.housekeepingInterval)
                return false
            }
            if isStopped { return }
            rolled = log.rolled.value
            try await log.sync()
            if ContinuousClock.now >= stateDue {
                stateDue = .now + Pipeline.stateInterval
                await log.requestKnownState()
            }
            let slowest = progress.map(\.confirmed.value).min() ?? .max
            let removed = try await log.enforceRetention(
                keeping: setup.retainsByForce ? nil : max(slowest, 0))
            for segment in removed {
                logger.info("a segment is past its retention", metadata: ["segment": "\(segment)"])
            }
        }
    }

    /// Stops the pipeline once the snapshot or resync of this start is delivered everywhere.
    private func waitUntilCaughtUp(
        _ log: PipelineLog, _ ingest: Ingest, _ progress: [SinkProgress], stop: Watermark
    ) async throws {
        try await ingest.synchronized.wait(until: 0)
        var end = max(ingest.synchronized.value, log.tail.value)
        for sink in progress { try await sink.confirmed.wait(until: end) }
        // A sink that is owed every node once more has said so before it confirmed anything.
        while !log.owed.isQuiet {
            while !log.owed.isQuiet { try await Task.sleep(for: Pipeline.owedInterval) }
            end = log.tail.value
            for sink in progress { try await sink.confirmed.wait(until: end) }
        }
        logger.info("caught up", metadata: ["offset": "\(end)"])
        stop.set(1)
    }

    private func close(_ log: PipelineLog, _ deadLetters: DeadLetters) async {
        await deadLetters.close()
        do {
            try await log.close()
        } catch {
            logger.error("closing the log failed", metadata: ["error": "\(error)"])
        }
    }

    private func report(_ log: PipelineLog, _ progress: [SinkProgress]) {
        logger.info("stopped", metadata: ["captured": "\(log.captured.value)", "end": "\(log.tail.value)"])
        for sink in progress {
            logger.info(
                "sink",
                metadata: [
                    "sink": "\(sink.name)", "delivered": "\(sink.delivered)", "refused": "\(sink.refused)",
                    "offset": "\(sink.confirmed.value)",
                ])
        }
    }
}
