/// What part of the tree a capture covers.
public struct CaptureScope: Sendable, Hashable {
    /// Subtrees, relative to the chroot.
    public var paths: [String]
    /// Patterns whose matches, with all below them, are left out.
    public var excluded: [PathPattern]

    public init(paths: [String], excluded: [PathPattern]) {
        self.paths = paths
        self.excluded = excluded
    }

    public func contains(_ path: String) -> Bool {
        paths.contains { root in root == "/" || path == root || path.hasPrefix(root + "/") }
            && !excluded.contains { $0.matchesPathOrAncestor(path) }
    }
}

/// Why the tree is read as a whole.
public enum SnapshotReason: UInt8, Sendable {
    /// Nothing is known of the tree yet.
    case initial = 1
    /// A comparison with what was known, after a start, a reconnect or an edited scope.
    case resync = 2
    /// The definition asks for every node at each start.
    case always = 3
}

/// The control record that opens a snapshot or resync.
public struct SnapshotBegin: Sendable, Hashable {
    public var reason: SnapshotReason
    public var scope: CaptureScope

    public init(reason: SnapshotReason, scope: CaptureScope) {
        self.reason = reason
        self.scope = scope
    }

    public func encode(into bytes: inout [UInt8]) {
        bytes.append(1)
        bytes.append(reason.rawValue)
        scope.encode(into: &bytes)
    }

    public init(decoding bytes: ArraySlice<UInt8>) throws(ChangeCodecError) {
        var reader = ByteReader(bytes)
        let version = try reader.integer(UInt8.self)
        guard version == 1, let reason = SnapshotReason(rawValue: try reader.integer(UInt8.self)) else {
            throw ChangeCodecError("a snapshot record of an unknown version or reason")
        }
        self.reason = reason
        scope = try CaptureScope(decoding: &reader)
    }
}

extension CaptureScope {
    public func encode(into bytes: inout [UInt8]) {
        for list in [paths, excluded.map(\.text)] {
            bytes.appendInteger(UInt32(truncatingIfNeeded: list.count))
            for text in list { bytes.appendCounted(text.utf8) }
        }
    }

    public init(decoding reader: inout ByteReader) throws(ChangeCodecError) {
        paths = try CaptureScope.strings(&reader)
        excluded = []
        for text in try CaptureScope.strings(&reader) {
            do {
                excluded.append(try PathPattern(text))
            } catch {
                throw ChangeCodecError("a capture scope with the pattern '\(text)': \(error)")
            }
        }
    }

    private static func strings(_ reader: inout ByteReader) throws(ChangeCodecError) -> [String] {
        let count = Int(try reader.integer(UInt32.self))
        guard count <= reader.remaining / 4 else { throw ChangeCodecError("a list longer than its record") }
        var strings: [String] = []
        for _ in 0..<count { strings.append(try reader.countedString()) }
        return strings
    }
}

/// The control record where changes are missing that were made and cannot be had any more: the differences between the
/// two states follow, as a resync.
public struct CaptureGap: Sendable, Hashable {
    /// All up to it is in the log.
    public var after: Zxid
    /// What was made up to it is told by its outcome alone.
    public var upTo: Zxid

    public init(after: Zxid, upTo: Zxid) {
        self.after = after
        self.upTo = upTo
    }

    public func encode(into bytes: inout [UInt8]) {
        bytes.append(1)
        bytes.appendInteger(after.value)
        bytes.appendInteger(upTo.value)
    }

    public init(decoding bytes: ArraySlice<UInt8>) throws(ChangeCodecError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt8.self) == 1 else {
            throw ChangeCodecError("a gap record of an unknown version")
        }
        after = Zxid(try reader.integer(Int64.self))
        upTo = Zxid(try reader.integer(Int64.self))
    }
}

/// How changes are seen.
public enum CaptureMode: UInt8, Sendable, Hashable {
    /// By watches and reads, over the client port.
    case watch = 1
    /// As the ensemble's servers see them, over the quorum port.
    case observer = 2
}

/// How far a capture has come; it travels in the header of every batch of the log.
public struct CapturePosition: Sendable, Hashable {
    /// The highest zxid that a server has shown us: no server behind it may be read.
    public var seen: Zxid
    /// Every change up to this zxid lies in the log before the end of this batch.
    public var settled: Zxid
    public var mode: CaptureMode
    /// No change up to the end of this batch has a place behind this one.
    public var order: CommitOrder

    public init(seen: Zxid, settled: Zxid, mode: CaptureMode = .watch, order: CommitOrder = .start) {
        self.seen = seen
        self.settled = settled
        self.mode = mode
        self.order = order
    }

    public static let start = CapturePosition(seen: .none, settled: .none)

    /// 18 bytes: layout version, capture mode, seen, settled; for an observer 16 more: zxid and index of the order.
    public var bytes: [UInt8] {
        var bytes: [UInt8] = [1, mode.rawValue]
        bytes.appendInteger(seen.value)
        bytes.appendInteger(settled.value)
        if mode == .observer {
            bytes.appendInteger(order.zxid.value)
            bytes.appendInteger(order.index)
        }
        return bytes
    }

    public init(decoding bytes: [UInt8]) throws(ChangeCodecError) {
        var reader = ByteReader(bytes[...])
        guard try reader.integer(UInt8.self) == 1,
            let mode = CaptureMode(rawValue: try reader.integer(UInt8.self))
        else { throw ChangeCodecError("a capture position of an unknown version or mode") }
        self.mode = mode
        seen = Zxid(try reader.integer(Int64.self))
        settled = Zxid(try reader.integer(Int64.self))
        order = .start
        guard mode == .observer else { return }
        guard !reader.isAtEnd else {
            // Written before there was an order: behind all parts of the last transaction.
            order = CommitOrder(zxid: settled, index: Int64(Int32.max))
            return
        }
        order.zxid = Zxid(try reader.integer(Int64.self))
        order.index = try reader.integer(Int64.self)
    }
}
