import ChangeModel
import SegmentLog
public import SystemPackage

/// How far the sinks of a pipeline have come; read from outside, the pipeline may run or not.
public struct OffsetReport: Sendable {
    public struct Sink: Sendable {
        public var name: String
        public var place: String
        /// `nil` where the sink has never been delivered to.
        public var checkpoint: Checkpoint?
        /// The next offset to deliver.
        public var current: Int64?
        public var lag: Int64?
        /// Age of the oldest change not yet delivered; 0 without any.
        public var timeLagMilliseconds: Int64?
        /// Since the checkpoint was written.
        public var ageMilliseconds: Int64?
        /// Of a sink over several nodes, each node; the sink is where the last of them is.
        public var nodes: [Node] = []
        /// Why the checkpoint could not be read.
        public var problem: String?
    }

    public struct Node: Sendable {
        /// host:port
        public var name: String
        /// The slots that it serves: `0-5460,9000`.
        public var slots: String
        public var checkpoint: Checkpoint?
        /// `nil` where a part of its slots has never been delivered to, or is lost.
        public var current: Int64?
        public var lag: Int64?
        public var ageMilliseconds: Int64?
    }

    public var pipeline: String
    public var logStart: Int64
    /// The next offset to be written.
    public var logEnd: Int64
    public var sinks: [Sink]

    private typealias Reading = (checkpoint: Checkpoint?, nodes: [NodeCheckpoint])

    private static let readTimeout = Duration.seconds(5)
    /// For a store to say why it has not got an answer in time.
    private static let grace = Duration.milliseconds(250)

    /// Throws `PipelineError.unavailable` where a checkpoint or the log cannot be read.
    public static func read(
        pipeline: String, directory: FilePath, stores: [(sink: String, store: any CheckpointStore)]
    ) async throws -> OffsetReport {
        let readings = try await readings(stores, timeout: readTimeout).map { try $0.get() }
        // The end is read after the checkpoints: a lag below zero would be seen otherwise.
        do {
            return try report(pipeline, directory, stores, readings.map { .success($0) })
        } catch {
            throw PipelineError(log: error)
        }
    }

    /// The same for whoever has to go on: what cannot be read within `timeout` is missing, with the reason.
    static func look(
        pipeline: String, directory: FilePath, stores: [(sink: String, store: any CheckpointStore)],
        timeout: Duration
    ) async -> OffsetReport? {
        let readings = await readings(stores, timeout: timeout)
        return try? report(pipeline, directory, stores, readings)
    }

    /// All at the same time, in their order.
    private static func readings(
        _ stores: [(sink: String, store: any CheckpointStore)], timeout: Duration
    ) async -> [Result<Reading, any Error>] {
        await withTaskGroup(of: (Int, Result<Reading, any Error>).self) { group in
            for (index, entry) in stores.enumerated() {
                group.addTask {
                    do {
                        let late = PipelineError.unavailable(
                            "\(entry.store.place): no answer within \(timeout)")
                        // The store's own reason is the better one.
                        let reading = try await within(
                            timeout + grace, { try await entry.store.readNodes(timeout: timeout) }, else: late
                        )
                        return (index, .success(reading))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var readings: [(Int, Result<Reading, any Error>)] = []
            for await reading in group { readings.append(reading) }
            return readings.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private static func report(
        _ pipeline: String, _ directory: FilePath, _ stores: [(sink: String, store: any CheckpointStore)],
        _ readings: [Result<Reading, any Error>]
    ) throws(LogError) -> OffsetReport {
        var report = OffsetReport(pipeline: pipeline, logStart: 0, logEnd: 0, sinks: [])
        var generations: [Generation] = []
        var logID: String?
        do {
            report.logStart = try LogDirectory.startOffset(directory)
            report.logEnd = try LogDirectory.endOffset(directory)
            generations = try LogDirectory.generations(directory)
            logID = try LogDirectory.logID(directory)
        } catch  where error.code == .notFound {
            // It has never run: an empty log.
        }
        let now = wallClockMilliseconds()
        /// Where a checkpoint of this log is.
        func position(_ checkpoint: Checkpoint?) -> Int64? {
            guard let checkpoint, checkpoint.logID == logID else { return nil }
            let limit = generations.first { $0.number > checkpoint.generation }?.firstOffset ?? .max
            return min(checkpoint.confirmed, limit)
        }
        for (entry, result) in zip(stores, readings) {
            let reading: Reading
            switch result {
            case .success(let found): reading = found
            case .failure(let error):
                var sink = Sink(name: entry.sink, place: entry.store.place)
                sink.problem = "\(error)"
                report.sinks.append(sink)
                continue
            }
            var sink = Sink(name: entry.sink, place: entry.store.place, checkpoint: reading.checkpoint)
            if let checkpoint = reading.checkpoint, let current = position(checkpoint) {
                sink.current = current
                sink.lag = max(report.logEnd - current, 0)
                sink.timeLagMilliseconds = try timeLag(directory, at: max(current, report.logStart), now: now)
                sink.ageMilliseconds = max(now - checkpoint.written, 0)
            }
            for node in reading.nodes {
                let current = position(node.checkpoint)
                sink.nodes.append(
                    Node(
                        name: node.node, slots: node.slots, checkpoint: node.checkpoint, current: current,
                        lag: current.map { max(report.logEnd - $0, 0) },
                        ageMilliseconds: node.checkpoint.map { max(now - $0.written, 0) }))
            }
            report.sinks.append(sink)
        }
        return report
    }

    /// Age of the oldest change from `offset` on. Blocking.
    static func timeLag(
        _ directory: FilePath, at offset: Int64, now: Int64
    ) throws(LogError) -> Int64 {
        var reader: LogReader
        do {
            reader = try LogReader(directory, from: offset)
        } catch {
            // Retention was quicker: what is left is the oldest.
            guard error.code == .trimmed else { throw error }
            reader = try LogReader(directory, from: try LogDirectory.startOffset(directory))
        }
        while let batch = try reader.next() {
            if batch.lastOffset >= offset { return max(now - batch.firstTimestamp, 0) }
        }
        return 0
    }
}
