internal import NIOCore

/// What identifies a session to the servers; number 0 asks for a new one.
struct SessionIdentity: Sendable, Hashable {
    var number: Int64
    var password: [UInt8]

    static let none = SessionIdentity(number: 0, password: [UInt8](repeating: 0, count: 16))
}

/// The first frame of a connection; it has no xid.
struct ConnectRequest: Sendable, Hashable {
    var lastZxid: Int64
    var timeoutMilliseconds: Int32
    var session: SessionIdentity

    func encode(into buffer: inout ByteBuffer) {
        buffer.put(Int32(4 + 8 + 4 + 8 + 4 + session.password.count + 1))
        buffer.put(Int32(0))
        buffer.writeInteger(lastZxid)
        buffer.put(timeoutMilliseconds)
        buffer.writeInteger(session.number)
        buffer.put(session.password)
        buffer.put(false)
    }
}

/// The answer to it. A timeout of 0 says that the session has expired.
struct ConnectReply: Sendable, Hashable {
    var timeoutMilliseconds: Int32
    var session: SessionIdentity

    var isExpired: Bool { timeoutMilliseconds <= 0 || session.number == 0 }

    init(reading buffer: inout ByteBuffer) throws(MalformedBytes) {
        _ = try buffer.take(Int32.self)
        timeoutMilliseconds = try buffer.take()
        let number: Int64 = try buffer.take()
        session = SessionIdentity(number: number, password: try buffer.takeBuffer())
        // A read-only flag may follow; it says nothing to a client that did not ask for it.
    }
}
