import ChangeModel
import Mapping
import SegmentLog
import SystemPackage

/// Reads the log for one sink and maps what it reads, on a thread of its own.
actor DeliveryFeed {
    private let executor = BlockingExecutor(label: "millrace.feed")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let directory: FilePath
    private let mapper: Mapper
    private let sinkIndex: Int
    private let sinkName: String
    private var reader: LogReader?
    /// Mapped and not yet handed out.
    private var queue: ArraySlice<FeedItem> = []
    private var settled = Zxid.none
    private var gap: Range<Int64>?
    private var gates: ChangeGates
    /// In a replay.
    private let selection: ReplaySelection?
    /// Behind what was handed out, and its generation.
    private var position: Int64 = 0
    private var generation: UInt16 = 0

    /// What becomes of one offset: writes (often none), or the reason why there are none.
    private struct FeedItem {
        var mapped: MappedChange
        var failure: String?
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

    /// Changes handed out at once: a transaction that keeps a Redis for a few milliseconds.
    private static let portionChanges: Int64 = 2000
    private static let portionBytes = 1 << 20

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

    /// The next call of `next` begins at `offset`.
    func seek(to offset: Int64) throws(PipelineError) {
        queue = []
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
        if queue.isEmpty {
            do {
                try fill(below: limit)
            } catch {
                throw PipelineError(log: error)
            }
        }
        let now = ContinuousClock.now
        let held = gates.oldestHeld
        var changes = gates.release(isLast && queue.isEmpty, at: now)
        let isReleased = !changes.isEmpty || gates.oldestHeld != held
        // Offsets that a repair has found gone, or records of types that nobody delivers, are behind us.
        let last = selection?.offsets.upperBound ?? .max
        let passed = queue.isEmpty ? max(position, min(reader?.nextOffset ?? 0, last)) : position
        guard let start = queue.first?.mapped.offset ?? (isReleased || passed > position ? position : nil)
        else { return remainder() }
        var failures: [Rejection] = []
        var bytes = changes.reduce(0) { $0 + $1.byteCount }
        var end = passed > position ? passed : start
        let most = selection?.portionChanges ?? DeliveryFeed.portionChanges
        while let item = queue.first, end - start < most,
            bytes < DeliveryFeed.portionBytes
        {
            queue.removeFirst()
            end = item.mapped.offset + 1
            generation = item.mapped.generation
            if let reason = item.failure {
                bytes += 256 + item.mapped.change.path.utf8.count + (item.mapped.change.data?.count ?? 0)
                failures.append(Rejection(item.mapped, reason: reason))
            } else if !item.mapped.writes.isEmpty {
                guard !gates.isEmpty else {
                    bytes += item.mapped.writes.reduce(0) { $0 + $1.byteCount }
                    changes.append(item.mapped)
                    continue
                }
                for change in gates.take(item.mapped, at: now) {
                    bytes += change.writes.reduce(0) { $0 + $1.byteCount }
                    changes.append(change)
                }
            }
        }
        position = end
        let batch = MappedBatch(
            offsets: start..<end, changes: changes, settled: queue.isEmpty ? settled : .none,
            generation: generation)
        defer { gap = nil }
        return Portion(batch: batch, failures: failures, gap: gap, heldBack: gates.oldestHeld)
    }

    /// The end of a replay's stretch, where the log has nothing there (a repair has taken it out).
    private func remainder() -> Portion? {
        guard let end = selection?.offsets.upperBound, position < end else { return nil }
        defer { position = end }
        let batch = MappedBatch(
            offsets: position..<end, changes: [], settled: .none, generation: generation)
        return Portion(batch: batch, failures: [], gap: nil, heldBack: gates.oldestHeld)
    }

    /// Reads batches of the log until a portion is full or the limit is reached.
    private func fill(below limit: Int64) throws(LogError) {
        var items: [FeedItem] = []
        var bytes = 0
        // A replay may end inside a batch.
        let limit = selection == nil ? limit : .max
        let end = selection?.offsets.upperBound ?? .max
        while items.count < Int(DeliveryFeed.portionChanges), bytes < DeliveryFeed.portionBytes,
            reader?.nextOffset ?? end < end, let batch = try read(below: limit)
        {
            do {
                try batch.forEach { record in
                    guard record.type == RecordType.change, record.offset < end else { return }
                    let change = try ChangeCodec.decode(record.payload)
                    bytes += record.payload.count
                    items.append(map(change, offset: record.offset, generation: batch.generation))
                }
            } catch {
                throw LogError(
                    code: .corrupt, message: "a record of the batch at offset \(batch.baseOffset): \(error)",
                    file: directory.string)
            }
            if let position = try? CapturePosition(decoding: batch.position) { settled = position.settled }
        }
        queue = items[...]
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

    private func map(_ change: Change, offset: Int64, generation: UInt16) -> FeedItem {
        var mapped = MappedChange(change, offset: offset, generation: generation, writes: [])
        if let only = change.onlyFor, only != sinkName { return FeedItem(mapped: mapped) }
        if let selection, !selection.contains(change, offset: offset) { return FeedItem(mapped: mapped) }
        switch mapper.map(change, offset: offset, sink: sinkIndex) {
        case .writes(let writes):
            mapped.writes = selection.map { $0.prefixed(writes) } ?? writes
        case .dropped:
            break
        case .failed(let error):
            return FeedItem(mapped: mapped, failure: "\(error)")
        }
        return FeedItem(mapped: mapped)
    }
}

extension SinkWrite {
    /// Bytes that the write puts on the wire, roughly.
    var byteCount: Int {
        switch self {
        case .streamAdd(let key, let fields), .replaceHash(let key, let fields):
            fields.reduce(key.count + 32) { $0 + $1.name.count + $1.value.count + 16 }
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
