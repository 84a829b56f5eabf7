public import Engine
public import Mapping
import RedisClient

/// What is there, without a question for it.
extension RedisSinkReader {
    private static let keysAtOnce = "1000"
    private static let partsAtOnce = "500"
    private static let slotsAtOnce = 2_048
    /// Where pipelines keep their own affairs.
    private static let ownPrefix = Bytes("millrace:".utf8)

    public func scan(
        _ kind: SinkItem.Kind, _ pattern: Bytes, _ body: ([SinkItem]) async throws -> Void
    ) async throws {
        switch server {
        case .one:
            try await scan(kind, pattern, nil, body)
        case .cluster(let cluster):
            let topology = try await reachable { try await cluster.currentTopology() }
            for master in topology.masters { try await scan(kind, pattern, master.address, body) }
        }
    }

    private func scan(
        _ kind: SinkItem.Kind, _ pattern: Bytes, _ node: RedisEndpoint.Address?,
        _ body: ([SinkItem]) async throws -> Void
    ) async throws {
        var cursor = "0"
        repeat {
            var commands = RedisCommandBatch()
            commands.begin(argumentCount: 8)
            commands.add("SCAN" as StaticString)
            commands.add(cursor)
            commands.add("MATCH" as StaticString)
            commands.add(pattern)
            commands.add("COUNT" as StaticString)
            commands.add(RedisSinkReader.keysAtOnce)
            commands.add("TYPE" as StaticString)
            commands.add(kind.type)
            let keys: [RESPValue]
            (cursor, keys) = try page(try await send(commands, to: node).first)
            var found: [SinkItem] = []
            for case .bulkString(let key) in keys where !key.starts(with: RedisSinkReader.ownPrefix) {
                found.append(SinkItem(kind: kind, key: key))
            }
            if kind.isWhole {
                if !found.isEmpty { try await body(found) }
            } else {
                for item in found { try await parts(of: item, body) }
            }
        } while cursor != "0"
    }

    /// The fields, members or list items of one key.
    private func parts(of item: SinkItem, _ body: ([SinkItem]) async throws -> Void) async throws {
        let (kind, key) = (item.kind, item.key)
        func items(_ parts: [Bytes]) -> [SinkItem] {
            parts.map { SinkItem(kind: kind, key: key, part: $0) }
        }
        if kind == .listItem {
            var question = KeyQuestion(key: key)
            question.commands.begin(argumentCount: 2)
            question.commands.add("GET" as StaticString)
            question.commands.add(key)
            let list = RedisSinkReader.list(try await ask([question]).first?.first ?? .null) ?? []
            if !list.isEmpty { try await body(items(Array(list))) }
            return
        }
        let (command, width): (StaticString, Int) =
            switch kind {
            case .member: ("SSCAN", 1)
            case .scoredMember: ("ZSCAN", 2)
            default: ("HSCAN", 2)
            }
        try await pages(command, key) { values in
            var parts: [Bytes] = []
            for index in stride(from: 0, to: values.count, by: width) {
                if case .bulkString(let part) = values[index] { parts.append(part) }
            }
            if !parts.isEmpty { try await body(items(parts)) }
        }
    }

    public func remembered(
        _ kind: SinkItem.Kind, _ body: ([(path: String, items: [SinkItem])]) async throws -> Void
    ) async throws {
        switch server {
        case .one:
            let checkpoint = CheckpointRecord.key(pipeline: memory.pipeline, sink: memory.sink)
            try await remembered(kind, OwnedState.Names(checkpoint: checkpoint).paths, body)
        case .cluster:
            for slot in try await rememberingSlots() {
                try await remembered(kind, memory.paths(slot), body)
            }
        }
    }

    /// Slots of a cluster that have something.
    private func rememberingSlots() async throws -> [HashSlot] {
        var slots: [HashSlot] = []
        let all = Array(HashSlot.all)
        for start in stride(from: 0, to: all.count, by: RedisSinkReader.slotsAtOnce) {
            let portion = all[start..<min(start + RedisSinkReader.slotsAtOnce, all.count)]
            let questions = portion.map { slot in
                var question = KeyQuestion(slot: slot)
                question.commands.append("EXISTS", memory.paths(slot))
                return question
            }
            for (slot, replies) in zip(portion, try await ask(questions)) where replies.first != .integer(0) {
                slots.append(slot)
            }
        }
        return slots
    }

    private func remembered(
        _ kind: SinkItem.Kind, _ name: String,
        _ body: ([(path: String, items: [SinkItem])]) async throws -> Void
    ) async throws {
        try await pages("HSCAN", Bytes(name.utf8)) { values in
            var portion: [(path: String, items: [SinkItem])] = []
            for index in stride(from: 0, to: values.count - 1, by: 2) {
                guard let path = values[index].string, case .bulkString(let record) = values[index + 1],
                    let addresses = OwnedAddress.parse(record)
                else { throw PipelineError.failed("\(name) cannot be read as what this sink has written") }
                // What it wrote when it was defined to write in another form is not looked for.
                let items = addresses.compactMap { address -> SinkItem? in
                    guard address.kind.fits(kind) else { return nil }
                    return SinkItem(kind: kind, key: address.key, part: address.part)
                }
                portion.append((path, items))
            }
            if !portion.isEmpty { try await body(portion) }
        }
    }

    /// All pages of a scan of one key; none of one of another type.
    private func pages(
        _ command: StaticString, _ key: Bytes, _ body: ([RESPValue]) async throws -> Void
    ) async throws {
        var cursor = "0"
        repeat {
            var question = KeyQuestion(key: key)
            question.commands.begin(argumentCount: 5)
            question.commands.add(command)
            question.commands.add(key)
            question.commands.add(cursor)
            question.commands.add("COUNT" as StaticString)
            question.commands.add(RedisSinkReader.partsAtOnce)
            let reply = try await ask([question]).first?.first
            if case .error? = reply { return }
            let values: [RESPValue]
            (cursor, values) = try page(reply)
            if !values.isEmpty { try await body(values) }
        } while cursor != "0"
    }

    private func page(_ reply: RESPValue?) throws -> (cursor: String, values: [RESPValue]) {
        guard let parts = reply?.array, parts.count == 2, let cursor = parts[0].string,
            let values = parts[1].array
        else { throw malformed }
        return (cursor, values)
    }
}

extension SinkItem.Kind {
    /// What `TYPE` says of the key.
    fileprivate var type: StaticString {
        switch self {
        case .string, .listItem: "string"
        case .hash, .hashField: "hash"
        case .member: "set"
        case .scoredMember: "zset"
        }
    }
}

extension OwnedAddress.Kind {
    fileprivate func fits(_ kind: SinkItem.Kind) -> Bool {
        switch self {
        case .key: kind.isWhole
        case .hashField: kind == .hashField
        case .member: kind == .member
        case .scoredMember: kind == .scoredMember
        case .listItem: kind == .listItem
        }
    }
}
