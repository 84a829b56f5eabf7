/// Checks of addresses and paths, without touching any server. Each gives the problem in words, or `nil`.
enum ServerAddress {
    /// `host:port,host:port/chroot`
    static func problem(inConnectString text: String) -> String? {
        let hostsEnd = text.firstIndex(of: "/") ?? text.endIndex
        let hosts = text[..<hostsEnd].split(separator: ",", omittingEmptySubsequences: false)
        for host in hosts {
            if let problem = problem(inHostAndPort: host) { return problem }
        }
        let chroot = text[hostsEnd...]
        if chroot.isEmpty || chroot == "/" { return nil }
        return problem(inPath: String(chroot)).map { "the chroot '\(chroot)' \($0)" }
    }

    /// A znode path that may be captured: absolute, no pattern.
    static func problem(inPath path: String) -> String? {
        guard path.hasPrefix("/") else { return "does not begin with a slash" }
        var segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        if segments.last?.isEmpty == true { segments.removeLast() }
        if segments.contains(where: \.isEmpty) { return "has two slashes in a row" }
        if segments.contains(where: { $0 == "." || $0 == ".." }) {
            return "has '.' or '..' in it, which ZooKeeper does not allow"
        }
        if path.contains("*") || path.contains("{") {
            return "is a pattern, but a subtree is wanted: all below a path is captured, rules choose from it"
        }
        return nil
    }

    /// The text is never quoted: it may hold a password.
    static func problem(inRedisURL text: String) -> String? {
        guard let end = text.firstRange(of: "://") else { return "has no scheme" }
        let scheme = text[..<end.lowerBound]
        let rest = text[end.upperBound...].prefix { $0 != "#" }
        if scheme == "redis+unix" {
            let path = rest.prefix { $0 != "?" }
            let socket = path.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
            return socket.hasPrefix("/") && socket.count > 1 ? nil : "names no socket file"
        }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let address = authority.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
        let hosts =
            scheme == "redis+sentinel" || scheme == "redis+cluster"
            ? address.split(separator: ",", omittingEmptySubsequences: false) : [address]
        for host in hosts {
            if let problem = problem(inHostAndPort: host) { return problem }
        }
        var database = rest[authority.endIndex...].prefix { $0 != "?" }.drop { $0 == "/" }
        if scheme == "redis+sentinel" {
            let master = database.prefix { $0 != "/" }
            if master.isEmpty { return "names no master" }
            database = database[master.endIndex...].drop { $0 == "/" }
        }
        guard database.isEmpty || (database.count <= 5 && database.allSatisfy { $0.isASCII && $0.isNumber })
        else {
            return "has a database that is no number"
        }
        if scheme == "redis+cluster", !database.isEmpty, database != "0" {
            return "has a database, and a cluster has only 0"
        }
        return nil
    }

    /// `host`, `host:port`, `[v6]`, `[v6]:port`
    private static func problem(inHostAndPort text: Substring) -> String? {
        var host = text
        var port: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return "an address has '[' without ']'" }
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return "an address has text behind its ']'" }
            port = rest.isEmpty ? nil : rest.dropFirst()
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        if host.isEmpty { return "an address has no host" }
        if host.contains(where: \.isWhitespace) { return "an address has a space in it" }
        if let port {
            let isNumber = !port.isEmpty && port.allSatisfy { $0.isASCII && $0.isNumber }
            guard isNumber, let number = UInt16(port), number > 0 else {
                return "an address has a port that is no number from 1 to 65535"
            }
        }
        return nil
    }
}
