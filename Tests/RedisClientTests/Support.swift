import Logging
import NIOCore
import TestServers
import Testing

@testable import RedisClient

let silent = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

/// What bytes that come in these pieces are decoded to.
func decode(_ pieces: [[UInt8]], limits: RESPLimits = .init()) throws(RedisError) -> [RESPMessage] {
    var decoder = RESPDecoder(limits: limits)
    var messages: [RESPMessage] = []
    for piece in pieces {
        try decoder.decode(ByteBuffer(bytes: piece)) { (message, _) throws(RedisError) in
            messages.append(message)
        }
    }
    return messages
}

func decode(_ text: String, limits: RESPLimits = .init()) throws(RedisError) -> [RESPMessage] {
    try decode([Array(text.utf8)], limits: limits)
}

/// The bytes of one reply.
func reply(_ text: String, limits: RESPLimits = .init()) throws -> RESPValue {
    let messages = try decode(text, limits: limits)
    guard messages.count == 1, case .reply(let value) = messages[0] else {
        throw TestServerError("expected one reply, got \(messages)")
    }
    return value
}

func bulk(_ text: String) -> RESPValue { .bulkString(Array(text.utf8)) }

func batch(_ commands: [String]...) -> RedisCommandBatch {
    var batch = RedisCommandBatch()
    for command in commands {
        batch.begin(argumentCount: command.count)
        for argument in command { batch.add(argument) }
    }
    return batch
}

/// The code of the error that is thrown.
func code(of body: () async throws -> Void) async -> RedisError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? RedisError)?.code
    }
}

extension RedisServer {
    func configuration() throws(RedisError) -> RedisConfiguration {
        RedisConfiguration(endpoint: try RedisEndpoint(parsing: "redis://127.0.0.1:\(port)/0"))
    }

    func connect() async throws(RedisError) -> RedisConnection {
        try await RedisConnection.connect(try configuration(), logger: silent)
    }
}
