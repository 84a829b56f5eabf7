import ChangeModel
import Engine
import Logging
import ZooKeeperClient

/// The loop around `WatchMachine`: events of the client in, requests and batches for the log out.
struct WatchCapture: Sendable {
    let configuration: ZooKeeperSource.Configuration
    let client: ZooKeeperClient
    let ingest: Ingest
    let logger: Logger

    /// How often the loop wakes without an event.
    private static let tick = Duration.seconds(1)
    private static let progressInterval = Duration.seconds(5)
    private static let hiddenInterval = Duration.seconds(60)
    /// The capture's position is logged at least this often while it moves.
    private static let positionInterval = Duration.seconds(5)
    /// With so many requests under way the next change is not waited for alone.
    private static let busyRequests = 8
    private static let gathering = Duration.milliseconds(4)
    /// A batch for the log holds about this much data.
    private static let batchBytes = 1 << 20

    func run(_ recovered: RecoveredCapture) async throws {
        var machine = WatchMachine(
            WatchMachine.Options(
                scope: configuration.scope, mode: configuration.snapshot,
                deletesWhatLeftTheScope: configuration.deletesWhatLeftTheScope,
                resyncs: configuration.resyncs),
            recovered: consume recovered)
        var state = LoopState(position: machine.position)
        do {
            while true {
                let events = try await client.nextEvents(timeout: WatchCapture.tick)
                for event in events { try handle(event, &machine, &state) }
                try await checkReachable(&state)
                tick(&machine, &state)
                ingest.progress.note(CaptureProgress.Counts(machine))
                client.send(machine.takeRequests())
                await hand(machine.takeEntries(), &machine, &state)
                // Under load answers gather for a moment: fewer and larger batches for the log and the sinks.
                if machine.requestsUnderWay >= WatchCapture.busyRequests {
                    try await Task.sleep(for: WatchCapture.gathering)
                }
            }
        } catch let error as CancellationError {
            await handOver(&machine, &state)
            throw error
        }
    }

    private struct LoopState {
        let clock = ContinuousClock()
        let started: ContinuousClock.Instant
        var wasConnected = false
        var isConnected = false
        var lastError: ZooKeeperError?
        /// Since when servers have refused us, without a connection in between.
        var behindSince: ContinuousClock.Instant?
        /// A server that refuses us has taken another session.
        var isSuspect = false
        var lastProgress: ContinuousClock.Instant
        var lastProbe: ContinuousClock.Instant
        var lastHanded: ContinuousClock.Instant
        var handed: CapturePosition
        var wasWalking = false
        var hiddenReported = 0
        var missedReported = 0

        init(position: CapturePosition) {
            started = clock.now
            lastProgress = started
            lastProbe = started
            lastHanded = started
            handed = position
        }
    }

    private func handle(
        _ event: ZooKeeperEvent, _ machine: inout WatchMachine, _ state: inout LoopState
    ) throws(PipelineError) {
        switch event {
        case .reply(let tag, let zxid, let result):
            try machine.replied(tag: tag, zxid: zxid, result)
        case .notification(let notification):
            machine.notified(notification)
        case .connected(let session, let isNew, let server):
            logger.info(
                "connected to ZooKeeper",
                metadata: [
                    "server": "\(server)", "session": "0x\(String(UInt64(bitPattern: session), radix: 16))",
                    "new_session": "\(isNew)",
                ])
            ingest.progress.connected(server: "\(server)", session: session)
            state.wasConnected = true
            state.isConnected = true
            state.behindSince = nil
            state.isSuspect = false
            machine.connected()
        case .disconnected(let error):
            ingest.progress.disconnected(error.message)
            if state.isConnected || state.lastError?.code != error.code {
                logger.warning("no connection to ZooKeeper", metadata: ["error": "\(error)"])
            }
            state.isConnected = false
            state.lastError = error
            if error.code == .refusedByServer, state.behindSince == nil {
                state.behindSince = state.clock.now
            }
            if error.code == .frameTooLarge, !machine.stopBundling() {
                throw .failed(
                    "a node or a list of children is larger than a reply may be "
                        + "(\(configuration.client.maximumReplyBytes) bytes; leave it out by "
                        + "source.zookeeper.exclude): \(error)")
            }
        case .sessionExpired:
            ingest.progress.disconnected("the session has expired")
            logger.warning("the ZooKeeper session expired; a new one follows")
        }
    }

