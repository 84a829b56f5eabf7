import ChangeModel
import Glibc
import SystemPackage
import ZooKeeperClient

/// Events that may never have been committed, kept apart until it is known: in memory, and from some size on in a file
/// without a name.
struct StagedEvents: ~Copyable {
    private let directory: FilePath
    private var file: FileDescriptor?
    private var written: Int64 = 0
    /// Behind what is in the file.
    private var bytes: [UInt8] = []

    private static let memory = 4 << 20
    private static let chunk = 1 << 20

    private enum Kind {
        static let snapshot: UInt8 = 1
        static let node: UInt8 = 2
        static let snapshotEnd: UInt8 = 3
        static let transaction: UInt8 = 4
    }

    /// What was staged, in order.
    enum Event {
        case snapshot(zxid: Int64)
        case node(SnapshotNode)
        case snapshotEnd(zxid: Int64)
        case transaction(Transaction)
    }

    /// - Parameter directory: for the file, if one is needed.
    init(_ directory: FilePath) {
        self.directory = directory
    }

    deinit {
        try? file?.close()
    }

    var isEmpty: Bool { written == 0 && bytes.isEmpty }

    // MARK: In

    mutating func begin(_ sync: ObserverSync) throws {
        if case .snapshot(let zxid) = sync { try append(Kind.snapshot) { $0.appendInteger(zxid) } }
    }

    mutating func append(_ nodes: [SnapshotNode]) throws {
        for node in nodes {
            try append(Kind.node) { bytes in
                bytes.appendCounted(node.path.utf8)
                bytes.appendCounted(node.data)
                StagedEvents.encode(statOf: node, into: &bytes)
            }
        }
    }

    mutating func end(_ zxid: Int64) throws { try append(Kind.snapshotEnd) { $0.appendInteger(zxid) } }

    mutating func append(_ transactions: [Transaction]) throws {
        for transaction in transactions {
            try append(Kind.transaction) { bytes in
                bytes.appendInteger(transaction.session)
                bytes.appendInteger(transaction.cxid)
                bytes.appendInteger(transaction.zxid)
                bytes.appendInteger(transaction.time)
                StagedEvents.encode(transaction.operation, into: &bytes)
            }
        }
    }

    /// Each record stands behind its length.
    private mutating func append(_ kind: UInt8, _ write: (inout [UInt8]) -> Void) throws {
        let start = bytes.count
        bytes.appendInteger(UInt32(0))
        bytes.append(kind)
        write(&bytes)
        let length = UInt32(truncatingIfNeeded: bytes.count - start - 4).littleEndian
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: length, toByteOffset: start, as: UInt32.self) }
        if bytes.count >= StagedEvents.memory { try spill() }
    }

    private mutating func spill() throws {
        let file = try file ?? open()
        self.file = file
        _ = try bytes.withUnsafeBytes { try file.writeAll(toAbsoluteOffset: written, $0) }
        written += Int64(bytes.count)
        bytes.removeAll(keepingCapacity: true)
    }

    private func open() throws -> FileDescriptor {
        // Without a name nothing is left behind, however the process ends.
        let path = directory.appending("staged")
        let file = try FileDescriptor.open(
            path, .readWrite, options: [.create, .truncate, .closeOnExec], permissions: [.ownerReadWrite])
        unlink(path.string)
        return file
    }

    // MARK: Out

    /// Forgets everything.
    mutating func clear() {
        bytes = []
        written = 0
    }

    /// Everything in order; it stays there until `clear`.
    mutating func drain(_ body: (Event) async throws -> Void) async throws {
        var rest: [UInt8] = []
        var start = 0
        var read: Int64 = 0
        func records(_ bytes: [UInt8]) async throws {
            while bytes.count - start >= 4 {
                var reader = ByteReader(bytes[start...])
                let length = Int(try reader.integer(UInt32.self))
                guard bytes.count - start - 4 >= length else { return }
                try await body(try StagedEvents.event(bytes[(start + 4)..<(start + 4 + length)]))
                start += 4 + length
            }
        }
        if let file {
            while read < written {
                rest.removeFirst(start)
                start = 0
                let old = rest.count
                let count = Int(min(Int64(StagedEvents.chunk), written - read))
                rest.append(contentsOf: repeatElement(0, count: count))
                let got = try rest.withUnsafeMutableBytes { buffer in
                    try file.read(
                        fromAbsoluteOffset: read,
                        into: UnsafeMutableRawBufferPointer(rebasing: buffer[old...]))
                }
                guard got > 0 else { throw ChangeCodecError("a staging file that is shorter than it was") }
                rest.removeLast(count - got)
                read += Int64(got)
                try await records(rest)
            }
        }
        // Records are never split over the file's end and the memory.
        start = 0
        try await records(bytes)
    }

    private static func event(_ bytes: ArraySlice<UInt8>) throws -> Event {
        var reader = ByteReader(bytes)
        switch try reader.integer(UInt8.self) {
        case Kind.snapshot: return .snapshot(zxid: try reader.integer(Int64.self))
        case Kind.snapshotEnd: return .snapshotEnd(zxid: try reader.integer(Int64.self))
        case Kind.node:
            let path = try reader.countedString()
            let data = Array(try reader.countedBytes())
            return .node(try node(path, data, &reader))
        default:
            let session = try reader.integer(Int64.self)
            let cxid = try reader.integer(Int32.self)
            let zxid = try reader.integer(Int64.self)
            let time = try reader.integer(Int64.self)
            return .transaction(
                Transaction(
                    session: session, cxid: cxid, zxid: zxid, time: time, operation: try operation(&reader)))
        }
    }
}

