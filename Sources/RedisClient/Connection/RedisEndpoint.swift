/// A server, the database on it, and who we are there.
public struct RedisEndpoint: Sendable, Hashable {
    public enum Address: Sendable, Hashable, CustomStringConvertible {
        case host(String, port: Int)
        case unixSocket(path: String)

        public var description: String {
            switch self {
            case .host(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .unixSocket(let path): path
            }
        }
    }

    public var address: Address
    /// `nil` is the user `default`.
    public var username: String?
    public var password: String?
    public var database: Int
    /// Where set, the server is whichever these say is the master; `address` is the first of them.
    public var sentinel: RedisSentinel?
    /// Where set, the server is a cluster, and these are nodes to ask for all of it; `address` is the first of
    /// them. For `RedisCluster`.
    public var clusterSeeds: [Address]?

    public init(address: Address, username: String? = nil, password: String? = nil, database: Int = 0) {
        self.address = address
        self.username = username
        self.password = password
        self.database = database
    }

    /// Reads `redis://[[user]:password@]host[:port][/database]`,
    /// `redis+unix://[[user]:password@]/path[?db=database]`,
    /// `redis+sentinel://[[user]:password@]host[:port],…/master[/database]` or
    /// `redis+cluster://[[user]:password@]host[:port],…[/0]` (a cluster has no other database).
    ///
    /// User and password are those of the server, in a cluster of every node; Sentinels are asked without. The port is 6379, of a Sentinel
    /// 26379, where it is absent. User, password and path may have percent escapes, and need them
    /// for the characters `/`, `?`, `#`, `%`, and `@` in a path.
    ///
    /// - Throws: `invalidURL`, or `notSupported` for `rediss`. No
    ///   message repeats anything of the URL but its scheme.
    public init(parsing url: String) throws(RedisError) {
        self = try RedisURL(url).endpoint()
    }
}

extension RedisEndpoint: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The URL without user and password.
    public var description: String {
        if let sentinel {
            let hosts = sentinel.addresses.map(\.description).joined(separator: ",")
            return "redis+sentinel://\(hosts)/\(sentinel.master)/\(database)"
        }
        if let clusterSeeds {
            return "redis+cluster://\(clusterSeeds.map(\.description).joined(separator: ","))"
        }
        return switch address {
        case .host: "redis://\(address)/\(database)"
        case .unixSocket(let path): "redis+unix://\(path)?db=\(database)"
        }
    }

    public var debugDescription: String { description }

    /// For `dump`, without the password.
    public var customMirror: Mirror {
        Mirror(self, children: ["address": address, "database": database], displayStyle: .struct)
    }
}

/// Servers of Redis Sentinel, and the name under which they know a master.
public struct RedisSentinel: Sendable, Hashable {
    public var addresses: [RedisEndpoint.Address]
    public var master: String

    public init(addresses: [RedisEndpoint.Address], master: String) {
        self.addresses = addresses
        self.master = master
    }
}

/// A Redis URL cut into pieces.
private struct RedisURL {
    private let scheme: String
    private let authority: Substring
    private let path: Substring
    private let query: Substring?

    init(_ url: String) throws(RedisError) {
        guard let colon = url.firstIndex(of: ":"), url[colon...].hasPrefix("://") else {
            throw invalid("no scheme; expected redis:// or redis+unix://")
        }
        scheme = url[..<colon].lowercased()
        let rest = url[url.index(colon, offsetBy: 3)...]
        guard !rest.contains("#") else { throw invalid("a fragment ('#'); in a password it is written %23") }
        let question = rest.firstIndex(of: "?")
        let beforeQuery = rest[..<(question ?? rest.endIndex)]
        query = question.map { rest[rest.index(after: $0)...] }
        let slash = beforeQuery.firstIndex(of: "/") ?? beforeQuery.endIndex
        authority = beforeQuery[..<slash]
        path = beforeQuery[slash...]
    }

    func endpoint() throws(RedisError) -> RedisEndpoint {
        let (user, password, host) = try credentials()
        switch scheme {
        case "redis":
            guard query == nil else { throw invalid("a query; the database is given as a path, such as /0") }
            return RedisEndpoint(
                address: try hostAndPort(host), username: user, password: password,
                database: path.count > 1 ? try database(path.dropFirst()) : 0)
        case "redis+unix":
            guard host.isEmpty, path.count > 1 else {
                throw invalid("expected redis+unix:///path/of/socket without a host")
            }
            return RedisEndpoint(
                address: .unixSocket(path: try decode(path)), username: user, password: password,
                database: try queryDatabase())
        case "redis+sentinel":
            return try sentinelEndpoint(host, user, password)
        case "redis+cluster":
            return try clusterEndpoint(host, user, password)
        case "rediss":
            throw RedisError(code: .notSupported, message: "\(scheme):// is not supported yet")
        default:
            throw invalid("an unknown scheme; expected redis:// or redis+unix://")
        }
    }

