import ChangeModel
import Engine
import Mapping
import RedisClient

/// A path's share in a thing.
struct Hold: Hashable {
    var address: OwnedAddress
    var path: String

    /// The address's record, and behind it the path.
    var record: Bytes { address.record + Bytes(path.utf8) }

    init(address: OwnedAddress, path: String) {
        self.address = address
        self.path = path
    }

    /// `nil` for a record that is none.
    init?(record: Bytes) {
        var reader = ByteReader(record[...])
        guard let address = OwnedAddress(&reader) else { return nil }
        self.init(address: address, path: String(decoding: record.suffix(reader.remaining), as: UTF8.self))
    }
}

/// What a cluster remembers for a sink whose keys, members or fields the znodes' paths do not decide: hashes in each slot.
///
/// | key | in the slot of | field | value |
/// |---|---|---|---|
/// | `millrace:{n}:<pipeline>:<sink>:paths` | the path | the path | what its node has written, and may still hold |
/// | `millrace:{n}:<pipeline>:<sink>:owners` | the thing's key | one such thing | how many paths hold it |
/// | `millrace:{n}:<pipeline>:<sink>:holds` | the thing's key | the thing, and behind it a path | empty |
///
/// `owners` and `holds` are written with the data, as one: a thing is there as long as a path holds it. `paths` is where to
/// look for what a path holds. It names a thing before that is written, and until after it is given up, so that whatever
/// is lost on the way is found again; it may name more than the path holds, never less. A slot that has lost what it had
/// acknowledged may break that: `RedisClusterSink.restore` mends it before anything is delivered again.
struct ClusterMemory {
    let pipeline: String
    let sink: String

    func paths(_ slot: HashSlot) -> String { name(slot, "paths") }
    func owners(_ slot: HashSlot) -> String { name(slot, "owners") }
    func holds(_ slot: HashSlot) -> String { name(slot, "holds") }

    /// All of a slot.
    func names(_ slot: HashSlot) -> [String] { [paths(slot), owners(slot), holds(slot)] }

    /// Says for which nodes' data `paths` is known to be complete (`RedisClusterSink.keepStock`).
    var proof: String {
        name(HashSlot(of: CheckpointRecord.key(pipeline: pipeline, sink: sink)), "memory")
    }

    private func name(_ slot: HashSlot, _ suffix: String) -> String {
        CheckpointRecord.key(pipeline: pipeline, sink: sink, slot: slot) + ":" + suffix
    }
}

/// As much of it as a batch has to do with.
struct ClusterMemoryState {
    /// `nil`: paths decide, and nothing is remembered of them.
    let memory: ClusterMemory?
    var paths: [String: [OwnedAddress]] = [:]
    var holds: Set<Hold> = []
    var owners: [OwnedAddress: Int64] = [:]
    /// Lists that the batch may change, as they are: `nil` where there is none.
    var lists: [Bytes: Bytes?] = [:]
    /// More paths than this hold nothing.
    private static let largestCount: Int64 = 1 << 40
    /// Lists that cannot be read, and why.
    var refusedLists: [Bytes: RedisServerError] = [:]

    /// One question for each slot.
    struct Questions {
        fileprivate(set) var paths: [HashSlot: [String]] = [:]
        fileprivate(set) var holds: [HashSlot: [Hold]] = [:]
        fileprivate(set) var lists: [HashSlot: [Bytes]] = [:]
        private(set) var slots: [HashSlot] = []

        mutating func ask(path: String) {
            let slot = HashSlot(of: path)
            note(slot)
            paths[slot, default: []].append(path)
        }

        mutating func ask(_ hold: Hold) {
            let slot = HashSlot(of: hold.address.key)
            note(slot)
            holds[slot, default: []].append(hold)
        }

        mutating func ask(list: Bytes) {
            let slot = HashSlot(of: list)
            note(slot)
            lists[slot, default: []].append(list)
        }

        private mutating func note(_ slot: HashSlot) {
            if paths[slot] == nil, holds[slot] == nil, lists[slot] == nil { slots.append(slot) }
        }

        func questions(_ memory: ClusterMemory?) -> [KeyQuestion] { slots.map { question($0, memory) } }

