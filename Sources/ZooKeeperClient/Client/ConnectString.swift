/// A server's client port.
public struct ZooKeeperAddress: Sendable, Hashable, CustomStringConvertible {
    /// A name or a numeric address; IPv6 without brackets.
    public var host: String
    public var port: Int

    public init(host: String, port: Int = 2181) {
        self.host = host
        self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// ZooKeeper's way to name an ensemble: `host:port,host:port/chroot`.
public struct ConnectString: Sendable, Hashable {
    public var servers: [ZooKeeperAddress]
    /// A path under which the client lives, never `/` itself; `nil` without one.
    public var chroot: String?

    /// - Parameter text: Servers separated by commas, IPv6 addresses in brackets, the port 2181 unless given,
    ///   then optionally a path.
    /// - Throws: `.badArguments` with what is wrong.
    public init(parsing text: String) throws(ZooKeeperError) {
        let slash = text.firstIndex(of: "/") ?? text.endIndex
        var servers: [ZooKeeperAddress] = []
        for part in text[..<slash].split(separator: ",", omittingEmptySubsequences: false) {
            servers.append(try ConnectString.address(part.trimmingSpaces, in: text))
        }
        self.servers = servers
        let path = String(text[slash...])
        if path.isEmpty || path == "/" {
            chroot = nil
        } else if path.hasSuffix("/") || path.contains("//") {
            throw ConnectString.problem("the path has an empty part", in: text)
        } else {
            chroot = path
        }
    }

    private static func address(
        _ part: Substring, in text: String
    ) throws(ZooKeeperError) -> ZooKeeperAddress {
        var host = part
        var port: Substring?
        if part.hasPrefix("[") {
            guard let end = part.firstIndex(of: "]") else {
                throw problem("a bracket is not closed", in: text)
            }
            host = part[part.index(after: part.startIndex)..<end]
            let rest = part[part.index(after: end)...]
            if !rest.isEmpty {
                guard rest.hasPrefix(":") else { throw problem("a port must follow the bracket", in: text) }
                port = rest.dropFirst()
            }
        } else if let colon = part.firstIndex(of: ":") {
            host = part[..<colon]
            port = part[part.index(after: colon)...]
            if port?.contains(":") == true { throw problem("an IPv6 address needs brackets", in: text) }
        }
        guard !host.isEmpty else { throw problem("a server has no name", in: text) }
        guard let port else { return ZooKeeperAddress(host: String(host)) }
        guard let number = UInt16(port), number > 0 else {
            throw problem("'\(port)' is no port between 1 and 65535", in: text)
        }
        return ZooKeeperAddress(host: String(host), port: Int(number))
    }

    private static func problem(_ what: String, in text: String) -> ZooKeeperError {
        ZooKeeperError(.badArguments, message: "\(what) in the connect string '\(text)'")
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}
