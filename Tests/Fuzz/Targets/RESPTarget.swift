import NIOCore

@testable import RedisClient
@testable import RedisSink

/// What a Redis server may send: replies of every type, whole and in pieces, which must come to the same.
///
/// The first byte: how large the pieces are, and how many commands a batch has.
func fuzzRESP(_ input: inout FuzzInput) throws(FuzzFailure) {
    let mode = input.byte()
    let bytes = input.takeAll()
    let whole = decode(bytes, pieceBytes: max(bytes.count, 1))
    let cut = decode(bytes, pieceBytes: 1 + Int(mode & 15))
    // Not `==`: a NaN is unlike itself.
    if whole.messages != cut.messages || whole.error != cut.error {
        try FuzzFailure.unless("\(whole)" == "\(cut)", "replies do not depend on how bytes are cut")
    }
    var queue = ReplyQueue<Int>(maximumBatches: 1000, maximumBytes: 1000, maximumReplyBytes: 4096)
    for id in 0..<3 {
        try? queue.enqueue(
            id: UInt64(id), commands: 1 + Int(mode >> 4), bytes: 1, deadline: .uptimeNanoseconds(0),
            waiter: id)
    }
    for message in whole.messages {
        guard case .reply(let reply) = message else { continue }
        examine(reply)
        try examineTopology(reply)
        guard (try? queue.receive(reply, memory: 100)) != nil else { break }
    }
}

private let limits = RESPLimits(
    maximumDepth: 8, maximumBulkBytes: 1_000, maximumReplyBytes: 20_000, maximumElements: 200)

/// The messages up to the first error, and its code.
private func decode(_ bytes: [UInt8], pieceBytes: Int) -> (messages: [RESPMessage], error: RedisError.Code?) {
    var decoder = RESPDecoder(limits: limits)
    var messages: [RESPMessage] = []
    do throws(RedisError) {
        for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
            let piece = ByteBuffer(bytes: bytes[start..<min(start + pieceBytes, bytes.count)])
            try decoder.decode(piece) { (message, _) throws(RedisError) in messages.append(message) }
        }
        return (messages, nil)
    } catch {
        return (messages, error.code)
    }
}

/// A reply as one to `CLUSTER SLOTS`, or as what a cluster answers to commands.
private func examineTopology(_ reply: RESPValue) throws(FuzzFailure) {
    let asked = RedisEndpoint.Address.host("asked", port: 1)
    let slot = HashSlot(of: "key")
    var topology = try? ClusterTopology(parsing: reply, asked: asked)
    for (slot, address) in ClusterObstacle(in: [reply], slot: slot, node: asked).moves {
        topology?.move(slot, to: address)
    }
    guard let topology, !topology.masters.isEmpty else { return }
    let owned = topology.masters.reduce(0) { $0 + topology.slots(of: $1).count }
    try FuzzFailure.unless(owned == topology.coveredSlots, "every slot that is served has one master")
}

/// All that is asked of a reply afterwards.
private func examine(_ reply: RESPValue) {
    _ = (reply.string, reply.int, reply.array)
    _ = try? CheckpointRecord.parse(reply, key: "key")
    if case .error(let error) = reply {
        _ = error.redirection
        _ = ErrorClass(error)
    }
    for value in reply.array ?? [] { examine(value) }
}
