internal import NIOCore

/// A node's metadata.
public struct Stat: Sendable, Hashable {
    /// The transaction that created the node.
    public var czxid: Int64
    /// The transaction that last set its data.
    public var mzxid: Int64
    /// Milliseconds since 1970.
    public var ctime: Int64
    /// Milliseconds since 1970.
    public var mtime: Int64
    /// How often the data was set.
    public var version: Int32
    /// How often the list of children changed.
    public var cversion: Int32
    /// How often the access control list was set.
    public var aversion: Int32
    /// The session of an ephemeral node; 0 for others.
    public var ephemeralOwner: Int64
    public var dataLength: Int32
    public var numChildren: Int32
    /// The transaction that last changed the list of children.
    public var pzxid: Int64

    public init(
        czxid: Int64, mzxid: Int64, ctime: Int64, mtime: Int64, version: Int32, cversion: Int32,
        aversion: Int32, ephemeralOwner: Int64, dataLength: Int32, numChildren: Int32, pzxid: Int64
    ) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.ephemeralOwner = ephemeralOwner
        self.dataLength = dataLength
        self.numChildren = numChildren
        self.pzxid = pzxid
    }
}

extension Stat {
    init(reading buffer: inout ByteBuffer) throws(MalformedBytes) {
        guard
            let (czxid, mzxid, ctime, mtime) = buffer.readMultipleIntegers(
                as: (Int64, Int64, Int64, Int64).self),
            let (version, cversion, aversion) = buffer.readMultipleIntegers(as: (Int32, Int32, Int32).self),
            let (owner, length, children, pzxid) = buffer.readMultipleIntegers(
                as: (Int64, Int32, Int32, Int64).self)
        else { throw MalformedBytes("a Stat is cut short") }
        self.init(
            czxid: czxid, mzxid: mzxid, ctime: ctime, mtime: mtime, version: version, cversion: cversion,
            aversion: aversion, ephemeralOwner: owner, dataLength: length, numChildren: children, pzxid: pzxid
        )
    }
}
