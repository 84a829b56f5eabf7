import Engine
import Logging
import Mapping
import RedisClient

/// What the cluster remembers, as a whole: how much it is, and that it is complete.
///
/// A slot that has lost what it had acknowledged may hold things again that their paths had given up, and whose `paths` in
/// another slot does not name them any more. What brings them into order is delivered again, and needs to find them. So
/// before that, and before a start goes on from data that it cannot know to be what the last process left, every hold is
/// looked at, and named.
extension RedisClusterSink {
    /// Slots of one round of questions.
    private static let stretch = 2_048
    /// Holds that are read at once in a slot, and slots that are read at once.
    private static let page = "500"
    private static let slotsAtOnce = 64
    /// How long a slot on its way to another node is asked for.
    private static let patience = Duration.seconds(5)

    struct Places {
        var topology: ClusterTopology
        var histories: [String]
        var text: String
    }

    /// Before anything is delivered.
    func keepStock() async throws {
        guard let memory else { return }
        let places = currentPlaces()
        if proven == nil {
            proven = try await word(memory)
            if proven != places { needsRestoring = true }
        }
        while stock == nil || needsRestoring {
            let map = cluster.topology
            var counted = try await count(memory)
            if needsRestoring { counted.growth.paths += try await restore(counted, memory) }
            stock = counted
            // A slot that has moved meanwhile was read in part here, in part there: cursors are a server's own.
            needsRestoring = needsRestoring && cluster.topology != map
        }
        if proven != places {
            try await write(memory) { $0.append("SET", memory.proof, places) }
            proven = places
        }
    }

    /// What is remembered is not known to be complete any more: neither to the next process.
    func doubtMemory() async throws {
        guard let memory, needsRestoring, proven != "" else { return }
        try await write(memory) { $0.append("UNLINK", memory.proof) }
        proven = ""
    }

    /// Whose data lies where: another text wherever anything may have gone back.
    private func currentPlaces() -> String {
        guard let known else { return "" }
        let histories = known.masters.map { links[$0.address]?.history ?? "" }
        if let places, places.histories == histories, places.topology == known { return places.text }
        let text = zip(known.masters, histories).map { master, history in
            "\(SlotList(known.slots(of: master)).text)=\(history)"
        }.sorted().joined(separator: " ")
        places = Places(topology: known, histories: histories, text: text)
        return text
    }

    private func word(_ memory: ClusterMemory) async throws -> String {
        var question = KeyQuestion(key: Bytes(memory.proof.utf8))
        question.commands.append("GET", memory.proof)
        let reply = try await answers([question]).first?.first
        return reply?.string ?? ""
    }

    private func write(_ memory: ClusterMemory, _ body: (inout RedisCommandBatch) -> Void) async throws {
        var question = KeyQuestion(key: Bytes(memory.proof.utf8))
        body(&question.commands)
        _ = try await answers([question])
    }

    /// The replies to questions; those about a slot on its way are asked where they lead. What a node does not answer is
    /// for `lost`.
    func replies(to questions: [KeyQuestion]) async throws -> [[RESPValue]] {
        let batches = questions.map { ClusterBatch(slot: HashSlot(of: $0.key), commands: $0.commands) }
        var replies: [[RESPValue]] = []
        for (batch, outcome) in zip(batches, await cluster.send(batches)) {
            switch outcome.error?.code {
            case nil:
                replies.append(outcome.replies)
            case .moved, .ask, .tryAgain:
                replies.append(
                    try await cluster.send(
                        batch.commands, to: batch.slot, deadline: .now + RedisClusterSink.patience))
            default:
                replies.append(try outcome.get())
            }
        }
        return replies
    }

    /// The replies to questions that nothing may refuse.
    private func answers(_ questions: [KeyQuestion]) async throws -> [[RESPValue]] {
        let answers = try await replies(to: questions)
        guard answers.map(\.count) == questions.map(\.commands.count) else {
            throw RedisError(code: .protocolViolation, message: "answers of another number")
        }
        for case .error(let error) in answers.joined() {
            guard ErrorClass(error) != .record else {
                throw PipelineError.unavailable(
                    "the cluster refuses what sink \(configuration.sink) needs: \(error.message)")
            }
            throw RedisError(code: .server(error), message: error.message)
        }
        return answers
    }

