import ChangeModel
import Engine
import Logging
import ZooKeeperClient

/// The loop around `ObserverMachine`: events of the observer in, batches for the log out.
///
/// Has a thread of its own, since what may never have been committed is kept in a file.
actor ObserverCapture {
    private let executor = BlockingExecutor(label: "millrace.observer")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// No server let us in, within the time that a start has.
    struct NotReachable: Error {
        var reason: String
        /// For whoever takes its place.
        var recovered: RecoveredCapture
    }

    let configuration: ZooKeeperSource.Configuration
    private let settings: ObserverConfiguration
    let ingest: Ingest
    let logger: Logger

    var machine: ObserverMachine
    private var staged: StagedEvents
    private(set) var isStaging = false
    /// Of the snapshot that is sent, and when it was told of last.
    private var stagedNodes = 0
    private var lastTold = ContinuousClock.now
    private var isSnapshot = false
    /// The server that sends a snapshot knows less than the log, and since when there has been no other.
    private var isBehind = false
    private var behindSince: ContinuousClock.Instant?
    private var goesAgain = false
    private var server = ""
    private var wasConnected = false
    private(set) var isConnected = false
    private var lastError: ZooKeeperError?
    private let started = ContinuousClock.now
    private var isSynchronized = false
    /// A snapshot for sinks is under way beside the transactions.
    var isServing = false
    /// A snapshot has begun in what was handed out, and not ended.
    private var logIsInSnapshot = false
    private let recoveredPosition: CapturePosition
    private var handed: CapturePosition
    private var lastHanded = ContinuousClock.now

    static let tick = Duration.seconds(1)
    static let servingTick = Duration.milliseconds(20)
    /// The capture's position is logged at least this often while it moves.
    private static let positionInterval = Duration.seconds(5)
    /// How often the log file hears of a tree that is being sent.
    private static let tellInterval = Duration.seconds(5)
    /// A batch for the log holds about this much data.
    static let batchBytes = 1 << 20

    init(
        _ configuration: ZooKeeperSource.Configuration, _ settings: ObserverConfiguration,
        _ recovered: consuming RecoveredCapture, _ ingest: Ingest, _ logger: Logger
    ) {
        self.configuration = configuration
        self.settings = settings
        self.ingest = ingest
        self.logger = logger
        recoveredPosition = recovered.position
        machine = ObserverMachine(
            ObserverMachine.Options(
                scope: configuration.scope, mode: configuration.snapshot,
                deletesWhatLeftTheScope: configuration.deletesWhatLeftTheScope,
                chroot: configuration.client.connect.chroot, isNewEnsemble: configuration.isNewEnsemble),
            recovered: recovered)
        handed = machine.position
        staged = StagedEvents(ingest.directory)
    }

    /// Throws `NotReachable` where no server was ever reached, and else as `ChangeSource.run` does.
    func run() async throws {
        do {
            // Each observer goes on where the last one ended.
            while true { try await follow() }
        } catch let error as CancellationError {
            await handOver()
            throw error
        }
    }

    /// Returns where the next connection has to begin otherwise than this one would go on.
    private func follow() async throws {
        isStaging = false
        isConnected = false
        staged.clear()
        try await withObserver(after: machine.start) { observer in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.take(observer) }
                group.addTask { try await self.serveOwedSnapshots() }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }

    /// Runs an observer until it fails or the body ends.
    func withObserver(
        after zxid: Int64, _ body: @escaping @Sendable (ZooKeeperObserver) async throws -> Void
    ) async throws {
        var settings = settings
        settings.lastZxid = zxid
        let observer = ZooKeeperObserver(configuration: settings, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await observer.run()
                } catch let error as ZooKeeperError {
                    throw ObserverCapture.failure(error)
                }
            }
            group.addTask { try await body(observer) }
            defer { group.cancelAll() }
            try await group.next()
        }
        try Task.checkCancellation()
    }

    func events(of observer: ZooKeeperObserver, timeout: Duration?) async throws -> [ObserverEvent] {
        do {
            return try await observer.nextEvents(timeout: timeout)
        } catch let error as ZooKeeperError {
            // What `run()` throws says it better.
            try await Task.sleep(for: ObserverCapture.tick)
            throw ObserverCapture.failure(error)
        }
    }

    private func take(_ observer: ZooKeeperObserver) async throws {
        while true {
            // What is read beside the transactions waits to be handed out.
            let events = try await events(
                of: observer, timeout: isServing ? ObserverCapture.servingTick : ObserverCapture.tick)
            for event in events where !goesAgain { try await handle(event) }
            try checkReachable()
            await hand()
            noteCounts()
            if goesAgain {
                goesAgain = false
                return try await Task.sleep(for: ObserverCapture.tick)
            }
        }
    }

    private static func failure(_ error: ZooKeeperError) -> PipelineError {
        switch error.code {
        case .ensembleBehind:
            .unavailable(
                "\(error): the ensemble is behind what this log has seen, or another one (then: run --new-ensemble)"
            )
        case .authenticationFailed, .connectionFailed: .unavailable("ZooKeeper's quorum port: \(error)")
        default: .failed("ZooKeeper's quorum port: \(error)")
        }
    }

    private func handle(_ event: ObserverEvent) async throws {
        switch event {
        case .syncing(let sync, let server):
            wasConnected = true
            isBehind = if case .snapshot(let zxid) = sync { machine.isBehind(zxid) } else { false }
            if !isBehind { behindSince = nil }
            isStaging = true
            isSnapshot = sync != .difference
            self.server = "\(server)"
            staged.clear()
            stagedNodes = 0
            lastTold = .now
            try staged.begin(sync)
            logger.info(
                isSnapshot ? "the tree is sent" : "the transactions since are sent",
                metadata: ["server": "\(server)", "after": "\(machine.settled.hexadecimal)"])
        case .snapshotNodes(let nodes):
            try staged.append(nodes)
            noteStaged(nodes.count)
        case .snapshotEnd(let zxid): try staged.end(zxid)
        case .transactions(let transactions):
            if isStaging {
                try staged.append(transactions)
            } else {
                for transaction in transactions {
                    try machine.transaction(transaction)
                    await handIfLarge()
                }
            }
        case .upToDate(let zxid):
            if isBehind { try refuse(Zxid(zxid)) } else { try await settle(Zxid(zxid)) }
        case .disconnected(let error):
            ingest.progress.disconnected(error.message)
            if isConnected || lastError?.code != error.code {
                logger.warning("no connection to the ensemble's quorum", metadata: ["error": "\(error)"])
            }
            // What came was perhaps never committed; it comes again if it was.
            isStaging = false
            staged.clear()
            isConnected = false
            lastError = error
        }
    }

    private func noteStaged(_ nodes: Int) {
        stagedNodes += nodes
        guard .now - lastTold >= ObserverCapture.tellInterval else { return }
        lastTold = .now
        logger.info("the tree is being sent", metadata: ["nodes": "\(stagedNodes)"])
    }

    /// A leader may lag for a moment: another connection is made.
    private func refuse(_ zxid: Zxid) throws {
        let since = behindSince ?? .now
        behindSince = since
        guard ContinuousClock.now - since < ZooKeeperSource.behindTimeout else {
            throw PipelineError.unavailable(
                "the ensemble is at zxid \(zxid.hexadecimal), and this log has seen "
                    + "\(machine.position.seen.hexadecimal): it is behind, or another one (then: run --new-ensemble)"
            )
        }
        staged.clear()
        isStaging = false
        goesAgain = true
    }

    /// All that was staged is committed.
    private func settle(_ zxid: Zxid) async throws {
        var staged = StagedEvents(ingest.directory)
        swap(&staged, &self.staged)
        try await staged.drain { event in
            try Task.checkCancellation()
            try await apply(event)
            await handIfLarge()
        }
        isStaging = false
        isConnected = true
        lastError = nil
        ingest.progress.connected(server: server, session: 0)
        logger.info(
            isSnapshot ? "the tree is read" : "connected to the ensemble's quorum",
            metadata: [
                "server": "\(server)", "nodes": "\(machine.known.nodes.count)", "zxid": "\(zxid.hexadecimal)",
            ])
        await hand(isSynchronized: !isSynchronized)
        isSynchronized = true
    }

    private func apply(_ event: StagedEvents.Event) async throws {
        switch event {
        case .snapshot(let zxid):
            guard let gap = machine.beginSnapshot(zxid) else { return }
            logger.error(
                "a snapshot took the place of transactions: their outcome follows, their history is gone",
                metadata: ["after": "\(gap.after.hexadecimal)", "to": "\(gap.upTo.hexadecimal)"])
        case .node(let node): machine.node(node)
        case .snapshotEnd(let zxid):
            let before = machine.position
            machine.endSnapshot(zxid)
            if configuration.snapshot == .never { await handBaseline(before) }
        case .transaction(let transaction): try machine.transaction(transaction)
        }
    }

    private func checkReachable() throws {
        // What is behind has 60 s, and then ends the observer.
        guard !wasConnected, !configuration.waitsForServers, lastError?.code != .ensembleBehind,
            ContinuousClock.now - started >= ZooKeeperSource.startTimeout
        else { return }
        let servers = settings.quorumServers.map { "\($0)" }.joined(separator: ",")
        let reason = lastError.map { ": \($0)" } ?? ""
        throw NotReachable(
            reason: "no leader's quorum port at \(servers) within 10 s\(reason)",
            recovered: RecoveredCapture(known: machine.takeKnown(), position: recoveredPosition))
    }

    private func noteCounts() {
        var counts = CaptureProgress.Counts()
        counts.nodes = machine.known.nodes.count
        counts.isReadingTree = isStaging && isSnapshot
        counts.seen = machine.settled
        counts.resyncs = machine.resyncs
        counts.historyGaps = machine.gaps
        ingest.progress.note(counts)
    }

    // MARK: Batches for the log

    private func handIfLarge() async {
        if machine.waitingBytes >= ObserverCapture.batchBytes { await hand() }
    }

    /// Called between transactions only: none is ever split over batches. A snapshot may be, and stays open in the log until
    /// its end.
    private func hand(isSynchronized: Bool = false) async {
        let position = machine.position
        let entries = machine.takeEntries()
        let repeated = machine.takeRepeats()
        let isDue =
            machine.isContinuous && position != handed
            && ContinuousClock.now - lastHanded >= ObserverCapture.positionInterval
        guard !entries.isEmpty || !repeated.isEmpty || isSynchronized || isDue else { return }
        var batch = CaptureBatch(entries: [], position: position)
        var bytes = 0
        for entry in entries {
            switch entry {
            case .snapshotBegin: logIsInSnapshot = true
            case .snapshotEnd: logIsInSnapshot = false
            case .change(let change):
                if logIsInSnapshot, bytes >= ObserverCapture.batchBytes {
                    // The rest of the position is reached at the end.
                    handed.order = position.order
                    handed.seen = position.seen
                    await ingest.append(CaptureBatch(entries: batch.entries, position: handed))
                    batch.entries = []
                    bytes = 0
                }
                bytes += change.sizeInLog
            case .gap: break
            }
            batch.entries.append(entry)
        }
        if knowsAll, ingest.wantsKnownState { batch.known = machine.known }
        batch.repeatedFor = repeated
        batch.isSynchronized = isSynchronized
        await append(batch)
    }

    /// What is known is what the entries handed out say.
    private var knowsAll: Bool { machine.isContinuous && !machine.isInSnapshot }

    private func append(_ batch: CaptureBatch) async {
        await ingest.append(batch)
        handed = batch.position
        lastHanded = .now
    }

    /// The baseline of `snapshot: never` is nowhere but in the known state: that is written first, and the end of the snapshot
    /// after it. A crash in between finds the one or reads the baseline again.
    private func handBaseline(_ before: CapturePosition) async {
        let entries = machine.takeEntries()
        let repeated = machine.takeRepeats()
        let isEnd: (CaptureEntry) -> Bool = { if case .snapshotEnd = $0 { true } else { false } }
        await append(
            CaptureBatch(entries: entries.filter { !isEnd($0) }, position: before, known: machine.known))
        var end = CaptureBatch(entries: [.snapshotEnd], position: machine.position)
        end.repeatedFor = repeated
        logIsInSnapshot = false
        await append(end)
    }

    /// The last batch of an orderly end, with what is known.
    private func handOver() async {
        machine.stop()
        await hand()
        guard knowsAll else { return }
        await ingest.append(CaptureBatch(entries: [], position: machine.position, known: machine.known))
    }
}
