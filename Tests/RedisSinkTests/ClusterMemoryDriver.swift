import ChangeModel
import Engine
import Foundation
import Logging
import Mapping
import RedisClient
import SegmentLog
import Synchronization
import TestServers
import Testing

@testable import RedisSink

/// Drives a sink that remembers what it has written from a log of its own: each change gives one of a few paths another
/// thing, or takes it away.
final class ClusterMemoryDriver: LoadedDriver {
    // So many that what is left behind is not put right by a later change that happens to write the same.
    private static let paths: UInt64 = 1_500
    private static let things: UInt64 = 1_000
    private static let batchSize: Int64 = 100

    private let servers: RedisClusterServers
    private let replyTimeout: Duration
    /// The end of the log; grows.
    static let usualLoad: Int64 = 2_000

    let end = Watermark(0)
    let started = Watermark(0)
    private struct State {
        var task: Task<Void, any Error>?
        var rewinds: [Int64] = []
        var starts = 0
        var delivered = 0
    }
    private let state = Mutex(State())

    var rewinds: [Int64] { state.withLock { $0.rewinds } }
    var starts: Int { state.withLock { $0.starts } }

    init(_ servers: RedisClusterServers, replyTimeout: Duration = .seconds(30)) {
        self.servers = servers
        self.replyTimeout = replyTimeout
    }

    static func sink(
        _ servers: RedisClusterServers, name: String = "s", maxRemembered: Int64? = 1_000_000,
        owner: String = "host process 1", replyTimeout: Duration = .seconds(30)
    ) throws -> RedisClusterSink {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var redis = RedisConfiguration(endpoint: try RedisEndpoint(parsing: servers.url))
        redis.replyTimeout = replyTimeout
        redis.connectTimeout = .seconds(2)
        var configuration = RedisSink.Configuration(
            pipeline: "p", sink: name, redis: redis, onMissingCheckpoint: .earliest, owner: owner)
        configuration.maxRemembered = maxRemembered
        configuration.writesLists = true
        configuration.takeOverPause = .milliseconds(100)
        return try RedisClusterSink(configuration, logger: logger)
    }

    func context() -> SinkContext {
        SinkContext(
            logID: "log", generations: [Generation(number: 0, firstOffset: 0)], startOffset: 0,
            endOffset: self.end.value, takeOver: false, lookup: NoChanges(), offset: { _ in 0 },
            startGeneration: { $0 + 1 },
            repeatSnapshot: {})
    }

    // MARK: The log

