/// The nodes that the session may not read. Of what lies below them nothing is known.
struct HiddenPaths {
    private var paths: Set<String> = []
    /// Hidden before the walk under way.
    private var before: Set<String> = []
    private var lastProbed = ""

    var count: Int { paths.count }

    mutating func insert(_ path: String) { paths.insert(path) }

    /// A walk finds anew what is hidden.
    mutating func beginWalk() {
        before.formUnion(paths)
        paths = []
    }

    mutating func endWalk() { before = [] }

    /// Whether the node is hidden, or below one that is.
    func cover(_ path: String) -> Bool { HiddenPaths.isBelow(paths, path) }

    /// The same, before the walk under way.
    func covered(_ path: String) -> Bool { HiddenPaths.isBelow(before, path) }

    /// The paths to look at now: never the same few, but the next ones in order, and the first after the last.
    mutating func next(_ count: Int) -> [String] {
        let sorted = paths.sorted()
        let start = sorted.firstIndex { $0 > lastProbed } ?? 0
        let chosen = (sorted[start...] + sorted[..<start]).prefix(count)
        lastProbed = chosen.last ?? ""
        return Array(chosen)
    }

    private static func isBelow(_ roots: Set<String>, _ path: String) -> Bool {
        guard !roots.isEmpty else { return false }
        if roots.contains(path) || roots.contains("/") { return true }
        var end = path.endIndex
        while let slash = path[..<end].lastIndex(of: "/"), slash > path.startIndex {
            if roots.contains(String(path[..<slash])) { return true }
            end = slash
        }
        return false
    }
}
