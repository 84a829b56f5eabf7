internal import NIOCore

/// Reads the stream that follows SNAP, however it is cut: sessions, access control lists, nodes from the root down, and a
/// signature. It has neither header nor checksum. Memory: one node, and the distinct access control lists.
struct SnapshotDecoder {
    enum Part: Equatable {
        case nodes([SnapshotNode])
        case end
    }

    private enum Section: Equatable {
        case sessionCount, sessions(Int32), listCount, lists(Int32), nodes, signature, end
    }

    private static let signature = "BenWasHere"
    /// A node's times and versions, `StatPersisted` in ZooKeeper's source.
    private static let statBytes = 60
    /// The path `/`.
    private static let endBytes = 5
    /// As many as a batch holds.
    private static let batch = 256
    /// What a batch holds in data, roughly; bytes.
    private static let batchBytes = 256 << 10

    private let maximumBytes: Int
    private var section = Section.sessionCount
    private var lists: [Int64: [ACL]] = [-1: ACL.open]
    private var listBytes = 0

    /// - Parameter maximumBytes: of one node's data or path, and of all access control lists together.
    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// The next part, or nothing until more has arrived.
    mutating func next(_ buffer: inout ByteBuffer) throws(MalformedBytes) -> Part? {
        while true {
            switch section {
            case .sessionCount:
                guard let count = try SnapshotDecoder.count(&buffer, of: "sessions") else { return nil }
                section = .sessions(count)
            case .sessions(let count):
                // Number and timeout of each.
                let whole = min(Int(count), buffer.readableBytes / 12)
                buffer.moveReaderIndex(forwardBy: whole * 12)
                section = .sessions(count - Int32(whole))
                guard whole == Int(count) else { return nil }
                section = .listCount
            case .listCount:
                guard let count = try SnapshotDecoder.count(&buffer, of: "access control lists") else {
                    return nil
                }
                section = .lists(count)
            case .lists(let count):
                guard count > 0 else {
                    section = .nodes
                    continue
                }
                guard try list(&buffer) else { return nil }
                section = .lists(count - 1)
            case .nodes:
                let nodes = try nodes(&buffer)
                if !nodes.isEmpty { return .nodes(nodes) }
                guard section == .signature else { return nil }
            case .signature:
                guard try signature(&buffer) else { return nil }
                section = .end
                return .end
            case .end: return nil
            }
        }
    }

    private static func count(_ buffer: inout ByteBuffer, of what: String) throws(MalformedBytes) -> Int32? {
        guard let count = buffer.readInteger(as: Int32.self) else { return nil }
        guard count >= -1 else { throw MalformedBytes("a snapshot of \(count) \(what)") }
        return max(count, 0)
    }

    /// Whether a list was there.
    private mutating func list(_ buffer: inout ByteBuffer) throws(MalformedBytes) -> Bool {
        guard let count = buffer.getInteger(at: buffer.readerIndex + 8, as: Int32.self) else { return false }
        guard count >= -1, Int(count) <= maximumBytes / 12 else {
            throw MalformedBytes("an access control list of \(count) entries")
        }
        var bytes = 12
        for _ in 0..<max(count, 0) {
            bytes += 4
            for _ in 0..<2 {
                guard let length = try buffer.peekLength(at: bytes, maximumBytes: maximumBytes) else {
                    return false
                }
                bytes += 4 + max(length, 0)
                guard listBytes + bytes <= maximumBytes else {
                    throw MalformedBytes("access control lists of more than \(maximumBytes) bytes")
                }
            }
        }
        guard var whole = buffer.readableBytes >= bytes ? buffer.readSlice(length: bytes) : nil else {
            return false
        }
        listBytes += bytes
        guard listBytes <= maximumBytes else {
            throw MalformedBytes("access control lists of more than \(maximumBytes) bytes")
        }
        let number: Int64 = try whole.take()
        lists[number] = try whole.takeACL()
        return true
    }

