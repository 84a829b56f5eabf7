import ChangeModel
import Logging
import Mapping
import SegmentLog

/// Tries dead letters again, through the definition as it is now and the delivery path of their sinks.
///
/// The pipeline has to be stopped: the locks of both logs are taken, and the sinks are taken over. Positions stay.
public actor DeadLetterReplay {
    private let executor = BlockingExecutor(label: "millrace.replay")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let setup: PipelineSetup
    private let selection: DeadLetterSelection
    /// What became of each letter so far, also where the replay ended early.
    public private(set) var results: [ReplayResult] = []
    /// `nil` in a dry run: nothing is locked, written or connected to.
    private var log: PipelineLog?
    private var notes: LogWriter?

    /// How long a server may take for one step. The pipeline waits for ever, a command does not.
    private static let stepTimeout = Duration.seconds(30)
    private static let checkpointTimeout = Duration.seconds(10)
    /// One transaction.
    private static let batchLetters = 200
    private static let batchBytes = 1 << 20

    /// One sink, and what has been settled before the first letter is tried.
    private struct Target {
        var index: Int
        var setup: SinkSetup
        var feed: DeliveryFeed
        var logStart: Int64
        var logEnd: Int64
        /// The next offset that the pipeline will deliver.
        var position: Int64
    }

    private struct Candidate {
        var letter: DeadLetter
        var mapped: MappedChange
        /// Known without asking the sink.
        var verdict: ReplayResult.Verdict?
    }

    /// The setup's source is not used.
    public init(_ setup: PipelineSetup, selection: DeadLetterSelection) {
        self.setup = setup
        self.selection = selection
    }

    /// Fills `results`. In a dry run "delivered" says that a letter would be tried.
    ///
    /// Throws `PipelineError`; what was noted until then stays dealt with.
    public func run(dry isDry: Bool) async throws {
        guard try DeadLetterReader(logDirectory: setup.directory) != nil else {
            return try selection.check(found: [])
        }
        do {
            if !isDry { try lock() }
            if let reader = try DeadLetterReader(logDirectory: setup.directory) {
                try await replay(try ReplayPlan(reader, selection))
            }
        } catch {
            await unlock()
            throw error
        }
        await unlock()
    }

    private func lock() throws {
        guard ((try? LogDirectory.endOffset(setup.directory)) ?? 0) > 0 else {
            throw PipelineError.unavailable("\(setup.directory): the pipeline's log is not there")
        }
        log = try PipelineLog(directory: setup.directory, configuration: setup.log, initialGeneration: 0)
        do {
            notes = try LogWriter.open(
                DeadLetterReader.directory(of: setup.directory), configuration: LogConfiguration(),
                initialGeneration: 0)
        } catch {
            throw PipelineError(log: error)
        }
    }

    private func unlock() async {
        do {
            try notes?.close()
            try await log?.close()
        } catch {
            setup.logger.error("closing the logs failed", metadata: ["error": "\(error)"])
        }
    }

    private func replay(_ plan: ReplayPlan) async throws {
        results = plan.settled
        for name in plan.sinks.subtracting(setup.sinks.map(\.name)) {
            var letters = try ReplayLetters(setup.directory, plan, sink: name)
            while case let window = try letters.next(), !window.isEmpty {
                for letter in window { report(letter, .refused("the definition has no sink \(name)"), plan) }
            }
        }
        for (index, sink) in setup.sinks.enumerated() where plan.sinks.contains(sink.name) {
            do {
                try await replay(plan, sink, index)
            } catch {
                await sink.sink.close()
                throw error
            }
            await sink.sink.close()
        }
    }

    private func replay(_ plan: ReplayPlan, _ sink: SinkSetup, _ index: Int) async throws {
        let target = try await start(sink, index)
        let noted = notes == nil ? [] : try await noteReplayed(target, plan)
        var letters = try ReplayLetters(setup.directory, plan, sink: sink.name)
        while case let window = try letters.next(), !window.isEmpty {
            var open: [Candidate] = []
            for letter in window where !noted.contains(letter.offset) {
                open.append(candidate(letter, target))
            }
            try await judge(&open, target)
            try settle(open.filter { $0.verdict != nil }, plan)
            try await deliver(open.filter { $0.verdict == nil }, target, plan)
        }
    }

    // MARK: Before anything is written

    private func start(_ sink: SinkSetup, _ index: Int) async throws -> Target {
        let feed = DeliveryFeed(
            directory: setup.directory, mapper: setup.mapper, sinkIndex: index, sinkName: sink.name)
        guard let log else {
            do {
                return Target(
                    index: index, setup: sink, feed: feed,
                    logStart: try LogDirectory.startOffset(setup.directory),
                    logEnd: try LogDirectory.endOffset(setup.directory), position: .max)
            } catch {
                throw PipelineError(log: error)
            }
        }
        // A sink without a checkpoint is given everything by the next run; and `start` would wait for a server.
        guard try await sink.checkpoints.read(timeout: DeadLetterReplay.checkpointTimeout) != nil else {
            throw PipelineError.unavailable(
                "\(sink.checkpoints.place): there is no checkpoint; the next run delivers to sink \(sink.name) anew"
            )
        }
        let context = SinkContext(log, sink: sink.name, takeOver: false, feed)
        let position = try await within(sink.name) { try await sink.sink.start(context) }
        return Target(
            index: index, setup: sink, feed: feed, logStart: context.startOffset, logEnd: log.tail.value,
            position: position)
    }

    /// Notes what the last replay has written and could not note. Returns the offsets.
    private func noteReplayed(_ target: Target, _ plan: ReplayPlan) async throws -> Set<Int64> {
        let sink = target.setup
        let found = try await within(sink.name) { try await sink.sink.replayedLetters() }
        let offsets = Set(found.filter { plan.isOpen($0, sink: sink.name) }.map(\.offset))
        guard !offsets.isEmpty else { return [] }
        try note(offsets.map { plan.twins(of: ReplayPlan.Key(sink: sink.name, offset: $0)) }, .delivered)
        var letters = try ReplayLetters(setup.directory, plan, sink: sink.name)
        while case let window = try letters.next(), !window.isEmpty {
            for letter in window where offsets.contains(letter.offset) {
                report(letter, .resolved(.delivered), plan)
            }
        }
        return offsets
    }

    private func candidate(_ letter: DeadLetter, _ target: Target) -> Candidate {
        var mapped = MappedChange(letter.change, offset: letter.offset, generation: 0, writes: [])
        switch setup.mapper.map(letter.change, offset: letter.offset, sink: target.index) {
        case .failed(let error):
            return Candidate(letter: letter, mapped: mapped, verdict: .refused("\(error)"))
        case .dropped:
            return Candidate(letter: letter, mapped: mapped, verdict: .resolved(.dropped))
        case .writes(let writes):
            mapped.writes = writes.map { $0.markedAsReplay(of: letter.offset) }
        }
        var verdict: ReplayResult.Verdict?
        if letter.offset >= target.position {
            verdict = .refused(
                "the sink's checkpoint (offset \(target.position)) lies before it: the next run delivers it")
        } else if letter.offset + 1 < target.logStart, mapped.writes.contains(where: \.replaces) {
            verdict = .refused(
                "the log begins at offset \(target.logStart): whether a later change has written the same is not "
                    + "known any more")
        }
        return Candidate(letter: letter, mapped: mapped, verdict: verdict)
    }

    /// Finds what later changes have superseded.
    private func judge(_ candidates: inout [Candidate], _ target: Target) async throws {
        let keyed = candidates.filter { $0.verdict == nil && $0.mapped.writes.contains(where: \.replaces) }
        guard let first = keyed.map(\.letter.offset).min() else { return }
        var later = LaterWrites(watching: keyed.map(\.mapped))
        try await later.read(target.feed, after: first, below: target.logEnd)
        for index in candidates.indices where candidates[index].verdict == nil {
            candidates[index].mapped.writes = later.standing(candidates[index].mapped)
            if candidates[index].mapped.writes.isEmpty { candidates[index].verdict = .resolved(.superseded) }
        }
    }

    // MARK: Writing

    private func deliver(_ candidates: [Candidate], _ target: Target, _ plan: ReplayPlan) async throws {
        var batch: [Candidate] = []
        var bytes = 0
        for candidate in candidates {
            batch.append(candidate)
            bytes += candidate.mapped.writes.reduce(0) { $0 + $1.byteCount }
            if batch.count == DeadLetterReplay.batchLetters || bytes >= DeadLetterReplay.batchBytes {
                try settle(try await write(batch, target), plan)
                batch = []
                bytes = 0
            }
        }
        if !batch.isEmpty { try settle(try await write(batch, target), plan) }
    }

    /// One transaction; the same letters with what the sink said. It has to be noted before the next one: a sink
    /// remembers only the last.
    private func write(_ letters: [Candidate], _ target: Target) async throws -> [Candidate] {
        if notes == nil { return letters }
        var batch = MappedBatch(
            offsets: 0..<0, changes: letters.map(\.mapped), settled: .none, generation: 0)
        batch.isReplay = true
        batch.letters = letters.map(\.letter.number)
        let sink = target.setup
        let outcome = try await within(sink.name) { [batch] in try await sink.sink.deliver(batch) }
        guard case .delivered(let rejections) = outcome else {
            throw PipelineError.failed(
                "sink \(sink.name) has lost what it had acknowledged; run the pipeline, then replay again")
        }
        let reasons = Dictionary(rejections.map { ($0.offset, $0.reason) }) { first, _ in first }
        return letters.map { letter in
            var letter = letter
            letter.verdict = reasons[letter.letter.offset].map { .refused($0) }
            return letter
        }
    }

    /// Notes what is dealt with and reports it. What has no verdict is delivered.
    private func settle(_ letters: [Candidate], _ plan: ReplayPlan) throws {
        for outcome in DeadLetterOutcome.allCases {
            let dealtWith = letters.filter { ($0.verdict ?? .resolved(.delivered)) == .resolved(outcome) }
            try note(dealtWith.map { plan.twins(of: $0.letter) }, outcome)
        }
        for letter in letters { report(letter.letter, letter.verdict ?? .resolved(.delivered), plan) }
    }

    private func report(_ letter: DeadLetter, _ verdict: ReplayResult.Verdict, _ plan: ReplayPlan) {
        for number in plan.twins(of: letter) { results.append(ReplayResult(letter, number: number, verdict)) }
    }

    /// Durable when it returns.
    private func note(_ letters: [[Int64]], _ outcome: DeadLetterOutcome) throws(PipelineError) {
        guard let notes else { return }
        let now = wallClockMilliseconds()
        var builder = RecordBatchBuilder()
        for number in letters.joined() {
            let resolution = DeadLetterResolution(number: number, outcome: outcome, time: now)
            builder.append(type: DeadLetterCodec.resolvedType) {
                DeadLetterCodec.encode(resolution, into: &$0)
            }
        }
        guard !builder.isEmpty else { return }
        do {
            _ = try notes.append(builder, position: [], timestampMilliseconds: now)
        } catch {
            throw PipelineError(log: error)
        }
    }

    private func within<Value: Sendable>(
        _ sink: String, _ step: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await Engine.within(
            DeadLetterReplay.stepTimeout, step,
            else: .unavailable(
                "sink \(sink) did not take it within \(DeadLetterReplay.stepTimeout); replay again later"))
    }
}

extension SinkWrite {
    /// A stream entry says where in the log its change really stands, for its ID no longer does.
    fileprivate func markedAsReplay(of offset: Int64) -> SinkWrite {
        guard case .streamAdd(let key, let fields) = self else { return self }
        let name = Bytes("replayed_offset".utf8)
        let marked =
            fields.fields.filter { $0.name != name } + [Field(name: name, value: Bytes("\(offset)".utf8))]
        return .streamAdd(key: key, fields: FieldList(marked))
    }
}