    private func sentinelEndpoint(
        _ hosts: Substring, _ user: String?, _ password: String?
    ) throws(RedisError) -> RedisEndpoint {
        guard query == nil else {
            throw invalid("a query; the database is given as a path, such as /master/0")
        }
        let addresses = try addresses(hosts, defaultPort: 26_379)
        let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), !parts[0].isEmpty else {
            throw invalid("no name of a master; expected redis+sentinel://host:port,…/master/database")
        }
        var endpoint = RedisEndpoint(
            address: addresses[0], username: user, password: password,
            database: parts.count == 2 ? try database(parts[1]) : 0)
        endpoint.sentinel = RedisSentinel(addresses: addresses, master: try decode(parts[0]))
        return endpoint
    }

    private func clusterEndpoint(
        _ hosts: Substring, _ user: String?, _ password: String?
    ) throws(RedisError) -> RedisEndpoint {
        guard query == nil else { throw invalid("a query, which redis+cluster:// does not have") }
        guard path.count <= 1 || path == "/0" else { throw invalid("a cluster has no database but 0") }
        let addresses = try addresses(hosts, defaultPort: 6_379)
        var endpoint = RedisEndpoint(address: addresses[0], username: user, password: password)
        endpoint.clusterSeeds = addresses
        return endpoint
    }

    /// At least one.
    private func addresses(
        _ hosts: Substring, defaultPort: Int
    ) throws(RedisError) -> [RedisEndpoint.Address] {
        var addresses: [RedisEndpoint.Address] = []
        for host in hosts.split(separator: ",", omittingEmptySubsequences: false) {
            addresses.append(try hostAndPort(host, defaultPort: defaultPort))
        }
        return addresses
    }

    private func credentials() throws(RedisError) -> (String?, String?, Substring) {
        guard let at = authority.lastIndex(of: "@") else { return (nil, nil, authority) }
        let host = authority[authority.index(after: at)...]
        let pieces = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard pieces.count == 2, !pieces[1].isEmpty else {
            throw invalid("a user without a password; expected user:password@ or :password@")
        }
        let user = try decode(pieces[0])
        return (user.isEmpty ? nil : user, try decode(pieces[1]), host)
    }

    private func hostAndPort(
        _ text: Substring, defaultPort: Int = 6_379
    ) throws(RedisError) -> RedisEndpoint.Address {
        let host: Substring
        var rest: Substring
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw invalid("an IPv6 address without ']'") }
            host = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
            let isAddress = host.utf8.allSatisfy { "0123456789abcdefABCDEF:.".utf8.contains($0) }
            guard isAddress, host.contains(":") else { throw invalid("no IPv6 address in brackets") }
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<colon]
            rest = text[colon...]
        }
        guard !host.isEmpty else { throw invalid("no host") }
        let isPlain = host.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "%") }
        guard isPlain else { throw invalid("a host name with characters that none has") }
        guard !rest.isEmpty else { return .host(String(host), port: defaultPort) }
        guard rest.removeFirst() == ":", let port = number(rest), (1...65_535).contains(port) else {
            throw invalid("a port that is not a number from 1 to 65535")
        }
        return .host(String(host), port: port)
    }

    private func queryDatabase() throws(RedisError) -> Int {
        guard let query else { return 0 }
        guard query.hasPrefix("db=") else { throw invalid("a query that is not db=NUMBER") }
        return try database(query.dropFirst(3))
    }

    private func database(_ text: Substring) throws(RedisError) -> Int {
        guard let number = number(text) else { throw invalid("a database that is not a number") }
        return number
    }

    private func number(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.count <= 9, text.utf8.allSatisfy({ "0123456789".utf8.contains($0) }) else {
            return nil
        }
        return Int(text)
    }

    private func decode(_ text: Substring) throws(RedisError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst()?.hexadecimalValue, let low = rest.popFirst()?.hexadecimalValue
            else {
                throw invalid("a '%' without two hexadecimal digits")
            }
            bytes.append(high << 4 | low)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw invalid("percent escapes that are not UTF-8")
        }
        return decoded
    }
}

private func invalid(_ what: String) -> RedisError {
    RedisError(code: .invalidURL, message: "not a Redis URL: \(what)")
}

extension UInt8 {
    fileprivate var hexadecimalValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
