import ChangeModel
import Engine

/// For a sink that never looks a change up.
struct NoChanges: ChangeLookup {
    func change(atOrBehind offset: Int64) -> Change? { nil }
    func change(of zxid: Zxid, where isWanted: (Change, UInt16) -> Bool) -> Change? { nil }
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

    func change(of zxid: Zxid, where isWanted: (Change, UInt16) -> Bool) -> Change? {
        var (low, high) = (Int64(0), count)
        while low < high {
            let middle = (low + high) / 2
            if (make(middle).order?.zxid ?? .none) < zxid { low = middle + 1 } else { high = middle }
        }
        while low < count, make(low).order?.zxid == zxid {
            if isWanted(make(low), generation) { return make(low) }
            low += 1
        }
        return nil
    }
}
