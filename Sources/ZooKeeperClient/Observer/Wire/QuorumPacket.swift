internal import NIOCore

/// `Leader`'s packet types in ZooKeeper's source, those that a learner meets.
enum QuorumPacketType {
    static let proposal: Int32 = 2
    static let ack: Int32 = 3
    static let commit: Int32 = 4
    static let ping: Int32 = 5
    static let inform: Int32 = 8
    static let commitAndActivate: Int32 = 9
    static let newLeader: Int32 = 10
    static let upToDate: Int32 = 12
    static let diff: Int32 = 13
    static let truncate: Int32 = 14
    static let snapshot: Int32 = 15
    static let observerInfo: Int32 = 16
    static let leaderInfo: Int32 = 17
    static let ackEpoch: Int32 = 18
    static let informAndActivate: Int32 = 19
}

/// What leader and learner exchange. There is no length around it: where it ends only its fields tell.
struct QuorumPacket: Sendable, Hashable {
    var type: Int32
    var zxid: Int64
    /// `nil` is null, which is not the same as empty to the leader.
    var data: ByteBuffer?

    /// A packet of a quorum carries none; more would be no quorum.
    private static let maximumIdentities = 64

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(type)
        buffer.writeInteger(zxid)
        if let data {
            buffer.writeInteger(Int32(clamping: data.readableBytes))
            buffer.writeImmutableBuffer(data)
        } else {
            buffer.writeInteger(Int32(-1))
        }
        buffer.writeInteger(Int32(-1))
    }

    /// Takes the next packet off the stream, or nothing while it is not whole.
    ///
    /// - Parameter maximumBytes: for the data of the packet.
    static func take(
        from buffer: inout ByteBuffer, maximumBytes: Int
    ) throws(MalformedBytes) -> QuorumPacket? {
        var reader = buffer
        guard let (type, zxid) = reader.readMultipleIntegers(as: (Int32, Int64).self),
            let length = try reader.peekLength(at: 0, maximumBytes: maximumBytes),
            let data = reader.takeNullableSlice(length),
            try reader.skipIdentities()
        else { return nil }
        buffer = reader
        return QuorumPacket(type: type, zxid: zxid, data: length < 0 ? nil : data)
    }

    private init(type: Int32, zxid: Int64, data: ByteBuffer?) {
        self.type = type
        self.zxid = zxid
        self.data = data
    }

    fileprivate static var identities: Int { maximumIdentities }
}

extension QuorumPacket {
    /// A learner without a name, at protocol 0x10000. A voter's number here would make the leader count what we
    /// acknowledge, and another zxid than 0 can raise the epoch of the ensemble.
    static let observerInfo = QuorumPacket(type: QuorumPacketType.observerInfo, zxid: 0) { data in
        data.writeMultipleIntegers(Int64(-1), protocolVersion, Int64(0))
    }

    /// What we hold, without an accepted epoch (-1): it must not count in the leader's election.
    static func ackEpoch(lastZxid: Int64) -> QuorumPacket {
        QuorumPacket(type: QuorumPacketType.ackEpoch, zxid: lastZxid) { $0.writeInteger(Int32(-1)) }
    }

    static func ack(zxid: Int64) -> QuorumPacket {
        QuorumPacket(type: QuorumPacketType.ack, zxid: zxid, data: nil)
    }

    /// Our sign of life. Where a learner names the sessions of its clients there is nothing: we have none. Null would
    /// end the leader's thread.
    static func ping(zxid: Int64) -> QuorumPacket {
        QuorumPacket(type: QuorumPacketType.ping, zxid: zxid, data: ByteBuffer())
    }

    /// The version since which leaders say LEADERINFO (ZAB 1.0).
    static let protocolVersion: Int32 = 0x10000

    private init(type: Int32, zxid: Int64, _ write: (inout ByteBuffer) -> Void) {
        var data = ByteBuffer()
        write(&data)
        self.init(type: type, zxid: zxid, data: data)
    }

    var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        encode(into: &buffer)
        return buffer
    }
}

// A stream that has not arrived whole is looked at before anything is taken off it.
extension ByteBuffer {
    /// A length `offset` bytes from here, -1 for null; `nil` while it has not arrived.
    func peekLength(at offset: Int, maximumBytes: Int) throws(MalformedBytes) -> Int? {
        guard let announced = getInteger(at: readerIndex + offset, as: Int32.self) else { return nil }
        let length = Int(announced)
        guard length >= -1 else { throw MalformedBytes("a length of \(length)") }
        guard length <= maximumBytes else {
            throw MalformedBytes("\(length) bytes in one piece where \(maximumBytes) are allowed")
        }
        return length
    }

    /// Skips the length and takes what it announces.
    fileprivate mutating func takeNullableSlice(_ length: Int) -> ByteBuffer? {
        guard readableBytes >= 4 + max(length, 0) else { return nil }
        moveReaderIndex(forwardBy: 4)
        return readSlice(length: max(length, 0))
    }

    /// Skips a vector of identities; `false` while it has not arrived.
    fileprivate mutating func skipIdentities() throws(MalformedBytes) -> Bool {
        guard let count = readInteger(as: Int32.self) else { return false }
        guard count >= -1, count <= QuorumPacket.identities else {
            throw MalformedBytes("a quorum packet of \(count) identities")
        }
        // Scheme and id of each.
        for _ in 0..<max(count, 0) * 2 {
            guard let length = try peekLength(at: 0, maximumBytes: 0xffff),
                takeNullableSlice(length) != nil
            else { return false }
        }
        return true
    }
}
