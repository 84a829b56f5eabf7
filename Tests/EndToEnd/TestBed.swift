import Foundation
import Logging
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// A ZooKeeper, a Redis and a place for the pipeline's files: what every end-to-end test stands on.
struct TestBed {
    /// The one server, or the first of `ensemble`.
    let zookeeper: ZooKeeperServer
    /// The one server, or the first master of `sentinels` or of `cluster`.
    let redis: RedisServer
    let directory: TemporaryDirectory
    var ensemble: ZooKeeperEnsemble?
    var sentinels: RedisSentinelGroup?
    var cluster: RedisClusterServers?

    /// What a test needs beyond one server of each kind. A cluster has three masters, a replicated one a replica
    /// of each. An observed ensemble sends an observer whatever is in its logs, however small the tree.
    enum Kind { case single, ensemble, observedEnsemble, sentinels, cluster, replicatedCluster }

    static func start(_ kind: Kind = .single, redis configuration: [String] = []) async throws -> TestBed {
        async let sentinels = kind == .sentinels ? RedisSentinelGroup.start() : nil
        async let cluster = startCluster(kind, configuration)
        let ensemble: ZooKeeperEnsemble? =
            switch kind {
            case .ensemble: try await .start()
            case .observedEnsemble:
                try await .start(virtualMachine: ["-Dzookeeper.snapshotSizeFactor=0"])
            case .single, .sentinels, .cluster, .replicatedCluster: nil
            }
        let zookeeper: ZooKeeperServer
        if let first = ensemble?.servers.first { zookeeper = first } else { zookeeper = try await .start() }
        let redis: RedisServer
        if let first = try await sentinels?.servers.first {
            redis = first
        } else if let first = try await cluster?.servers.first {
            redis = first
        } else {
            redis = try await RedisServer.start(configuration)
        }
        return TestBed(
            zookeeper: zookeeper, redis: redis, directory: try TemporaryDirectory(), ensemble: ensemble,
            sentinels: try await sentinels, cluster: try await cluster)
    }

    private static func startCluster(
        _ kind: Kind, _ configuration: [String]
    ) async throws -> RedisClusterServers? {
        switch kind {
        case .cluster: try await .start(extraConfiguration: configuration)
        case .replicatedCluster: try await .start(replicas: 1, extraConfiguration: configuration)
        case .single, .ensemble, .observedEnsemble, .sentinels: nil
        }
    }

    func stop() async {
        if let ensemble { await ensemble.stop() } else { await zookeeper.stop() }
        if let cluster {
            await cluster.stop()
        } else if let sentinels {
            await sentinels.stop()
        } else {
            await redis.stop()
        }
    }

    var connectString: String { ensemble?.connectString ?? zookeeper.address }
    var redisURL: String { sentinels?.url ?? cluster?.url ?? redis.url }

    /// Runs a test's body, then stops the servers, whatever the body did.
    static func with(
        _ kind: Kind = .single, redis configuration: [String] = [], _ body: (TestBed) async throws -> Void
    ) async throws {
        let bed = try await TestBed.start(kind, redis: configuration)
        do {
            try await body(bed)
        } catch {
            await bed.stop()
            throw error
        }
        await bed.stop()
    }

    var dataDirectory: String { directory.path + "/data" }

    var environment: [String: String] {
        [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin",
            "ZOOKEEPER": connectString, "QUORUM": ensemble?.quorumAddresses.joined(separator: ",") ?? "",
            "REDIS": redisURL, "MILLRACE_DATA": dataDirectory,
        ]
    }

    /// A shipped definition.
    static func shipped(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Pipelines/\(name).yaml").path
    }

    /// Writes a definition of the test's own.
    func definition(_ text: String) throws -> String {
        let path = directory.path + "/\(UUID().uuidString).yaml"
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        return path
    }

