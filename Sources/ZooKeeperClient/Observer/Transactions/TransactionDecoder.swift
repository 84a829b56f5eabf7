internal import NIOCore

extension Transaction {
    /// `ZooDefs.OpCode` in ZooKeeper's source, as far as transactions have them.
    private enum Code {
        static let create: Int32 = 1
        static let delete: Int32 = 2
        static let setData: Int32 = 5
        static let setACL: Int32 = 7
        static let check: Int32 = 13
        static let multi: Int32 = 14
        static let create2: Int32 = 15
        static let reconfigure: Int32 = 16
        static let createContainer: Int32 = 19
        static let deleteContainer: Int32 = 20
        static let createTTL: Int32 = 21
        static let error: Int32 = -1
        static let createSession: Int32 = -10
        static let closeSession: Int32 = -11
    }

    /// `int digestVersion, long treeDigest`, which 3.6 and later append.
    private static let digestBytes = 12

    /// Reads a transaction as it stands in packets and in log files. What follows the body is a digest of the tree or
    /// something newer, and is ignored.
    init(reading buffer: inout ByteBuffer) throws(MalformedBytes) {
        guard
            let (session, cxid, zxid, time, type) = buffer.readMultipleIntegers(
                as: (Int64, Int32, Int64, Int64, Int32).self)
        else { throw MalformedBytes("the header of a transaction is cut short") }
        self.init(
            session: session, cxid: cxid, zxid: zxid, time: time,
            operation: try Transaction.operation(type, &buffer, isPart: false))
    }

    private static func operation(
        _ type: Int32, _ body: inout ByteBuffer, isPart: Bool
    ) throws(MalformedBytes) -> Operation {
        switch type {
        case Code.create, Code.create2, Code.createContainer, Code.createTTL: try create(type, &body)
        case Code.delete: .delete(path: try body.takeJavaString(), byEnsemble: false)
        case Code.deleteContainer: .delete(path: try body.takeJavaString(), byEnsemble: true)
        case Code.setData:
            .setData(path: try body.takeJavaString(), data: try body.takeBuffer(), version: try body.take())
        case Code.reconfigure:
            .reconfigure(
                path: try body.takeJavaString(), data: try body.takeBuffer(), version: try body.take())
        case Code.setACL:
            .setACL(path: try body.takeJavaString(), acl: try body.takeACL(), version: try body.take())
        case Code.check: .check(path: try body.takeJavaString(), version: try body.take())
        // In a difference, the leader has turned the parts that a failed multi undid into errors, with the bodies of what
        // they were: no code is positive.
        case Code.error: .error(min(try body.take(), 0))
        case Code.createSession: .createSession(timeout: try body.take())
        case Code.closeSession: .closeSession(paths: try closedPaths(&body))
        case Code.multi where !isPart: try multi(&body)
        default: .unknown(type: type, body: body.readBytes(length: body.readableBytes) ?? [])
        }
    }

    private static func create(_ type: Int32, _ body: inout ByteBuffer) throws(MalformedBytes) -> Operation {
        let path = try body.takeJavaString()
        let data = try body.takeBuffer()
        let acl = try body.takeACL()
        var kind = NodeKind.container
        if type == Code.create || type == Code.create2 {
            kind = try body.takeBool() ? .ephemeral : .persistent
        }
        // Only the oldest form of a plain create goes without.
        let isOld = type == Code.create && body.readableBytes < 4
        let parentCVersion: Int32? = isOld ? nil : try body.take()
        if type == Code.createTTL { kind = .timeToLive(try body.take()) }
        return .create(path: path, data: data, acl: acl, kind: kind, parentCVersion: parentCVersion)
    }

    /// Nothing, a digest alone, or the vector of paths and perhaps a digest. Twelve bytes may be either: a digest begins
    /// with its version, 2, and one path of four letters with its count, 1.
    private static func closedPaths(_ body: inout ByteBuffer) throws(MalformedBytes) -> [String]? {
        let first = body.getInteger(at: body.readerIndex, as: Int32.self)
        if body.readableBytes == 0 || (body.readableBytes == digestBytes && first != 1) { return nil }
        return try body.takeVector(itemBytes: 4) { item throws(MalformedBytes) in
            try item.takeJavaString()
        }
    }

    private static func multi(_ body: inout ByteBuffer) throws(MalformedBytes) -> Operation {
        .multi(
            try body.takeVector(itemBytes: 8) { item throws(MalformedBytes) in
                let type: Int32 = try item.take()
                var part = try item.takeSlice()
                return try operation(type, &part, isPart: true)
            })
    }
}

extension ByteBuffer {
    /// A buffer of its own; null is empty.
    fileprivate mutating func takeSlice() throws(MalformedBytes) -> ByteBuffer {
        let length = Int(try take(Int32.self))
        guard length >= -1, let slice = readSlice(length: max(length, 0)) else {
            throw MalformedBytes("a length of \(length) where \(readableBytes) bytes remain")
        }
        return slice
    }
}
