import ChangeModel
import Engine
import Mapping

/// The ID of a stream entry.
///
/// | numbering | before the dash | behind it |
/// |---|---|---|
/// | `offset` | 16 bits generation, 48 bits offset + 1 | the fan-out index |
/// | `zxid` | the zxid | 16 bits, 38 bits index in the zxid, 10 bits fan-out index |
///
/// The 16 bits are 0 for a transaction's change. For what a snapshot tells they are the generation + 1, which sets it apart from
/// the transaction of that zxid and from what an earlier log has told of it.
struct StreamID: Hashable, Comparable, Sendable {
    var high: UInt64
    var index: UInt64

    private static let offsetBits: UInt64 = 48

    init(generation: UInt16, offset: Int64, index: UInt64) {
        let position = (UInt64(bitPattern: offset) &+ 1) & (1 << StreamID.offsetBits - 1)
        high = UInt64(generation) << StreamID.offsetBits | position
        self.index = index
    }

    /// Of a change whose place in the order of transactions is known.
    init(zxidOf change: borrowing Change, generation: UInt16, index: UInt64) {
        let order = change.order ?? .start
        high = UInt64(bitPattern: order.zxid.value)
        let group = change.placed == nil ? 0 : UInt64(min(generation, .max - 1)) + 1
        let place = UInt64(bitPattern: order.index) & (1 << StreamID.placeBits - 1)
        let fanOut = min(index, UInt64(StreamOptions.entriesPerChange - 1))
        self.index = group << StreamID.groupShift | place << StreamID.fanOutBits | fanOut
    }

    private static let groupShift: UInt64 = 48
    private static let placeBits: UInt64 = 38
    private static let fanOutBits: UInt64 = 10

    /// - Parameters:
    ///   - floor: IDs made of offsets are at least of this generation.
    ///   - entry: counts the change's entries in the stream.
    @inline(__always)
    init(
        of change: borrowing MappedChange, _ numbering: StreamOptions.EntryID, floor: UInt16, entry: UInt64
    ) {
        if numbering == .zxid {
            self.init(zxidOf: change.change, generation: change.generation, index: entry)
        } else {
            self.init(generation: max(change.generation, floor), offset: change.offset, index: entry)
        }
    }

    /// Redis takes none below it.
    static let lowest = StreamID(high: 0, index: 1)

    private init(high: UInt64, index: UInt64) {
        self.high = high
        self.index = index
    }

    /// Reads `<number>-<number>`.
    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let high = UInt64(parts[0]), let index = UInt64(parts[1]) else { return nil }
        self.high = high
        self.index = index
    }

    var generation: UInt16 { UInt16(truncatingIfNeeded: high >> StreamID.offsetBits) }
    var text: String { "\(high)-\(index)" }

    /// Numbered by zxid: what a snapshot has told.
    var isPlaced: Bool { index >> StreamID.groupShift > 0 }

    /// Numbered by zxid: whether both are entries of one change.
    func isOfSameChange(as other: StreamID) -> Bool {
        high == other.high && index >> StreamID.fanOutBits == other.index >> StreamID.fanOutBits
    }

    /// The lowest ID above it; the highest of all has none and is its own.
    var next: StreamID {
        var next = self
        if index < .max {
            next.index += 1
        } else if high < .max {
            next.high += 1
            next.index = 0
        }
        return next
    }

    static func < (left: StreamID, right: StreamID) -> Bool {
        (left.high, left.index) < (right.high, right.index)
    }
}