    private func checkReachable(_ state: inout LoopState) async throws {
        let now = state.clock.now
        if !state.wasConnected, !configuration.waitsForServers,
            now - state.started >= ZooKeeperSource.startTimeout
        {
            if let since = state.behindSince {
                if state.isSuspect, now - since < ZooKeeperSource.startTimeout { return }
                if try await checkBehind(&state, since: state.clock.now) { return }
            }
            let servers = configuration.client.connect.servers.map { "\($0)" }.joined(separator: ",")
            let reason = state.lastError.map { ": \($0)" } ?? ""
            throw PipelineError.unavailable("no ZooKeeper server at \(servers) within 10 s\(reason)")
        }
        if state.handed.seen > .none, let since = state.behindSince,
            now - since >= ZooKeeperSource.behindTimeout
        {
            let again = state.clock.now - ZooKeeperSource.behindTimeout + ZooKeeperSource.startTimeout
            if try await !checkBehind(&state, since: again) {
                logger.warning("the ZooKeeper servers are there and serve nobody: no quorum; waiting")
                state.behindSince = state.clock.now
            }
        }
    }

    /// Whether a server takes others and refuses us. It is believed the second time: a server may have begun to serve
    /// just now, and take us too.
    private func checkBehind(_ state: inout LoopState, since: ContinuousClock.Instant) async throws -> Bool {
        guard let server = try await servingServer() else {
            state.isSuspect = false
            return false
        }
        if state.isSuspect { throw behind(server, state) }
        state.isSuspect = true
        state.behindSince = since
        return true
    }

    private func behind(_ server: String, _ state: LoopState) -> PipelineError {
        .unavailable(
            "the ZooKeeper server \(server) serves others and is behind zxid \(state.handed.seen.hexadecimal), "
                + "which this log has seen: the ensemble is behind, or another one (then: run --new-ensemble)"
        )
    }

    /// A server that takes a session which has seen nothing. A server that is behind what we have seen and one
    /// without a quorum both close our connection without a word; only the first takes others.
    private func servingServer() async throws -> String? {
        var settings = configuration.client
        settings.minimumZxid = 0
        let probe = ZooKeeperClient(configuration: settings, logger: logger)
        return try await firstOf {
            // Refused for another reason: the client proper meets that too.
            try? await probe.run()
            try Task.checkCancellation()
            return nil
        } or: {
            let deadline = ContinuousClock.now + ZooKeeperSource.startTimeout
            while ContinuousClock.now < deadline {
                for case .connected(_, _, let server) in try await probe.nextEvents(
                    timeout: WatchCapture.tick)
                {
                    return "\(server)"
                }
            }
            return nil
        }
    }

    private func tick(_ machine: inout WatchMachine, _ state: inout LoopState) {
        let now = state.clock.now
        let owed = configuration.takeOwedSnapshots(ingest, logger)
        if !owed.isEmpty { machine.repeatSnapshot(for: owed) }
        if machine.isWalking, now - state.lastProgress >= WatchCapture.progressInterval {
            state.lastProgress = now
            logger.info("reading the tree", metadata: ["nodes": "\(machine.counters.nodesRead)"])
        }
        if machine.hiddenPaths > 0, now - state.lastProbe >= WatchCapture.hiddenInterval {
            state.lastProbe = now
            machine.probeHidden()
        }
        if state.wasWalking, !machine.isWalking {
            logger.info(
                "the tree is read",
                metadata: [
                    "nodes": "\(machine.known.nodes.count)", "hidden": "\(machine.hiddenPaths)",
                    "zxid": "\(machine.position.seen.hexadecimal)",
                ])
            state.hiddenReported = 0
        }
        reportHidden(machine, &state)
        state.wasWalking = machine.isWalking
        if machine.counters.missedValues > state.missedReported, now - state.lastProgress >= .seconds(5) {
            state.lastProgress = now
            state.missedReported = machine.counters.missedValues
            logger.notice(
                "values were overwritten before they could be read",
                metadata: ["total": "\(machine.counters.missedValues)"])
        }
    }

