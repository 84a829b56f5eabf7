/// The types of the records in a pipeline's log. Types from 0x80 up are control records: they take no offset.
public enum RecordType {
    public static let change: UInt8 = 0x01
    public static let snapshotBegin: UInt8 = 0x81
    public static let snapshotEnd: UInt8 = 0x82
    public static let gap: UInt8 = 0x83
}

/// Why the bytes of a record are no change.
public struct ChangeCodecError: Error, Hashable, CustomStringConvertible {
    public var message: String

    public init(_ message: String) {
        self.message = message
    }

    public var description: String { message }
}

/// The binary form of a change, as `Documentation/log-format.md` specifies it. All integers little-endian.
///
/// | bytes | field |
/// |---|---|
/// | 1 | version of this layout: 1 |
/// | 1 | operation: 1 c, 2 u, 3 d, 4 r |
/// | 1 | snapshot: 0 false, 1 true, 2 last |
/// | 1 | flags: 1 data, 2 stat, 4 session, 8 only for one sink, 16 before, 32 placed |
/// | 8, 4 | zxid, index |
/// | 8, 8 | ZooKeeper's time, capture time: milliseconds since 1970 |
/// | 4 + n | path: length, UTF-8 |
/// | 4 + n | data, if flagged: length, bytes |
/// | 64 | stat, if flagged: czxid, mzxid, pzxid, ctime, mtime (8 each), version, cversion, aversion (4 each), ephemeralOwner (8), numChildren (4) |
/// | 8 | session, if flagged |
/// | 4 + n | name of the sink, if flagged |
/// | 4 + n | data before the change, if flagged: length, bytes |
/// | 8, 8 | place in the order of the transactions, if flagged: zxid, index |
///
/// Do not reorder fields; a new layout gets a new version.
public enum ChangeCodec {
    public static let version: UInt8 = 1

    private enum Flag {
        static let data: UInt8 = 1
        static let stat: UInt8 = 2
        static let session: UInt8 = 4
        static let onlyFor: UInt8 = 8
        static let before: UInt8 = 16
        static let placed: UInt8 = 32
        static let all: UInt8 = 63
    }

    /// Appends the encoded change.
    public static func encode(_ change: Change, into bytes: inout [UInt8]) {
        var flags: UInt8 = 0
        if change.data != nil { flags |= Flag.data }
        if change.stat != nil { flags |= Flag.stat }
        if change.session != nil { flags |= Flag.session }
        if change.onlyFor != nil { flags |= Flag.onlyFor }
        if change.before != nil { flags |= Flag.before }
        if change.placed != nil { flags |= Flag.placed }
        bytes.append(version)
        bytes.append(change.operation.rawValue)
        bytes.append(change.snapshot.rawValue)
        bytes.append(flags)
        bytes.appendInteger(change.zxid.value)
        bytes.appendInteger(change.index)
        bytes.appendInteger(change.timestamp)
        bytes.appendInteger(change.captured)
        bytes.appendCounted(change.path.utf8)
        if let data = change.data { bytes.appendCounted(data) }
        if let stat = change.stat { encode(stat, into: &bytes) }
        if let session = change.session { bytes.appendInteger(session) }
        if let onlyFor = change.onlyFor { bytes.appendCounted(onlyFor.utf8) }
        if let before = change.before { bytes.appendCounted(before) }
        if let placed = change.placed {
            bytes.appendInteger(placed.zxid.value)
            bytes.appendInteger(placed.index)
        }
    }

    private static func encode(_ stat: NodeStat, into bytes: inout [UInt8]) {
        for value in [stat.czxid.value, stat.mzxid.value, stat.pzxid.value, stat.ctime, stat.mtime] {
            bytes.appendInteger(value)
        }
        for value in [stat.version, stat.cversion, stat.aversion] { bytes.appendInteger(value) }
        bytes.appendInteger(stat.ephemeralOwner)
        bytes.appendInteger(stat.numChildren)
    }

    /// Reads a change back. Throws `ChangeCodecError` for bytes that are no change of a known version.
    public static func decode(_ bytes: ArraySlice<UInt8>) throws(ChangeCodecError) -> Change {
        var reader = ByteReader(bytes)
        let version = try reader.integer(UInt8.self)
        guard version == self.version else {
            throw ChangeCodecError("a change record of version \(version); this program reads version 1")
        }
        guard let operation = Operation(rawValue: try reader.integer(UInt8.self)) else {
            throw ChangeCodecError("a change record with an unknown operation")
        }
        guard let snapshot = SnapshotMark(rawValue: try reader.integer(UInt8.self)) else {
            throw ChangeCodecError("a change record with an unknown snapshot mark")
        }
        let flags = try reader.integer(UInt8.self)
        guard flags & ~Flag.all == 0 else { throw ChangeCodecError("a change record with unknown flags") }
        let zxid = Zxid(try reader.integer(Int64.self))
        let index = try reader.integer(Int32.self)
        let timestamp = try reader.integer(Int64.self)
        let captured = try reader.integer(Int64.self)
        let path = try reader.countedString()
        let data = flags & Flag.data != 0 ? Array(try reader.countedBytes()) : nil
        let stat = flags & Flag.stat != 0 ? try decodeStat(&reader) : nil
        let session = flags & Flag.session != 0 ? try reader.integer(Int64.self) : nil
        let onlyFor = flags & Flag.onlyFor != 0 ? try reader.countedString() : nil
        let before = flags & Flag.before != 0 ? Array(try reader.countedBytes()) : nil
        var placed: CommitOrder?
        if flags & Flag.placed != 0 {
            placed = CommitOrder(
                zxid: Zxid(try reader.integer(Int64.self)), index: try reader.integer(Int64.self))
        }
        guard reader.isAtEnd else { throw ChangeCodecError("a change record with bytes after its end") }
        return Change(
            operation: operation, path: path, data: data, zxid: zxid, index: index, timestamp: timestamp,
            captured: captured, stat: stat, session: session, snapshot: snapshot, onlyFor: onlyFor,
            before: before, placed: placed)
    }

    private static func decodeStat(_ reader: inout ByteReader) throws(ChangeCodecError) -> NodeStat {
        var stat = NodeStat(czxid: .none, mzxid: .none)
        stat.czxid = Zxid(try reader.integer(Int64.self))
        stat.mzxid = Zxid(try reader.integer(Int64.self))
        stat.pzxid = Zxid(try reader.integer(Int64.self))
        stat.ctime = try reader.integer(Int64.self)
        stat.mtime = try reader.integer(Int64.self)
        stat.version = try reader.integer(Int32.self)
        stat.cversion = try reader.integer(Int32.self)
        stat.aversion = try reader.integer(Int32.self)
        stat.ephemeralOwner = try reader.integer(Int64.self)
        stat.numChildren = try reader.integer(Int32.self)
        return stat
    }
}
