import ChangeModel
import Mapping
import SegmentLog
import SystemPackage

/// Reads the log for one sink and maps what it reads, on a thread of its own.
actor DeliveryFeed {
    private let executor = BlockingExecutor(label: "millrace.feed")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let directory: FilePath
    private let mapper: Mapper
    private let sinkIndex: Int
    private let sinkName: String
    private var reader: LogReader?
    /// What was read last, and how much of it was handed out. `nil`: all of it.
    private var batch: RecordBatch?
    private var cursor = RecordBatch.Cursor()
    private var settled = Zxid.none
    private var gap: Range<Int64>?
    private var gates: ChangeGates
    /// In a replay.
    private let selection: ReplaySelection?
    /// Behind what was handed out, and its generation.
    private var position: Int64 = 0
    private var generation: UInt16 = 0

    /// What becomes of some offsets. Changes are mapped into what a sink gets, since each copy of one costs.
    private struct Stretch {
        var start: Int64 = -1
        var end: Int64 = -1
        var generation: UInt16 = 0
        var changes: [MappedChange] = []
        var failures: [Rejection] = []
        var bytesRead = 0
        var bytesWritten = 0

        func isFull(_ changes: Int64, _ bytes: Int) -> Bool {
            end - start >= changes || max(bytesRead, bytesWritten) >= bytes
        }
    }

    /// A batch for the sink and the changes that no rule could map.
    struct Portion: Sendable {
        var batch: MappedBatch
        var failures: [Rejection]
        /// Offsets before the batch that retention has removed before they could be delivered.
        var gap: Range<Int64>?
        /// The oldest change that is held back: nothing from it on counts as delivered.
        var heldBack: Int64?
    }

    /// Changes handed out at once for each server: a transaction that keeps a Redis for a few milliseconds.
    private static let portionChanges: Int64 = 2000
    private static let portionBytes = 1 << 20

    /// Servers that share a portion.
    private var width: Int64 = 1
    private static let widest = 8

    init(
        directory: FilePath, mapper: Mapper, sinkIndex: Int, sinkName: String, stateful: [StatefulStage] = [],
        selection: ReplaySelection? = nil
    ) {
        gates = ChangeGates(stateful)
        self.selection = selection
        self.directory = directory
        self.mapper = mapper
        self.sinkIndex = sinkIndex
        self.sinkName = sinkName
    }

    /// How many servers share a portion.
    func setWidth(_ servers: Int) { width = Int64(max(1, min(servers, DeliveryFeed.widest))) }

    /// The next call of `next` begins at `offset`.
    func seek(to offset: Int64) throws(PipelineError) {
        batch = nil
        gap = nil
        gates.clear()
        position = offset
        do {
            try open(at: offset)
        } catch {
            throw PipelineError(log: error)
        }
    }

    /// Where retention is faster than the sink, reading goes on at the log's start.
    private func open(at offset: Int64) throws(LogError) {
        var attempts = 0
        while true {
            do {
                let start = try LogDirectory.startOffset(directory)
                reader = try LogReader(directory, from: max(offset, start))
                if offset < start { gap = offset..<start }
                position = max(position, start)
                return
            } catch {
                attempts += 1
                guard error.code == .trimmed, attempts < 10 else { throw error }
            }
        }
    }

    /// The first offset appended at this time (milliseconds since 1970) or later.
    func offset(atOrAfter time: Int64) throws(PipelineError) -> Int64 {
        do {
            return try LogDirectory.offset(directory, atOrAfter: time)
        } catch {
            throw PipelineError(log: error)
        }
    }

    /// What these changes would have written did not arrive.
    func forget(_ changes: [Rejection]) { gates.forget(changes.map(\.change.path)) }

    /// How long until a change that is held back has its turn; `nil` where there is none.
    func timeUntilDue() -> Duration? {
        gates.nextDue.map { max(.zero, ContinuousClock.now.duration(to: $0)) }
    }

    /// The next stretch below `limit`, or what was held back before it; `nil` where there is none yet.
    ///
    /// - Parameter isLast: nothing more is to come: where there is no further stretch, nothing is held back.
    func next(below limit: Int64, isLast: Bool = false) throws(PipelineError) -> Portion? {
        let stretch: Stretch
        do {
            stretch = try self.stretch(below: limit)
        } catch let error as LogError {
            throw PipelineError(log: error)
        } catch {
            throw (error as? PipelineError) ?? .failed("\(error)")
        }
        let now = ContinuousClock.now
        let held = gates.oldestHeld
        var changes = gates.release(isLast && stretch.start < 0, at: now)
        guard stretch.start >= 0 else {
            // Offsets that a repair has found gone, or records of types that nobody delivers, are behind us.
            let end = max(position, min(reader?.nextOffset ?? 0, selection?.offsets.upperBound ?? .max))
            let isReleased = !changes.isEmpty || gates.oldestHeld != held
            guard isReleased || end > position else { return remainder() }
            return portion(position..<end, changes)
        }
        generation = stretch.generation
        if gates.isEmpty {
            changes = stretch.changes
        } else {
            for change in stretch.changes { changes += gates.take(change, at: now) }
        }
        return portion(stretch.start..<stretch.end, changes, stretch.failures)
    }

    private func portion(
        _ offsets: Range<Int64>, _ changes: [MappedChange], _ failures: [Rejection] = []
    ) -> Portion {
        position = offsets.upperBound
        defer { gap = nil }
        let batch = MappedBatch(
            offsets: offsets, changes: changes, settled: batch == nil ? settled : .none,
            generation: generation)
        return Portion(batch: batch, failures: failures, gap: gap, heldBack: gates.oldestHeld)
    }

    /// The end of a replay's stretch, where the log has nothing there: a repair has taken it out, or retention.
    private func remainder() -> Portion? {
        guard let end = selection?.offsets.upperBound, position < end || gap != nil else { return nil }
        return portion(min(position, end)..<end, [])
    }

    /// Reads and maps until a portion is full or the limit is reached; no more, so that a sink writes one portion while
    /// the next is made. It starts at -1 where there is nothing.
    private func stretch(below limit: Int64) throws -> Stretch {
        var stretch = Stretch()
        let changes = selection?.portionChanges ?? width * DeliveryFeed.portionChanges
        let bytes = Int(width) * DeliveryFeed.portionBytes
        // A replay may end inside a batch.
        let limit = selection == nil ? limit : .max
        let end = selection?.offsets.upperBound ?? .max
        while !stretch.isFull(changes, bytes) {
            if batch == nil {
                guard reader?.nextOffset ?? end < end else { break }
                batch = try read(below: limit)
                cursor = RecordBatch.Cursor()
            }
            guard let batch else { break }
            do {
                let isOver = try batch.forEach(from: &cursor) { record in
                    guard record.type == RecordType.change, record.offset < end else { return true }
                    stretch.bytesRead += record.payload.count
                    let change = try ChangeCodec.decode(record.payload)
                    try map(change, record.offset, batch.generation, into: &stretch)
                    return !stretch.isFull(changes, bytes)
                }
                guard isOver else { break }
            } catch let error as ChangeCodecError {
                throw LogError(
                    code: .corrupt, message: "a record of the batch at offset \(batch.baseOffset): \(error)",
                    file: directory.string)
            }
            if let position = try? CapturePosition(decoding: batch.position) { settled = position.settled }
            self.batch = nil
        }
        return stretch
    }

    private func read(below limit: Int64) throws(LogError) -> RecordBatch? {
        let position = reader?.nextOffset ?? 0
        do {
            return try reader?.next(below: limit)
        } catch {
            guard error.code == .trimmed else { throw error }
            try open(at: position)
            return try reader?.next(below: limit)
        }
    }

    /// What the sink writes of a change, whether or not it is its turn.
    func writes(of change: Change, at offset: Int64) -> [SinkWrite] {
        guard case .writes(let writes) = mapper.map(change, offset: offset, sink: sinkIndex) else {
            return []
        }
        return selection.map { $0.prefixed(writes) } ?? writes
    }

    /// Throws `PipelineError.unavailable` where what a rule needs is missing.
    private func map(
        _ change: consuming Change, _ offset: Int64, _ generation: UInt16, into stretch: inout Stretch
    ) throws(PipelineError) {
        if stretch.start < 0 { stretch.start = offset }
        stretch.end = offset + 1
        stretch.generation = generation
        if let only = change.onlyFor, only != sinkName { return }
        if let selection, !selection.contains(change, offset: offset) { return }
        switch mapper.map(change, offset: offset, sink: sinkIndex) {
        case .writes(let writes):
            let writes = selection.map { $0.prefixed(writes) } ?? writes
            stretch.bytesWritten += writes.reduce(0) { $0 + $1.byteCount }
            stretch.changes.append(
                MappedChange(change, offset: offset, generation: generation, writes: writes))
        case .dropped:
            break
        case .failed(let error) where error.code == .unavailable:
            throw .unavailable("\(error)")
        case .failed(let error):
            stretch.bytesWritten += 256 + change.path.utf8.count + (change.data?.count ?? 0)
            let mapped = MappedChange(change, offset: offset, generation: generation, writes: [])
            stretch.failures.append(Rejection(mapped, reason: "\(error)"))
        }
    }
}

extension SinkWrite {
    /// Bytes that the write puts on the wire, roughly.
    var byteCount: Int {
        switch self {
        case .streamAdd(let key, let fields), .replaceHash(let key, let fields):
            key.count + 32 + fields.byteCount + 16 * fields.count
        case .setString(let key, let value): key.count + value.count + 32
        case .setHashField(let key, let field, let value): key.count + field.count + value.count + 32
        case .removeHashField(let key, let field): key.count + field.count + 32
        case .addMember(let key, let member), .removeMember(let key, let member),
            .addScoredMember(let key, let member, _), .removeScoredMember(let key, let member),
            .addListItem(let key, let member), .removeListItem(let key, let member):
            key.count + member.count + 64
        case .deleteKey(let key): key.count + 32
        case .expiring(let write, _): write.byteCount + 32
        case .release: 64
        case .envelope: 512
        }
    }
}