    /// What has arrived, as far as a batch goes.
    private mutating func nodes(_ buffer: inout ByteBuffer) throws(MalformedBytes) -> [SnapshotNode] {
        var nodes: [SnapshotNode] = []
        let start = buffer.readableBytes
        while nodes.count < SnapshotDecoder.batch, start - buffer.readableBytes < SnapshotDecoder.batchBytes {
            var reader = buffer
            do throws(MalformedBytes) {
                guard let node = try nextNode(&reader) else { break }
                nodes.append(node)
            } catch {
                // Those before it are good; the next call comes to it again.
                if nodes.isEmpty { throw error }
                break
            }
            buffer = reader
        }
        if section == .signature { buffer.moveReaderIndex(forwardBy: SnapshotDecoder.endBytes) }
        return nodes
    }

    /// `nil` at the end of the nodes, and while a node is not whole.
    private mutating func nextNode(_ buffer: inout ByteBuffer) throws(MalformedBytes) -> SnapshotNode? {
        guard let pathLength = try buffer.peekLength(at: 0, maximumBytes: maximumBytes) else { return nil }
        // The end: a path that no node has, since the root's is empty.
        if pathLength == 1, let first = buffer.getInteger(at: buffer.readerIndex + 4, as: UInt8.self) {
            guard first == UInt8(ascii: "/") else { throw MalformedBytes("a path without a slash") }
            section = .signature
            return nil
        }
        let pathBytes = 4 + max(pathLength, 0)
        guard let dataLength = try buffer.peekLength(at: pathBytes, maximumBytes: maximumBytes) else {
            return nil
        }
        let whole = pathBytes + 4 + max(dataLength, 0) + 8 + SnapshotDecoder.statBytes
        guard buffer.readableBytes >= whole else { return nil }
        return try node(&buffer)
    }

    private func node(_ buffer: inout ByteBuffer) throws(MalformedBytes) -> SnapshotNode {
        let path = try buffer.takeJavaString()
        guard path.isEmpty || path.utf8.first == UInt8(ascii: "/") else {
            throw MalformedBytes("a path without a slash")
        }
        let data = try buffer.takeBuffer()
        let list: Int64 = try buffer.take()
        let stat = try Stat(readingPersisted: &buffer, dataLength: Int32(clamping: data.count))
        return SnapshotNode(path: path.isEmpty ? "/" : path, data: data, acl: lists[list], stat: stat)
    }

    private func signature(_ buffer: inout ByteBuffer) throws(MalformedBytes) -> Bool {
        let expected = SnapshotDecoder.signature
        guard let length = try buffer.peekLength(at: 0, maximumBytes: expected.utf8.count) else {
            return false
        }
        guard length == expected.utf8.count else { throw MalformedBytes("a snapshot without its signature") }
        guard buffer.readableBytes >= 4 + length else { return false }
        guard try buffer.takeJavaString() == expected else {
            throw MalformedBytes("a snapshot without its signature")
        }
        return true
    }
}

extension Stat {
    /// As files and snapshots have it: without the lengths.
    fileprivate init(
        readingPersisted buffer: inout ByteBuffer, dataLength: Int32
    ) throws(MalformedBytes) {
        guard
            let (czxid, mzxid, ctime, mtime) = buffer.readMultipleIntegers(
                as: (Int64, Int64, Int64, Int64).self),
            let (version, cversion, aversion) = buffer.readMultipleIntegers(as: (Int32, Int32, Int32).self),
            let (owner, pzxid) = buffer.readMultipleIntegers(as: (Int64, Int64).self)
        else { throw MalformedBytes("a node's times and versions are cut short") }
        self.init(
            czxid: czxid, mzxid: mzxid, ctime: ctime, mtime: mtime, version: version, cversion: cversion,
            aversion: aversion, ephemeralOwner: owner, dataLength: dataLength, numChildren: 0, pzxid: pzxid)
    }
}
