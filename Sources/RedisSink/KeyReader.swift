import Mapping
import RedisClient

/// Answers questions about keys: one Redis, or the nodes of a cluster.
protocol KeyReader: Sendable {
    /// The replies to the commands of each question.
    func ask(_ questions: [KeyQuestion]) async throws -> [[RESPValue]]
}

extension KeyReader {
    /// As `ask`, of any number of questions.
    func askInParts(_ questions: [KeyQuestion]) async throws -> [[RESPValue]] {
        var replies: [[RESPValue]] = []
        for start in stride(from: 0, to: questions.count, by: KeyQuestion.part) {
            replies += try await ask(Array(questions[start..<min(start + KeyQuestion.part, questions.count)]))
        }
        return replies
    }
}

/// Commands that read one key.
struct KeyQuestion {
    var key: Bytes
    var commands = RedisCommandBatch()

    /// Questions that are asked at once: an answer may hold large entries.
    static let part = 64

    static func streamInfo(_ key: Bytes) -> KeyQuestion {
        var question = KeyQuestion(key: key)
        question.addStreamInfo()
        return question
    }

    mutating func addStreamInfo() {
        commands.begin(argumentCount: 3)
        commands.add("XINFO" as StaticString)
        commands.add("STREAM" as StaticString)
        commands.add(key)
    }

    /// One entry of a stream.
    mutating func addEntry(_ id: StreamID) {
        commands.begin(argumentCount: 4)
        commands.add("XRANGE" as StaticString)
        commands.add(key)
        commands.add(id.text)
        commands.add(id.text)
    }
}

extension RedisConnection: KeyReader {
    func ask(_ questions: [KeyQuestion]) async throws -> [[RESPValue]] {
        var commands = RedisCommandBatch()
        for question in questions { commands.append(contentsOf: question.commands) }
        var replies = try await send(commands)[...]
        return questions.map { question in
            defer { replies = replies.dropFirst(question.commands.count) }
            return Array(replies.prefix(question.commands.count))
        }
    }
}

extension RESPValue {
    /// Of a question about a key: that there is none, or one of another type, is an answer; BUSY or NOPERM is none.
    func checkForTrouble() throws(RedisError) {
        guard case .error(let error) = self else { return }
        if error.prefix == .wrongtype || error.message.hasPrefix("ERR no such key") { return }
        throw RedisError(code: .server(error), message: error.message)
    }

    /// A value of a map, which RESP2 gives as an array of names and values in turn.
    func field(_ name: String) -> RESPValue? {
        guard let items = array else { return nil }
        var index = 0
        while index + 1 < items.count {
            if items[index].string == name { return items[index + 1] }
            index += 2
        }
        return nil
    }
}
