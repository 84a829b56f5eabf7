public import Engine
public import Logging
import Mapping
public import RedisClient

/// Reads what a sink has written: in one Redis, the master that Sentinel names, or the nodes of a cluster.
public struct RedisSinkReader: SinkReader {
    let server: Server
    /// What the sink remembers lies beside its checkpoint on one Redis, in each slot of a cluster.
    let memory: ClusterMemory
    private let place: String

    enum Server: Sendable {
        case one(RedisClient)
        case cluster(RedisCluster)
    }

    /// Questions of one write.
    private static let questions = 500
    private static let connectTime = Duration.seconds(10)
    /// Attempts where a connection is lost: all that is asked may be asked again.
    private static let attempts = 3

    /// - Throws: `RedisError` for an endpoint that cannot be what it says.
    public init(
        _ configuration: RedisConfiguration, pipeline: String, sink: String, logger: Logger
    ) throws(RedisError) {
        if configuration.endpoint.clusterSeeds == nil {
            server = .one(RedisClient(configuration: configuration, logger: logger))
        } else {
            server = .cluster(try RedisCluster(configuration: configuration, logger: logger))
        }
        memory = ClusterMemory(pipeline: pipeline, sink: sink)
        place = "\(configuration.endpoint)"
    }

    public func close() async {
        switch server {
        case .one(let client): await client.close()
        case .cluster(let cluster): await cluster.close()
        }
    }

    // MARK: Items

    public func read(_ items: [SinkItem]) async throws -> [ItemContent] {
        var contents: [ItemContent] = []
        contents.reserveCapacity(items.count)
        for start in stride(from: 0, to: items.count, by: RedisSinkReader.questions) {
            let part = items[start..<min(start + RedisSinkReader.questions, items.count)]
            contents += try await read(part)
        }
        return contents
    }

    private func read(_ items: ArraySlice<SinkItem>) async throws -> [ItemContent] {
        // Of a list every item has the same answer.
        var places: [Bytes: Int] = [:]
        var questions: [KeyQuestion] = []
        let numbers = items.map { item in
            if item.kind == .listItem, let place = places[item.key] { return place }
            if item.kind == .listItem { places[item.key] = questions.count }
            questions.append(.content(of: item))
            return questions.count - 1
        }
        let replies = try await ask(questions)
        var lists: [Int: Set<Bytes>?] = [:]
        var contents: [ItemContent] = []
        for (item, number) in zip(items, numbers) {
            let reply = replies[number].first ?? .null
            if item.kind == .listItem {
                let list = lists[number] ?? RedisSinkReader.list(reply)
                lists[number] = list
                contents.append(list.map { $0.contains(item.part) ? .value([]) : .absent } ?? .otherType)
            } else {
                contents.append(try content(reply, item.kind))
            }
        }
        return contents
    }

    private func content(_ reply: RESPValue, _ kind: SinkItem.Kind) throws -> ItemContent {
        switch (kind, reply) {
        case (_, .error): return .otherType
        case (.member, .integer(let count)): return count == 0 ? .absent : .value([])
        case (.hash, _):
            guard let values = reply.array else { throw malformed }
            if values.isEmpty { return .absent }
            var fields: [Bytes: Bytes] = [:]
            for index in stride(from: 0, to: values.count - 1, by: 2) {
                guard case .bulkString(let name) = values[index],
                    case .bulkString(let value) = values[index + 1]
                else { throw malformed }
                fields[name] = value
            }
            return .fields(fields)
        case (_, .null): return .absent
        case (_, .bulkString(let bytes)): return .value(bytes)
        case (.scoredMember, .double(let score)): return .value(Bytes("\(score)".utf8))
        default: throw malformed
        }
    }

    /// The texts of a list that a string holds; `nil` for what is none.
    static func list(_ reply: RESPValue) -> Set<Bytes>? {
        switch reply {
        case .null: []
        case .bulkString(let bytes):
            ChildrenList.items(bytes).map { items in Set(items.map { Bytes($0.utf8) }) }
        default: nil
        }
    }

    var malformed: PipelineError { .unavailable("\(place): an answer of another form than the question's") }

    // MARK: Asking

    /// The replies to each question: errors only where the key holds another type.
    func ask(_ questions: [KeyQuestion]) async throws -> [[RESPValue]] {
        if questions.isEmpty { return [] }
        let replies: [[RESPValue]]
        switch server {
        case .one:
            replies = try await withConnection { try await $0.ask(questions) }
        case .cluster(let cluster):
            replies = try await reachable { try await ClusterKeyReader(cluster: cluster).ask(questions) }
        }
        return try checked(replies, questions.map(\.commands.count))
    }

    private func checked(_ replies: [[RESPValue]], _ counts: [Int]) throws -> [[RESPValue]] {
        guard replies.map(\.count) == counts else { throw malformed }
        do {
            for reply in replies.joined() { try reply.checkForTrouble() }
        } catch {
            throw PipelineError.unavailable("\(place): \(error)")
        }
        return replies
    }

    /// Commands of no one key, to a node of a cluster or to the one Redis.
    func send(_ commands: RedisCommandBatch, to node: RedisEndpoint.Address?) async throws -> [RESPValue] {
        let replies: [RESPValue]
        switch (server, node) {
        case (.cluster(let cluster), let node?):
            replies = try await reachable { try await cluster.send(commands, to: node).replies }
        default:
            replies = try await withConnection { try await $0.send(commands) }
        }
        return try checked([replies], [commands.count])[0]
    }

    private func withConnection<Value>(
        _ body: (RedisConnection) async throws -> Value
    ) async throws -> Value {
        guard case .one(let client) = server else { throw malformed }
        return try await reachable {
            try await body(try await client.connection(deadline: .now + RedisSinkReader.connectTime))
        }
    }

    func reachable<Value>(_ body: () async throws -> Value) async throws -> Value {
        var attempt = 1
        while true {
            do {
                return try await body()
            } catch let error as RedisError {
                guard attempt < RedisSinkReader.attempts, error.code != .cancelled else {
                    throw PipelineError.unavailable("\(place): \(error)")
                }
            } catch let error as RedisClusterError {
                guard attempt < RedisSinkReader.attempts, error.code != .cancelled else {
                    throw PipelineError.unavailable("\(place): \(error)")
                }
                try await Task.sleep(for: .milliseconds(500))
            }
            attempt += 1
        }
    }
}

extension KeyQuestion {
    fileprivate static func content(of item: SinkItem) -> KeyQuestion {
        let command: StaticString =
            switch item.kind {
            case .string, .listItem: "GET"
            case .hash: "HGETALL"
            case .hashField: "HGET"
            case .member: "SISMEMBER"
            case .scoredMember: "ZSCORE"
            }
        let hasPart = !item.kind.isWhole && item.kind != .listItem
        var question = KeyQuestion(key: item.key)
        question.commands.begin(argumentCount: hasPart ? 3 : 2)
        question.commands.add(command)
        question.commands.add(item.key)
        if hasPart { question.commands.add(item.part) }
        return question
    }
}
