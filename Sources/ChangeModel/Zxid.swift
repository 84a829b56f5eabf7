/// A ZooKeeper transaction id: the leader's epoch in the upper 32 bits, a counter within it in the lower.
///
/// Order of zxids is the order of transactions. Printed in decimal; people are shown `hexadecimal`.
public struct Zxid: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var value: Int64

    public init(_ value: Int64) {
        self.value = value
    }

    public static let none = Zxid(0)

    public var epoch: Int32 { Int32(truncatingIfNeeded: value >> 32) }
    public var counter: UInt32 { UInt32(truncatingIfNeeded: value) }

    public static func < (left: Zxid, right: Zxid) -> Bool { left.value < right.value }

    public var description: String { String(value) }

    /// The form of ZooKeeper's own tools, for example `0x100000002`.
    public var hexadecimal: String { "0x" + String(UInt64(bitPattern: value), radix: 16) }
}