    func millrace(_ arguments: String..., environment: [String: String] = [:]) throws -> MillraceProcess {
        try MillraceProcess(
            arguments, environment: self.environment.merging(environment) { $1 },
            directory: directory.path)
    }

    /// Runs a command to its end and returns its standard output.
    func output(_ arguments: String..., status: Int32 = 0) async throws -> String {
        let process = try MillraceProcess(arguments, environment: environment, directory: directory.path)
        #expect(try await process.exit() == status, "\(process.errors)")
        return process.output
    }

    /// What redis-cli prints. In a cluster the first argument behind the command is the key.
    func redis(_ arguments: [String]) async throws -> RESPValue {
        if cluster != nil {
            let cluster = try RedisCluster(
                configuration: RedisConfiguration(endpoint: try RedisEndpoint(parsing: redisURL)),
                logger: quietLogger)
            var batch = RedisCommandBatch()
            batch.append(arguments)
            let replies = try await cluster.send(
                batch, to: HashSlot(of: arguments[1]), deadline: .now + .seconds(10))
            await cluster.close()
            return try #require(replies.first)
        }
        let connection = try await RedisConnection.connect(
            RedisConfiguration(endpoint: try RedisEndpoint(parsing: redisURL)), logger: quietLogger)
        var batch = RedisCommandBatch()
        batch.begin(argumentCount: arguments.count)
        for argument in arguments { batch.add(argument) }
        let replies = try await connection.send(batch)
        await connection.close()
        return try #require(replies.first)
    }

    func redis(_ arguments: String...) async throws -> RESPValue { try await redis(arguments) }

    func strings(_ arguments: String...) async throws -> [String] {
        try await redis(arguments).array?.compactMap(\.string) ?? []
    }

    func hash(_ key: String) async throws -> [String: String] {
        let items = try await strings("HGETALL", key)
        return Dictionary(
            uniqueKeysWithValues: stride(from: 0, to: items.count - 1, by: 2).map {
                (items[$0], items[$0 + 1])
            })
    }

    /// All entries of a stream, oldest first.
    func stream(_ key: String) async throws -> [StreamEntry] {
        try await redis("XRANGE", key, "-", "+").array?.compactMap(StreamEntry.init) ?? []
    }

    /// Runs the body with a client of its own, the writer of the test.
    func withWriter<Value: Sendable>(
        _ body: @escaping @Sendable (ZooKeeperClient) async throws -> Value
    ) async throws -> Value {
        let client = ZooKeeperClient(
            configuration: ZooKeeperConfiguration(connect: try ConnectString(parsing: connectString)),
            logger: quietLogger)
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                try await client.run()
                return nil
            }
            group.addTask { try await body(client) }
            defer { group.cancelAll() }
            while let value = try await group.next() {
                if let value {
                    await client.close()
                    return value
                }
            }
            throw TestServerError("the writer ended early")
        }
    }
}

struct StreamEntry {
    var id: String
    var fields: [String: String]
}

extension StreamEntry {
    /// One of those that `XRANGE` answers.
    init?(_ entry: RESPValue) {
        guard let parts = entry.array, parts.count == 2, let id = parts[0].string,
            let items = parts[1].array?.map({ $0.string ?? "" })
        else { return nil }
        var fields: [String: String] = [:]
        for index in stride(from: 0, to: items.count - 1, by: 2) {
            fields[items[index]] = items[index + 1]
        }
        self.init(id: id, fields: fields)
    }
}

let quietLogger: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}()

/// Waits until a condition holds; fails the test after the timeout.
func eventually(
    _ what: String, within timeout: Duration = .seconds(20),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + timeout
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(20))
    }
    Issue.record("not within \(timeout): \(what)", sourceLocation: sourceLocation)
}

extension ZooKeeperClient {
    func create(_ path: String, _ text: String) async throws {
        _ = try await create(path, data: Array(text.utf8))
    }

    func set(_ path: String, _ text: String) async throws {
        _ = try await setData(path, data: Array(text.utf8))
    }
}
