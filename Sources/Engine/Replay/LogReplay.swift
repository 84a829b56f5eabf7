import ChangeModel
import Logging
import Mapping
import SegmentLog
import Synchronization

/// Delivers a stretch of the log again, through the transforms of today: the delivery path, with another checkpoint.
///
/// Into other places each sink keeps a checkpoint of its own until it has come to the end, so a replay that was broken
/// off goes on where it was. Into the pipeline's own sinks the log's lock and the sinks' epochs are taken.
public actor LogReplay {
    private let executor = BlockingExecutor(label: "millrace.replay")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    public struct Request: Sendable {
        public var selection: ReplaySelection
        /// Names of sinks, in the order of the definition.
        public var sinks: Set<String>
        /// Only the newest change of each path.
        public var folds: Bool
        /// Changes a second at most.
        public var rate: Int?
        /// Into the pipeline's own sinks, whose checkpoints stay.
        public var restores: Bool

        public init(
            _ selection: ReplaySelection, sinks: Set<String>, folds: Bool, rate: Int?, restores: Bool
        ) {
            self.selection = selection
            self.sinks = sinks
            self.folds = folds
            self.rate = rate
            self.restores = restores
        }
    }

    /// What became of one sink.
    public struct Result: Sendable {
        public var sink: String
        /// Changes that became writes.
        public var delivered: Int64
        /// Changes that no rule could map or the server refused.
        public var refused: Int64
        /// Why, of the first of them: offset, path, reason.
        public var reasons: [(offset: Int64, path: String, reason: String)]
        public var duration: Duration
    }

    /// Reasons that are kept of each sink.
    private static let keptReasons = 20
    private static let serverTimeout = Duration.seconds(10)

    private let setup: PipelineSetup
    private let request: Request
    private let current = Mutex<SinkProgress?>(nil)

    /// - Parameter setup: with sinks that write to where the replay goes; its source is not used.
    public init(_ setup: PipelineSetup, _ request: Request) {
        self.setup = setup
        self.request = request
    }

    /// The sink that is being written, and how far it is.
    public nonisolated var progress: (sink: String, offset: Int64, delivered: Int64)? {
        current.withLock { $0.map { ($0.name, $0.confirmed.value, $0.delivered) } }
    }

    /// Throws `PipelineError`, `LogError`, and `CancellationError` where it was broken off.
    public func run() async throws -> [Result] {
        let log = request.restores ? try lock() : nil
        do {
            var results: [Result] = []
            for (index, sink) in setup.sinks.enumerated() where request.sinks.contains(sink.name) {
                do {
                    results.append(try await replay(sink, index, log))
                } catch {
                    await sink.sink.close()
                    throw error
                }
                await sink.sink.close()
            }
            try await log?.close()
            return results
        } catch {
            try? await log?.close()
            throw error
        }
    }

    private func lock() throws(PipelineError) -> PipelineLog {
        try PipelineLog(directory: setup.directory, configuration: setup.log, initialGeneration: 0)
    }

    private func replay(_ sink: SinkSetup, _ index: Int, _ log: PipelineLog?) async throws -> Result {
        var selection = request.selection
        selection.portionChanges = request.rate.map { Int64(max(1, min($0 / 10, 2000))) }
        // Delivery waits for a server for ever, a command does not.
        let found = try await sink.checkpoints.readNodes(timeout: LogReplay.serverTimeout)
        if log == nil { try goOn(behind: found, &selection) }
        if request.folds { selection.newest = try await fold(sink, index, log, selection) }
        let feed = DeliveryFeed(
            directory: setup.directory, mapper: setup.mapper, sinkIndex: index, sinkName: sink.name,
            stateful: request.folds ? [] : setup.mapper.stateful, selection: selection)
        let offsets = selection.offsets
        let tail = Watermark(offsets.upperBound)
        tail.finish()
        let progress = SinkProgress(name: sink.name)
        current.withLock { $0 = progress }
        let reasons = Reasons()
        let begin = ContinuousClock.now
        let target: any ChangeSink =
            log == nil ? sink.sink : RestoringSink(sink: sink.sink, start: offsets.lowerBound)
        let delivery = Delivery(
            name: sink.name, sink: target, feed: feed, context: try context(sink, log, feed, offsets),
            tail: tail,
            takeRejections: { reasons.add($0 + $1) }, hurries: true, pace: pace(), progress: progress,
            logger: setup.logger)
        try await delivery.run()
        if log == nil { try await sink.sink.discard() }
        return Result(
            sink: sink.name, delivered: progress.delivered, refused: progress.refused,
            reasons: reasons.kept.map { ($0.offset, $0.change.path, $0.reason) }, duration: .now - begin)
    }

    /// One that was broken off goes on from its checkpoint, although `-2h` or `earliest` may mean a later offset by now.
    private func goOn(
        behind found: (checkpoint: Checkpoint?, nodes: [NodeCheckpoint]), _ selection: inout ReplaySelection
    ) throws {
        guard let checkpoint = found.checkpoint, found.nodes.allSatisfy({ $0.checkpoint != nil }),
            checkpoint.logID == (try LogDirectory.logID(setup.directory)),
            checkpoint.confirmed < selection.offsets.lowerBound
        else { return }
        let start = try LogDirectory.startOffset(setup.directory)
        guard checkpoint.confirmed >= start else {
            throw PipelineError.failed(
                "the replay was broken off at offset \(checkpoint.confirmed), and the log begins at \(start) by now: what lies "
                    + "between is gone. --from \(start) begins anew with what is left")
        }
        selection.offsets = checkpoint.confirmed..<selection.offsets.upperBound
    }

    private func context(
        _ sink: SinkSetup, _ log: PipelineLog?, _ feed: DeliveryFeed, _ offsets: Range<Int64>
    ) throws -> SinkContext {
        let directory = setup.directory
        if let log { return SinkContext(log, sink: sink.name, takeOver: false, feed) }
        let generations = try LogDirectory.generations(directory)
        var context = SinkContext(
            logID: try LogDirectory.logID(directory), generations: generations,
            startOffset: offsets.lowerBound, endOffset: offsets.upperBound, takeOver: false,
            lookup: feed, offset: { try await feed.offset(atOrAfter: $0) },
            // The log is not written: entries that have to lie above others are of a generation of this replay.
            startGeneration: { above in
                guard above < .max else {
                    throw PipelineError.failed(
                        "the stream has entries of the last generation; replay with --key-prefix")
                }
                return above + 1
            },
            repeatSnapshot: {
                guard try LogDirectory.startOffset(directory) > offsets.lowerBound else { return }
                throw PipelineError.failed(
                    "retention has removed what the replay has not delivered yet; begin with a later --from")
            })
        context.isReplay = true
        return context
    }

    private func fold(
        _ sink: SinkSetup, _ index: Int, _ log: PipelineLog?, _ selection: ReplaySelection
    ) async throws -> [String: Int64] {
        // Not to be kept in memory for as long as the replay takes.
        let recovered = await log?.takeRecovered()
        let newest = try NewestChanges(
            setup.directory, selection, mapper: setup.mapper, sink: index, name: sink.name)
        try checkGaps(selection, comparedAt: newest.comparedAt)
        let start = try LogDirectory.startOffset(setup.directory)
        guard start > 0, selection.offsets.lowerBound <= start,
            selection.filter.operations.count == Operation.allCases.count
        else { return newest.offsets }
        // Retention has cut the log: what a node was told last may be gone.
        let known = try recovered ?? known(selection)
        let missing = newest.missing(of: known.known, selection)
        if missing > 0 || !known.isWhole {
            throw PipelineError.failed(
                "the log begins at offset \(start) and does not hold the newest change of "
                    + (known.isWhole
                        ? "\(missing) of \(known.known.nodes.count) live nodes" : "every live node")
                    + "; delete the sink's checkpoint (\(sink.checkpoints.place)), and the next run tells every live "
                    + "node once more")
        }
        return newest.offsets
    }

    /// What a repair has found gone may have been newer, until the tree was compared with the log once more.
    private func checkGaps(_ selection: ReplaySelection, comparedAt: Int64) throws {
        let gaps = try LogDirectory.gaps(setup.directory).map(\.offsets)
        guard
            let gap = gaps.last(where: { $0.overlaps(selection.offsets) && $0.upperBound > comparedAt })
        else { return }
        throw PipelineError.failed(
            "a repair has found offsets \(gap.lowerBound) to \(gap.upperBound - 1) gone, and the tree has not been compared "
                + "with the log since; run the pipeline once (run --until-caught-up), then replay")
    }

    private func known(_ selection: ReplaySelection) throws -> RecoveredCapture {
        let store = KnownStateStore(
            directory: setup.directory, logID: try LogDirectory.logID(setup.directory))
        return try store.read(upTo: selection.offsets.upperBound, position: [])
    }

    private func pace() -> @Sendable (Int) async throws -> Void {
        guard let rate = request.rate else { return { _ in } }
        let next = Mutex(ContinuousClock.now)
        return { changes in
            let due = next.withLock { next in
                // What a pause has missed is not made up for.
                let due = max(next, .now)
                next = due + .nanoseconds(Int64(Double(changes) / Double(rate) * 1e9))
                return due
            }
            try await Task.sleep(until: due)
        }
    }

    private final class Reasons: Sendable {
        private let list = Mutex<[Rejection]>([])
        var kept: [Rejection] { list.withLock { $0 } }

        func add(_ rejections: [Rejection]) {
            list.withLock { list in
                list += rejections.prefix(LogReplay.keptReasons - list.count)
            }
        }
    }
}