    private static func random(_ offset: Int64) -> UInt64 {
        var value = UInt64(bitPattern: offset) &+ 0x9e37_79b9_7f4a_7c15
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    private static func path(_ offset: Int64) -> String { "/n\(random(offset) % paths)" }

    /// `nil`: the path gives up what it has.
    private static func thing(_ offset: Int64) -> UInt64? {
        let number = random(offset) >> 16
        return number % 8 == 0 ? nil : (number >> 8) % things
    }

    /// The key that has it besides its own.
    private static func part(_ thing: UInt64) -> String {
        "\(["set", "hash", "list"][Int(thing % 3)]):\(thing % 7)"
    }

    private static func change(_ offset: Int64) -> MappedChange {
        var writes = [SinkWrite.release]
        if let thing = thing(offset) {
            let name = Bytes("\(thing)".utf8)
            writes = [.setString(key: Bytes("k:\(thing)".utf8), value: name)]
            let key = Bytes(part(thing).utf8)
            switch thing % 3 {
            case 0: writes.append(.addMember(key: key, member: name))
            case 1: writes.append(.setHashField(key: key, field: name, value: name))
            default: writes.append(.addListItem(key: key, item: name))
            }
        }
        return MappedChange(
            Change(operation: .update, path: path(offset), data: [], zxid: Zxid(offset), timestamp: 1),
            offset: offset, generation: 0, writes: writes)
    }

    static func batch(_ offsets: Range<Int64>) -> MappedBatch {
        MappedBatch(
            offsets: offsets, changes: offsets.map(change), settled: Zxid(offsets.upperBound), generation: 0)
    }

    // MARK: Driving

    /// Delivers until the log is finished and all of it is confirmed, with another sink whenever one is killed.
    func run() async throws {
        while true {
            let sink = try ClusterMemoryDriver.sink(
                servers, owner: "host process \(starts + 1)", replyTimeout: replyTimeout)
            let task = Task { try await self.deliver(by: sink) }
            state.withLock {
                $0.task = task
                $0.starts += 1
            }
            do {
                try await task.value
                return await sink.close()
            } catch is CancellationError {
                await sink.close()
            } catch let error as RedisClusterError where error.code == .cancelled {
                await sink.close()
            }
        }
    }

    /// Until so many changes more are delivered, those told again included.
    func progress(by count: Int) async throws {
        let start = state.withLock { $0.delivered }
        for _ in 0..<1200 {
            if state.withLock({ $0.delivered }) >= start + count { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw TestServerError("no \(count) changes more within a minute")
    }

    /// Each start closes its own sink.
    func close() async {}

    /// In the middle of whatever is under way.
    func kill() { state.withLock { $0.task?.cancel() } }

    private func deliver(by sink: RedisClusterSink) async throws {
        var position = try await sink.start(context())
        started.set(1)
        while true {
            try Task.checkCancellation()
            let limit = min(end.value, position + ClusterMemoryDriver.batchSize)
            guard position < limit else {
                if let offset = try await sink.idle() {
                    position = offset
                    state.withLock { $0.rewinds.append(offset) }
                    continue
                }
                if end.isFinished, end.value <= position { return }
                _ = try await end.wait(until: position + 1, timeout: .milliseconds(200))
                continue
            }
            switch try await sink.deliver(ClusterMemoryDriver.batch(position..<limit)) {
            case .delivered(let refused):
                if let first = refused.first { throw PipelineError.failed("refused: \(first.reason)") }
                state.withLock { $0.delivered += Int(limit - position) }
                position = limit
                await sink.confirm(position)
            case .rewound(let offset):
                position = offset
                state.withLock { $0.rewinds.append(offset) }
            }
        }
    }

    // MARK: What is there

    /// By path what it has at the log's end.
    private func outcome() -> [String: UInt64] {
        var outcome: [String: UInt64] = [:]
        for offset in 0..<end.value {
            outcome[ClusterMemoryDriver.path(offset)] = ClusterMemoryDriver.thing(offset)
        }
        return outcome
    }

    /// What is wrong in the cluster, in words; empty where nothing is.
    func problems() async throws -> [String] {
        let outcome = outcome()
        var wanted: Set<String> = []
        for (path, thing) in outcome {
            let part = ClusterMemoryDriver.part(thing)
            wanted.formUnion(["k:\(thing) = \(thing)", "\(part) \(thing)"])
            for key in ["k:\(thing)", part] {
                wanted.formUnion(["\(path) holds \(key) \(thing)", "\(path) names \(key) \(thing)"])
            }
        }
        for (thing, count) in Dictionary(grouping: outcome.values, by: \.self).mapValues(\.count) {
            for key in ["k:\(thing)", ClusterMemoryDriver.part(thing)] {
                wanted.insert("\(key) \(thing) has \(count)")
            }
        }
        let found = try await ClusterMemoryDriver.contents(servers)
        return wanted.subtracting(found).map { "missing: \($0)" }.sorted()
            + found.subtracting(wanted).map { "too many: \($0)" }.sorted()
    }

    /// Everything, in words. Of a string the thing is the number in its name.
    private static func contents(_ servers: RedisClusterServers) async throws -> Set<String> {
        let cluster = try RedisCluster(
            configuration: RedisConfiguration(endpoint: try RedisEndpoint(parsing: servers.url)),
            logger: Logger(label: "test"))
        defer { Task { await cluster.close() } }
        func ask(_ command: String, _ key: String, _ more: String...) async throws -> RESPValue {
            var batch = RedisCommandBatch()
            batch.append([command, key] + more)
            let replies = try await cluster.send(
                batch, to: HashSlot(of: key), deadline: .now + .seconds(20))
            return try #require(replies.first)
        }
        func bytes(_ reply: RESPValue) -> [Bytes] {
            reply.array?.compactMap { if case .bulkString(let bytes) = $0 { bytes } else { nil } } ?? []
        }
        func name(_ address: OwnedAddress) -> String {
            let key = String(decoding: address.key, as: UTF8.self)
            let part = String(decoding: address.part, as: UTF8.self)
            return "\(key) \(address.kind == .key ? String(key.dropFirst(2)) : part)"
        }
        var contents: Set<String> = []
        for master in servers.masters() {
            for key in try servers.keys(of: master) where !key.hasSuffix(":marker") {
                if key.hasSuffix(":holds") {
                    for record in bytes(try await ask("HKEYS", key)) {
                        let hold = try #require(Hold(record: record))
                        contents.insert("\(hold.path) holds \(name(hold.address))")
                    }
                } else if key.hasSuffix(":paths") || key.hasSuffix(":owners") {
                    let fields = bytes(try await ask("HGETALL", key))
                    for index in stride(from: 0, to: fields.count, by: 2) {
                        let isOwner = key.hasSuffix(":owners")
                        for address in try #require(OwnedAddress.parse(fields[isOwner ? index : index + 1])) {
                            let other = String(
                                decoding: fields[isOwner ? index + 1 : index], as: UTF8.self)
                            contents.insert(
                                isOwner
                                    ? "\(name(address)) has \(other)" : "\(other) names \(name(address))")
                        }
                    }
                } else if key.hasPrefix("k:") {
                    contents.insert("\(key) = \(try await ask("GET", key).string ?? "")")
                } else if key.hasPrefix("set:") {
                    for member in bytes(try await ask("SMEMBERS", key)) {
                        contents.insert("\(key) \(String(decoding: member, as: UTF8.self))")
                    }
                } else if key.hasPrefix("hash:") {
                    let fields = bytes(try await ask("HGETALL", key)).map {
                        String(decoding: $0, as: UTF8.self)
                    }
                    for index in stride(from: 0, to: fields.count, by: 2) {
                        contents.insert("\(key) \(fields[index])")
                    }
                } else if key.hasPrefix("list:"), case .bulkString(let text) = try await ask("GET", key) {
                    for item in ChildrenList.items(text) ?? ["?"] { contents.insert("\(key) \(item)") }
                } else if !key.hasSuffix(":memory") {
                    contents.insert("a key \(key)")
                }
            }
        }
        return contents
    }
}
