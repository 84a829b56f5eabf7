internal import NIOCore

/// Whose turn it is: replies come in the order of the commands. A state machine without a socket.
///
/// `Waiter` is told the replies to a batch.
struct ReplyQueue<Waiter> {
    /// What a batch was answered.
    struct Completion {
        /// `nil` where nobody waits any more.
        let waiter: Waiter?
        let replies: [RESPValue]
    }

    private struct Entry {
        let id: UInt64
        let commands: Int
        let bytes: Int
        let deadline: NIODeadline
        var waiter: Waiter?
    }

    private let maximumBatches: Int
    private let maximumBytes: Int
    private let maximumReplyBytes: Int
    private var entries = CircularBuffer<Entry>()
    private var bytes = 0
    /// Commands of the first entry; 0 where there is none. Looking at the entry costs more than its reply.
    private var commands = 0
    /// Answers to the first entry so far.
    private var replies: [RESPValue] = []
    private var replyBytes = 0

    init(maximumBatches: Int, maximumBytes: Int, maximumReplyBytes: Int) {
        self.maximumBatches = maximumBatches
        self.maximumBytes = maximumBytes
        self.maximumReplyBytes = maximumReplyBytes
    }

    /// When the first batch has to be answered; `nil` where none is outstanding.
    var deadline: NIODeadline? { entries.first?.deadline }

    /// Notes a batch that is about to be sent.
    ///
    /// - Throws: `limitExceeded` where too much is outstanding; then it must not be sent. A batch that is
    ///   larger than the limit is taken when nothing else is outstanding.
    mutating func enqueue(
        id: UInt64, commands: Int, bytes newBytes: Int, deadline: NIODeadline, waiter: Waiter
    ) throws(RedisError) {
        guard entries.count < maximumBatches else {
            throw RedisError(code: .limitExceeded, message: "\(maximumBatches) batches are outstanding")
        }
        guard entries.isEmpty || newBytes <= maximumBytes - bytes else {
            throw RedisError(code: .limitExceeded, message: "\(bytes) bytes of commands are outstanding")
        }
        bytes += newBytes
        entries.append(Entry(id: id, commands: commands, bytes: newBytes, deadline: deadline, waiter: waiter))
        if entries.count == 1 { begin() }
    }

    /// Takes a reply; returns the batch that it completes.
    ///
    /// - Throws: `protocolViolation` where no command lacks a reply, `limitExceeded` where the batch's
    ///   replies take too much memory.
    mutating func receive(_ reply: RESPValue, memory: Int) throws(RedisError) -> Completion? {
        guard commands > 0 else { throw unsolicited(reply) }
        guard memory <= maximumReplyBytes - replyBytes else {
            throw RedisError(
                code: .limitExceeded, message: "replies of more than \(maximumReplyBytes) bytes to one batch")
        }
        replyBytes += memory
        replies.append(reply)
        guard replies.count == commands else { return nil }
        let first = entries.removeFirst()
        bytes -= first.bytes
        defer { begin() }
        return Completion(waiter: first.waiter, replies: replies)
    }

    private mutating func begin() {
        commands = entries.first?.commands ?? 0
        replyBytes = 0
        replies = []
        replies.reserveCapacity(min(commands, 1 << 16))
    }

    /// Nobody waits for this batch any more; its replies are still to come and are dropped then.
    mutating func abandon(id: UInt64) -> Waiter? {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return nil }
        let waiter = entries[index].waiter
        entries[index].waiter = nil
        return waiter
    }

    /// Everyone who waits, in order. The queue is empty afterwards.
    mutating func removeAll() -> [Waiter] {
        let waiters = entries.compactMap(\.waiter)
        entries.removeAll()
        bytes = 0
        begin()
        return waiters
    }

    /// A server that has no room for another client says so before it is asked.
    private func unsolicited(_ reply: RESPValue) -> RedisError {
        if case .error(let error) = reply {
            return RedisError(code: .server(error), message: error.message)
        }
        return RedisError(code: .protocolViolation, message: "a reply that no command asked for")
    }
}