    /// After each walk, and when an event names a node that may no longer be read.
    private func reportHidden(_ machine: WatchMachine, _ state: inout LoopState) {
        guard !machine.isWalking, machine.hiddenPaths > state.hiddenReported else { return }
        state.hiddenReported = machine.hiddenPaths
        logger.warning(
            "some nodes may not be read by this session; nothing below them is taken as deleted",
            metadata: ["paths": "\(machine.hiddenPaths)"])
    }

    /// Entries go to the log in batches of bounded size; the position settles with the last.
    private func hand(
        _ entries: [CaptureEntry], _ machine: inout WatchMachine, _ state: inout LoopState
    ) async {
        let position = machine.position
        let now = state.clock.now
        let isDue = position != state.handed && now - state.lastHanded >= WatchCapture.positionInterval
        let (repeated, postponed) = machine.takeRepeats()
        guard !entries.isEmpty || isDue || !repeated.isEmpty || !postponed.isEmpty else { return }
        if configuration.snapshot == .never, entries.contains(where: \.isSnapshotEnd) {
            await handBaseline(entries, repeated, &machine, &state)
            return
        }
        var batch = CaptureBatch(
            entries: [], position: CapturePosition(seen: position.seen, settled: state.handed.settled))
        var bytes = 0
        for entry in entries {
            if bytes >= WatchCapture.batchBytes {
                await ingest.append(batch)
                batch.entries = []
                bytes = 0
            }
            batch.entries.append(entry)
            if case .change(let change) = entry {
                bytes += change.sizeInLog
            }
        }
        batch.position = position
        // While a snapshot runs one change is held back: what is known is then ahead of the log.
        if !machine.isWalking, ingest.wantsKnownState { batch.known = machine.known }
        batch.repeatedFor = repeated
        batch.postponedFor = postponed
        await ingest.append(batch)
        state.handed = position
        state.lastHanded = now
    }

    /// The baseline of `snapshot: never` is nowhere but in the known state: that is written first, and the end of
    /// the walk after it. A crash in between finds the one or reads the baseline again.
    private func handBaseline(
        _ entries: [CaptureEntry], _ repeated: [String], _ machine: inout WatchMachine,
        _ state: inout LoopState
    ) async {
        var position = machine.position
        position.settled = state.handed.settled
        // While the next walk runs already, a change may be held back: what is known is then ahead of the entries.
        let known = machine.isWalking ? nil : machine.known
        await ingest.append(
            CaptureBatch(entries: entries.filter { !$0.isSnapshotEnd }, position: position, known: known))
        if known == nil {
            state.handed = position
            return
        }
        var end = CaptureBatch(entries: [.snapshotEnd], position: machine.position)
        end.repeatedFor = repeated
        await ingest.append(end)
        state.handed = machine.position
        state.lastHanded = .now
    }

    /// The last batch of an orderly end, with what is known.
    private func handOver(_ machine: inout WatchMachine, _ state: inout LoopState) async {
        machine.stop()
        // What is queued was read under this position; it is not settled.
        let position = CapturePosition(seen: machine.position.seen, settled: state.handed.settled)
        let known = machine.isWalking ? nil : machine.known
        let entries = machine.takeEntries()
        if configuration.snapshot == .never, entries.contains(where: \.isSnapshotEnd) {
            await handBaseline(entries, machine.takeRepeats().complete, &machine, &state)
            return
        }
        await ingest.append(CaptureBatch(entries: entries, position: position, known: known))
    }
}

extension CaptureProgress.Counts {
    fileprivate init(_ machine: WatchMachine) {
        self.init()
        nodes = machine.known.nodes.count
        hidden = machine.hiddenPaths
        isReadingTree = machine.isWalking
        seen = machine.position.seen
        missedValues = machine.counters.missedValues
        resyncs = machine.counters.resyncs
    }
}

extension CaptureEntry {
    fileprivate var isSnapshotEnd: Bool {
        if case .snapshotEnd = self { true } else { false }
    }
}
