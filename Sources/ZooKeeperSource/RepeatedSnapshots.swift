/// Which sinks are told every live node once more, and how far that has come.
struct RepeatedSnapshots {
    /// They wait for the next walk.
    private var owed: [String] = []
    /// The walk under way tells them.
    private var serving: [String] = []
    private var complete: [String] = []
    /// Nodes that were hidden from a walk, with the sinks that still need them.
    private var late: [String: Set<String>] = [:]
    private var postponed: [String] = []
    /// All that were postponed and are not complete yet.
    private var incomplete: [String] = []

    var isOwed: Bool { !owed.isEmpty }
    var isServing: Bool { !serving.isEmpty }

    /// One that the walk under way serves gets another walk: it may have lost what it has been told so far.
    mutating func request(_ sinks: [String]) { owed += sinks }

    /// They get nothing, and need not ask again.
    mutating func refuse(_ sinks: [String]) { complete += sinks }

    mutating func beginWalk() {
        serving += owed
        owed = []
    }

    /// Who was served waits for the next walk.
    mutating func abandonWalk() {
        owed = serving + owed
        serving = []
    }

    /// The sinks to be told of a node that has been read, in order.
    mutating func sinks(for path: String, inWalk: Bool) -> [String] {
        // For every read: mostly there is nobody.
        if serving.isEmpty, late.isEmpty { return [] }
        let waiting = late.removeValue(forKey: path) ?? []
        return waiting.union(inWalk ? serving : []).sorted()
    }

    /// A node is gone: nobody waits for it any more.
    mutating func deleted(_ path: String) {
        if !late.isEmpty { late.removeValue(forKey: path) }
    }

    /// A sink whose snapshot lacks hidden nodes is not done with: they follow when they can be read.
    ///
    /// - Parameter hidden: the known nodes that the walk could not read.
    mutating func endWalk(hidden missing: [String]) {
        if missing.isEmpty {
            complete += serving
        } else {
            for path in missing { late[path, default: []].formUnion(serving) }
            postponed += serving
            incomplete += serving
        }
        serving = []
        if late.isEmpty {
            complete += incomplete
            incomplete = []
        }
    }

    /// The sinks whose repeated snapshot is complete with the entries handed out.
    mutating func takeComplete() -> [String] {
        defer { complete = [] }
        return complete
    }

    /// The sinks whose repeated snapshot lacks nodes that may not be read now.
    mutating func takePostponed() -> [String] {
        defer { postponed = [] }
        return postponed
    }
}
