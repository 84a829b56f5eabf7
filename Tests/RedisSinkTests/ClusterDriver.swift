import ChangeModel
import Engine
import Logging
import Mapping
import RedisClient
import SegmentLog
import Synchronization
import TestServers
import Testing

@testable import RedisSink

/// Drives a sink as the engine does, from a log of its own: change `n` writes `n` to one of `keyCount` keys, or to one
/// of `streamCount` streams.
final class ClusterDriver: LoadedDriver {
    static let keyCount = 500
    static let streamCount = 16
    private static let batchSize: Int64 = 250

    let isStream: Bool
    let sink: RedisClusterSink
    /// The end of the log; grows.
    static let usualLoad: Int64 = 5_000

    let end = Watermark(0)
    let started = Watermark(0)
    private let counts = Mutex((delivered: 0, rewinds: [Int64]()))

    /// Changes handed to the sink, those told again included.
    var delivered: Int { counts.withLock { $0.delivered } }
    var rewinds: [Int64] { counts.withLock { $0.rewinds } }

    init(
        _ cluster: RedisClusterServers, isStream: Bool, numbering: StreamOptions.EntryID = .offset,
        owner: String = "host process 1",
        replyTimeout: Duration = .seconds(30), wait: ReplicaWait? = nil
    ) throws {
        self.isStream = isStream
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var redis = RedisConfiguration(endpoint: try RedisEndpoint(parsing: cluster.url))
        redis.replyTimeout = replyTimeout
        redis.connectTimeout = .seconds(2)
        var configuration = RedisSink.Configuration(
            pipeline: "p", sink: "s", redis: redis, onMissingCheckpoint: .earliest,
            stream: isStream ? StreamOptions(id: numbering) : nil, owner: owner)
        configuration.wait = wait
        configuration.takeOverPause = .milliseconds(100)
        sink = try RedisClusterSink(configuration, logger: logger)
    }

    static func key(_ offset: Int64) -> String { "k:\(offset % Int64(keyCount))" }
    static func stream(_ offset: Int64) -> String { "s:\(offset % Int64(streamCount))" }

    /// Three changes a transaction, as an observer tells them.
    static func observed(_ offset: Int64) -> Change {
        Change(
            operation: .update, path: "/a", data: [], zxid: Zxid(1 + offset / 3), index: Int32(offset % 3),
            timestamp: offset, session: 1)
    }

    static func change(_ offset: Int64, _ write: SinkWrite) -> MappedChange {
        MappedChange(observed(offset), offset: offset, generation: 0, writes: [write])
    }

    private func change(_ offset: Int64) -> MappedChange {
        let value = Bytes("\(offset)".utf8)
        return ClusterDriver.change(
            offset,
            isStream
                ? .streamAdd(
                    key: Bytes(ClusterDriver.stream(offset).utf8),
                    fields: FieldList(
                        [
                            ("op", "u"), ("path", "/a"), ("version", "-1"), ("ts_ms", "\(offset)"),
                            ("n", "\(offset)"),
                        ]
                        .map { Field(name: $0.0, value: Bytes($0.1.utf8)) }))
                : .setString(key: Bytes(ClusterDriver.key(offset).utf8), value: value))
    }

    func context(logID: String = "log", takeOver: Bool = false) -> SinkContext {
        SinkContext(
            logID: logID, generations: [Generation(number: 0, firstOffset: 0)], startOffset: 0,
            endOffset: self.end.value, takeOver: takeOver,
            lookup: ObservedChanges { ClusterDriver.observed($0) }, offset: { _ in 0 },
            startGeneration: { $0 + 1 },
            repeatSnapshot: {})
    }

    func batch(_ offsets: Range<Int64>) -> MappedBatch {
        MappedBatch(
            offsets: offsets, changes: offsets.map(change), settled: Zxid(offsets.upperBound), generation: 0)
    }

    /// Delivers until the log is finished and all of it is confirmed.
    func run() async throws {
        var position = try await sink.start(context())
        started.set(1)
        while true {
            let limit = min(end.value, position + ClusterDriver.batchSize)
            guard position < limit else {
                if let offset = try await sink.idle() {
                    position = offset
                    note(rewound: offset)
                    continue
                }
                if end.isFinished, end.value <= position { return }
                _ = try await end.wait(until: position + 1, timeout: .milliseconds(200))
                continue
            }
            switch try await sink.deliver(batch(position..<limit)) {
            case .delivered(let refused):
                if let first = refused.first { throw PipelineError.failed("refused: \(first.reason)") }
                counts.withLock { $0.delivered += Int(limit - position) }
                position = limit
                await sink.confirm(position)
            case .rewound(let offset):
                position = offset
                note(rewound: offset)
            }
        }
    }

    private func note(rewound offset: Int64) {
        counts.withLock { $0.rewinds.append(offset) }
    }

    func close() async { await sink.close() }

    /// What is wrong in the cluster, in words; empty where nothing is.
    func problems(_ servers: RedisClusterServers) async throws -> [String] {
        let cluster = try RedisCluster(
            configuration: RedisConfiguration(endpoint: try RedisEndpoint(parsing: servers.url)),
            logger: Logger(label: "test"))
        defer { Task { await cluster.close() } }
        var problems: [String] = []
        let last = end.value
        if isStream {
            for number in 0..<min(Int64(ClusterDriver.streamCount), last) {
                let key = ClusterDriver.stream(number)
                let entries = try await cluster.send(
                    "XRANGE", key, "-", "+", key: key, deadline: .now + .seconds(20))
                let found = entries.array?.compactMap { entry in
                    entry.array?.last?.array?.last?.string.flatMap { Int64($0) }
                }
                let wanted = Array(stride(from: number, to: last, by: ClusterDriver.streamCount))
                if found != wanted {
                    let set = Set(found ?? [])
                    problems.append(
                        "\(key): \(found?.count ?? 0) entries for \(wanted.count), "
                            + "\(wanted.filter { !set.contains($0) }.count) missing")
                }
            }
        } else {
            for number in 0..<min(Int64(ClusterDriver.keyCount), last) {
                let key = ClusterDriver.key(number)
                let found = try await cluster.send("GET", key, key: key, deadline: .now + .seconds(20))
                let rest = (last - 1 - number) % Int64(ClusterDriver.keyCount)
                if found.string != "\(last - 1 - rest)" {
                    problems.append("\(key): \(found.string ?? "nothing"), not \(last - 1 - rest)")
                }
            }
        }
        return problems
    }
}