        private func question(_ slot: HashSlot, _ memory: ClusterMemory?) -> KeyQuestion {
            var question = KeyQuestion(slot: slot)
            if let memory {
                if let paths = paths[slot] {
                    question.commands.append(["HMGET", memory.paths(slot)] + paths)
                }
                if let holds = holds[slot] {
                    question.commands.appendHMGET(memory.holds(slot), holds.map(\.record))
                    question.commands.appendHMGET(memory.owners(slot), holds.map(\.address.record))
                }
            }
            for list in lists[slot] ?? [] {
                question.commands.begin(argumentCount: 2)
                question.commands.add("GET" as StaticString)
                question.commands.add(list)
            }
            return question
        }
    }

    /// - Parameter answers: to `questions`, in their order.
    mutating func take(_ answers: [[RESPValue]], to asked: Questions) throws {
        guard answers.count == asked.slots.count else { throw malformed }
        for (slot, replies) in zip(asked.slots, answers) {
            var replies = replies[...]
            if memory != nil {
                if let paths = asked.paths[slot] { try take(replies.popFirst(), paths: paths) }
                if let holds = asked.holds[slot] {
                    try take(replies.popFirst(), replies.popFirst(), holds: holds)
                }
            }
            for list in asked.lists[slot] ?? [] { try take(replies.popFirst(), list: list) }
        }
    }

    private mutating func take(_ reply: RESPValue?, paths: [String]) throws {
        for (path, record) in zip(paths, try values(reply, paths.count)) {
            guard let record else { continue }
            guard let addresses = OwnedAddress.parse(record) else { throw malformed }
            self.paths[path] = addresses
        }
    }

    private mutating func take(_ held: RESPValue?, _ counts: RESPValue?, holds: [Hold]) throws {
        for (hold, value) in zip(holds, try values(held, holds.count)) where value != nil {
            self.holds.insert(hold)
        }
        for (hold, value) in zip(holds, try values(counts, holds.count)) {
            guard let value else { continue }
            guard let count = Int64(String(decoding: value, as: UTF8.self)),
                (1...ClusterMemoryState.largestCount).contains(count)
            else {
                throw malformed
            }
            owners[hold.address] = count
        }
    }

    private mutating func take(_ reply: RESPValue?, list: Bytes) throws {
        switch reply {
        case .null: lists[list] = .some(nil)
        case .bulkString(let text) where ChildrenList.items(text) != nil: lists[list] = text
        case .bulkString: refusedLists[list] = ChildrenList.isNone
        case .error(let error) where ErrorClass(error) == .record: refusedLists[list] = error
        case .error(let error): throw RedisError(code: .server(error), message: error.message)
        default: throw malformed
        }
    }

    private func values(_ reply: RESPValue?, _ count: Int) throws -> [Bytes?] {
        if case .error(let error)? = reply {
            guard ErrorClass(error) == .record else {
                throw RedisError(code: .server(error), message: error.message)
            }
            throw PipelineError.unavailable("the cluster refuses what the sink needs: \(error.message)")
        }
        guard let values = reply?.array, values.count == count else { throw malformed }
        return try values.map { value in
            switch value {
            case .null: nil
            case .bulkString(let bytes): bytes
            default: throw malformed
            }
        }
    }

    var malformed: PipelineError { ClusterMemoryState.malformed(memory) }

    static func malformed(_ memory: ClusterMemory?) -> PipelineError {
        .failed(
            "what the keys millrace:{…}:\(memory.map { "\($0.pipeline):\($0.sink)" } ?? "…"):* hold cannot be read as what "
                + "this sink has written")
    }
}

extension KeyQuestion {
    /// About any keys of a slot.
    init(slot: HashSlot) { self.init(key: Bytes("{\(HashSlot.tag(for: slot))}".utf8)) }
}

extension RedisCommandBatch {
    fileprivate mutating func appendHMGET(_ key: String, _ fields: [Bytes]) {
        begin(argumentCount: 2 + fields.count)
        add("HMGET" as StaticString)
        add(key)
        for field in fields { add(field) }
    }

    /// Gives fields of a hash values; nothing where there is none.
    mutating func appendHSET(_ key: String, _ fields: [(name: Bytes, value: Bytes)]) {
        guard !fields.isEmpty else { return }
        begin(argumentCount: 2 + 2 * fields.count)
        add("HSET" as StaticString)
        add(key)
        for field in fields {
            add(field.name)
            add(field.value)
        }
    }

    /// Removes fields of a hash; nothing where there is none.
    mutating func appendHDEL(_ key: String, _ fields: [Bytes]) {
        guard !fields.isEmpty else { return }
        begin(argumentCount: 2 + fields.count)
        add("HDEL" as StaticString)
        add(key)
        for field in fields { add(field) }
    }
}