// What the capture does nothing with is not kept: access control lists and the like.
extension StagedEvents {
    private enum Tag {
        static let create: UInt8 = 1
        static let delete: UInt8 = 2
        static let setData: UInt8 = 3
        static let closeSession: UInt8 = 4
        static let closeSessionOf: UInt8 = 5
        static let multi: UInt8 = 6
        static let error: UInt8 = 7
        static let unknown: UInt8 = 8
        static let nothing: UInt8 = 9
    }

    private static func encode(_ operation: Transaction.Operation, into bytes: inout [UInt8]) {
        switch operation {
        case .create(let path, let data, _, let kind, _):
            bytes.append(Tag.create)
            bytes.appendCounted(path.utf8)
            bytes.appendCounted(data)
            switch kind {
            case .persistent: bytes.append(0)
            case .ephemeral: bytes.append(1)
            case .container: bytes.append(2)
            case .timeToLive(let milliseconds):
                bytes.append(3)
                bytes.appendInteger(milliseconds)
            }
        case .delete(let path, let byEnsemble):
            bytes.append(Tag.delete)
            bytes.appendCounted(path.utf8)
            bytes.append(byEnsemble ? 1 : 0)
        case .setData(let path, let data, let version), .reconfigure(let path, let data, let version):
            bytes.append(Tag.setData)
            bytes.appendCounted(path.utf8)
            bytes.appendCounted(data)
            bytes.appendInteger(version)
        case .closeSession(nil): bytes.append(Tag.closeSession)
        case .closeSession(let paths?):
            bytes.append(Tag.closeSessionOf)
            bytes.appendInteger(UInt32(truncatingIfNeeded: paths.count))
            for path in paths { bytes.appendCounted(path.utf8) }
        case .multi(let parts):
            bytes.append(Tag.multi)
            bytes.appendInteger(UInt32(truncatingIfNeeded: parts.count))
            for part in parts { encode(part, into: &bytes) }
        case .error(let code):
            bytes.append(Tag.error)
            bytes.appendInteger(code)
        case .unknown(let type, _):
            bytes.append(Tag.unknown)
            bytes.appendInteger(type)
        case .setACL, .check, .createSession: bytes.append(Tag.nothing)
        }
    }

    private static func operation(_ reader: inout ByteReader) throws -> Transaction.Operation {
        switch try reader.integer(UInt8.self) {
        case Tag.create:
            let path = try reader.countedString()
            let data = Array(try reader.countedBytes())
            let kind: Transaction.NodeKind =
                switch try reader.integer(UInt8.self) {
                case 0: .persistent
                case 1: .ephemeral
                case 2: .container
                default: .timeToLive(try reader.integer(Int64.self))
                }
            return .create(path: path, data: data, acl: [], kind: kind, parentCVersion: nil)
        case Tag.delete:
            return .delete(path: try reader.countedString(), byEnsemble: try reader.integer(UInt8.self) == 1)
        case Tag.setData:
            let path = try reader.countedString()
            let data = Array(try reader.countedBytes())
            return .setData(path: path, data: data, version: try reader.integer(Int32.self))
        case Tag.closeSession: return .closeSession(paths: nil)
        case Tag.closeSessionOf:
            var paths: [String] = []
            for _ in 0..<(try reader.integer(UInt32.self)) { paths.append(try reader.countedString()) }
            return .closeSession(paths: paths)
        case Tag.multi:
            var parts: [Transaction.Operation] = []
            for _ in 0..<(try reader.integer(UInt32.self)) { parts.append(try operation(&reader)) }
            return .multi(parts)
        case Tag.error: return .error(try reader.integer(Int32.self))
        case Tag.unknown: return .unknown(type: try reader.integer(Int32.self), body: [])
        default: return .check(path: "/", version: -1)
        }
    }

    private static func encode(statOf node: SnapshotNode, into bytes: inout [UInt8]) {
        let stat = node.stat
        for value in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime, stat.ephemeralOwner] {
            bytes.appendInteger(value)
        }
        for value in [stat.version, stat.cversion, stat.aversion] { bytes.appendInteger(value) }
    }

    private static func node(
        _ path: String, _ data: [UInt8], _ reader: inout ByteReader
    ) throws -> SnapshotNode {
        let czxid = try reader.integer(Int64.self)
        let mzxid = try reader.integer(Int64.self)
        let pzxid = try reader.integer(Int64.self)
        let ctime = try reader.integer(Int64.self)
        let mtime = try reader.integer(Int64.self)
        let owner = try reader.integer(Int64.self)
        let version = try reader.integer(Int32.self)
        let cversion = try reader.integer(Int32.self)
        let aversion = try reader.integer(Int32.self)
        return SnapshotNode(
            path: path, data: data, acl: nil,
            stat: .init(
                czxid: czxid, mzxid: mzxid, ctime: ctime, mtime: mtime, version: version, cversion: cversion,
                aversion: aversion, ephemeralOwner: owner, dataLength: 0, numChildren: 0, pzxid: pzxid))
    }
}
