import ChangeModel
import Engine
import Mapping

/// For a sink that never looks a change up.
struct NoChanges: ChangeLookup {
    func change(atOrBehind offset: Int64) -> Change? { nil }
    func hasChange(
        of zxid: Zxid, atOrBehind offset: Int64, where isWanted: (Change, UInt16, () -> [SinkWrite]) -> Bool
    ) -> Bool { false }
}

/// A log of changes that a function of the offset gives; their order ascends.
struct ObservedChanges: ChangeLookup {
    var count: Int64 = 1_000_000
    var generation: UInt16 = 0
    var make: @Sendable (Int64) -> Change

    init(count: Int64 = 1_000_000, generation: UInt16 = 0, _ make: @escaping @Sendable (Int64) -> Change) {
        self.count = count
        self.generation = generation
        self.make = make
    }

    func change(atOrBehind offset: Int64) -> Change? { offset < count ? make(max(offset, 0)) : nil }

    func hasChange(
        of zxid: Zxid, atOrBehind offset: Int64, where isWanted: (Change, UInt16, () -> [SinkWrite]) -> Bool
    ) -> Bool {
        var (low, high) = (max(offset, 0), count)
        while low < high {
            let middle = (low + high) / 2
            if (make(middle).order?.zxid ?? .none) < zxid { low = middle + 1 } else { high = middle }
        }
        while low < count, make(low).order?.zxid == zxid {
            if isWanted(make(low), generation, { [] }) { return true }
            low += 1
        }
        return false
    }
}