    /// Of all slots that anybody serves.
    private func count(_ memory: ClusterMemory) async throws -> MemoryStock {
        var stock = MemoryStock()
        guard let known else { throw RedisSink.notStarted }
        for master in known.masters {
            let slots = known.slots(of: master)
            for start in stride(from: 0, to: slots.count, by: RedisClusterSink.stretch) {
                let stretch = slots[start..<min(start + RedisClusterSink.stretch, slots.count)]
                var commands = RedisCommandBatch()
                for slot in stretch { appendCount(slot, memory, to: &commands) }
                let replies = try await cluster.send(commands, to: master.address).replies
                guard replies.count == commands.count else {
                    throw RedisError(code: .protocolViolation, message: "answers of another number")
                }
                for (index, slot) in stretch.enumerated() {
                    var counts = replies[2 * index..<2 * index + 2].compactMap(\.int)
                    if counts.count < 2 {
                        // It may be on its way.
                        var question = KeyQuestion(slot: slot)
                        appendCount(slot, memory, to: &question.commands)
                        counts = try await answers([question])[0].compactMap(\.int)
                    }
                    guard counts.count == 2 else { throw ClusterMemoryState.malformed(memory) }
                    stock.growth.paths += counts[0]
                    stock.growth.things += counts[1]
                    if counts != [0, 0] { stock.slots.append(slot) }
                }
            }
        }
        return stock
    }

    private func appendCount(_ slot: HashSlot, _ memory: ClusterMemory, to commands: inout RedisCommandBatch)
    {
        for name in [memory.paths(slot), memory.owners(slot)] {
            commands.begin(argumentCount: 2)
            commands.add("HLEN" as StaticString)
            commands.add(name)
        }
    }

    /// Names every hold in its path's `paths`. Returns how many paths had none.
    private func restore(_ stock: MemoryStock, _ memory: ClusterMemory) async throws -> Int64 {
        var added: Int64 = 0
        if stock.growth.things > 0 {
            logger.notice(
                "looking through what the sink remembers", metadata: ["count": "\(stock.growth.things)"])
        }
        for start in stride(from: 0, to: stock.slots.count, by: RedisClusterSink.slotsAtOnce) {
            let end = min(start + RedisClusterSink.slotsAtOnce, stock.slots.count)
            var open = stock.slots[start..<end].map { (slot: $0, cursor: "0") }
            while !open.isEmpty {
                try Task.checkCancellation()
                let questions = open.map { slot, cursor in
                    var question = KeyQuestion(slot: slot)
                    question.commands.append(
                        "HSCAN", memory.holds(slot), cursor, "COUNT", RedisClusterSink.page)
                    return question
                }
                var holds: [String: [OwnedAddress]] = [:]
                var next: [(slot: HashSlot, cursor: String)] = []
                for ((slot, _), replies) in zip(open, try await answers(questions)) {
                    guard let parts = replies.first?.array, parts.count == 2, let cursor = parts[0].string,
                        let fields = parts[1].array
                    else { throw ClusterMemoryState.malformed(memory) }
                    for index in stride(from: 0, to: fields.count, by: 2) {
                        guard case .bulkString(let record) = fields[index], let hold = Hold(record: record)
                        else { throw ClusterMemoryState.malformed(memory) }
                        holds[hold.path, default: []].append(hold.address)
                    }
                    if cursor != "0" { next.append((slot, cursor)) }
                }
                added += try await name(holds, memory)
                open = next
            }
        }
        return added
    }

    private func name(_ holds: [String: [OwnedAddress]], _ memory: ClusterMemory) async throws -> Int64 {
        var asked = ClusterMemoryState.Questions()
        for path in holds.keys { asked.ask(path: path) }
        var state = ClusterMemoryState(memory: memory)
        guard !asked.slots.isEmpty else { return 0 }
        var added: Int64 = 0
        try state.take(try await answers(asked.questions(memory)), to: asked)
        var missing: [HashSlot: [(name: Bytes, value: Bytes)]] = [:]
        for (path, held) in holds {
            let named = state.paths[path] ?? []
            let all = held.reduce(into: named) { if !$0.contains($1) { $0.append($1) } }
            guard all.count > named.count else { continue }
            if named.isEmpty { added += 1 }
            missing[HashSlot(of: path), default: []].append((Bytes(path.utf8), OwnedAddress.record(all)))
        }
        _ = try await answers(
            missing.map { slot, fields in
                var question = KeyQuestion(slot: slot)
                question.commands.appendHSET(memory.paths(slot), fields)
                return question
            })
        return added
    }

    /// Removes all that is remembered.
    func discardMemory() async throws {
        guard let memory else { return }
        if known == nil { know(try await cluster.currentTopology()) }
        _ = try await answers(
            try await count(memory).slots.map { slot in
                var question = KeyQuestion(slot: slot)
                question.commands.append(["UNLINK"] + memory.names(slot))
                return question
            })
        try await write(memory) { $0.append("UNLINK", memory.proof) }
        stock = nil
        proven = nil
    }
}
