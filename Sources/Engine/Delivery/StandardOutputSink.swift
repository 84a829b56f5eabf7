import ChangeModel
import Glibc
import SegmentLog
public import SystemPackage

/// Prints changes as JSON lines, for trying things out. Its checkpoint is a file beside the log.
public actor StandardOutputSink: ChangeSink {
    private let executor = BlockingExecutor(label: "millrace.stdout")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let pipeline: String
    private let store: FileCheckpointStore
    private let onMissingCheckpoint: MissingCheckpoint
    private let output: FileDescriptor
    private var checkpoint: Checkpoint?
    private var lastWritten = ContinuousClock.now
    private var savedConfirmed: Int64?

    private static let writeInterval = Duration.seconds(1)

    public init(
        pipeline: String, store: FileCheckpointStore, onMissingCheckpoint: MissingCheckpoint,
        output: FileDescriptor = .standardOutput
    ) {
        self.pipeline = pipeline
        self.store = store
        self.onMissingCheckpoint = onMissingCheckpoint
        self.output = output
    }

    public func start(_ context: SinkContext) async throws -> Int64 {
        let found = try store.read()
        var position: Int64
        if let found, found.logID == context.logID {
            position = min(
                found.confirmed, context.limit(forCheckpointOf: found.generation), context.endOffset)
        } else {
            switch onMissingCheckpoint {
            case .earliest: position = context.startOffset
            case .latest: position = context.endOffset
            case .stop: throw PipelineError.failed("there is no checkpoint \(store.place)")
            }
        }
        let start = context.startOffset
        // `latest` asked for nothing from before.
        if position < start
            || found == nil && position == start && start > 0 && onMissingCheckpoint == .earliest
        {
            try await context.repeatSnapshot()
        }
        position = max(position, start)
        let checkpoint = Checkpoint(
            epoch: (found?.epoch ?? 0) &+ 1, sent: position, confirmed: position,
            generation: context.generation(of: position), logID: context.logID,
            settled: found?.settled ?? .none,
            floor: 0, owner: found?.owner ?? "", written: wallClockMilliseconds())
        try store.write(checkpoint)
        self.checkpoint = checkpoint
        savedConfirmed = checkpoint.confirmed
        return position
    }

    public func deliver(_ batch: MappedBatch) async throws -> DeliveryOutcome {
        var lines: [UInt8] = []
        for change in batch.changes {
            lines.append(
                contentsOf: ChangeEnvelope.json(of: change.change, offset: change.offset, source: pipeline))
            lines.append(UInt8(ascii: "\n"))
        }
        try write(lines)
        if batch.isReplay { return .delivered([]) }
        checkpoint?.sent = batch.offsets.upperBound
        checkpoint?.generation = batch.generation
        if let settled = checkpoint?.settled { checkpoint?.settled = max(settled, batch.settled) }
        return .delivered([])
    }

    /// In pieces, and only when they can be taken: a reader that stands still must not hold up the end.
    private func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            try Task.checkCancellation()
            var wanted = pollfd(fd: output.rawValue, events: Int16(POLLOUT), revents: 0)
            guard poll(&wanted, 1, StandardOutputSink.pollMilliseconds) > 0 else { continue }
            do {
                let piece = rest.prefix(StandardOutputSink.pieceBytes)
                rest = rest.dropFirst(try piece.withUnsafeBytes { try output.write($0) })
            } catch Errno.interrupted, Errno.wouldBlock {
                continue
            } catch {
                throw PipelineError.failed("standard output cannot be written: \(error)")
            }
        }
    }

    private static let pollMilliseconds: Int32 = 100
    /// What a pipe takes at once when it takes anything (PIPE_BUF).
    private static let pieceBytes = 4096

    public func confirm(_ offset: Int64) async {
        checkpoint?.confirmed = offset
        // A backlog is idle never; what has been printed should not be printed again after a kill.
        if ContinuousClock.now - lastWritten >= StandardOutputSink.writeInterval { try? save() }
    }

    public func reset(to offset: Int64) async throws {
        checkpoint?.confirmed = offset
        checkpoint?.sent = offset
        try save()
    }

    public func discard() async throws {
        checkpoint = nil
        try store.remove()
    }

    public func idle() async throws -> Int64? {
        if checkpoint?.confirmed != savedConfirmed { try save() }
        return nil
    }

    private func save() throws(PipelineError) {
        guard var checkpoint else { return }
        lastWritten = .now
        checkpoint.written = wallClockMilliseconds()
        try store.write(checkpoint)
        savedConfirmed = checkpoint.confirmed
    }

    public func close() async {}
}

/// A checkpoint in a file, for sinks that can keep none themselves.
public struct FileCheckpointStore: CheckpointStore {
    private static let limit = 4096
    private let path: FilePath

    /// - Parameter log: the pipeline's log directory.
    public init(log: FilePath, sink: String) {
        path = log.appending("checkpoints").appending(sink)
    }

    public var place: String { path.string }

    public func read(timeout: Duration) async throws -> Checkpoint? { try read() }

    func read() throws(PipelineError) -> Checkpoint? {
        let bytes: [UInt8]
        do {
            bytes = try AtomicFile.read(path, limit: FileCheckpointStore.limit)
        } catch  where error.code == .notFound {
            return nil
        } catch {
            throw PipelineError(log: error)
        }
        var reader = ByteReader(bytes[...])
        do {
            let version = try reader.integer(UInt8.self)
            guard version == 1 else { throw ChangeCodecError("version \(version)") }
            return Checkpoint(
                epoch: try reader.integer(Int64.self), sent: try reader.integer(Int64.self),
                confirmed: try reader.integer(Int64.self), generation: try reader.integer(UInt16.self),
                logID: try reader.countedString(), settled: Zxid(try reader.integer(Int64.self)),
                floor: try reader.integer(UInt16.self), owner: try reader.countedString(),
                written: try reader.integer(Int64.self))
        } catch {
            throw .failed("\(path) is no checkpoint (\(error)); remove it to deliver the log from its start")
        }
    }

    func remove() throws(PipelineError) {
        do {
            try AtomicFile.remove(path)
        } catch {
            throw PipelineError(log: error)
        }
    }

    func write(_ checkpoint: Checkpoint) throws(PipelineError) {
        var bytes: [UInt8] = [1]
        bytes.appendInteger(checkpoint.epoch)
        bytes.appendInteger(checkpoint.sent)
        bytes.appendInteger(checkpoint.confirmed)
        bytes.appendInteger(checkpoint.generation)
        bytes.appendCounted(checkpoint.logID.utf8)
        bytes.appendInteger(checkpoint.settled.value)
        bytes.appendInteger(checkpoint.floor)
        bytes.appendCounted(checkpoint.owner.utf8)
        bytes.appendInteger(checkpoint.written)
        do {
            try AtomicFile.replace(path, with: bytes)
        } catch {
            throw PipelineError(log: error)
        }
    }
}
