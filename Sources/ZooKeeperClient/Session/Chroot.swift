/// The path under which a client lives.
struct Chroot: Sendable, Hashable {
    /// Without a slash at its end; empty where there is none.
    let prefix: String

    init(_ path: String?) { prefix = path ?? "" }

    /// The two parts of the server's path.
    func apply(_ path: String) -> (prefix: String, rest: String) {
        prefix.isEmpty || path != "/" ? (prefix, path) : (prefix, "")
    }

    /// The client's path; `nil` for one that is not below the chroot.
    func remove(_ path: String) -> String? {
        if prefix.isEmpty { return path }
        guard path.utf8.starts(with: prefix.utf8) else { return nil }
        let rest = path.utf8.dropFirst(prefix.utf8.count)
        if rest.isEmpty { return "/" }
        guard rest.first == UInt8(ascii: "/") else { return nil }
        return String(Substring(rest))
    }
}
