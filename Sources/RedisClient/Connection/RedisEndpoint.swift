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
    /// `nil` is an open connection. In force for every node of a cluster, and for Sentinels as for their servers.
    public var tls: RedisTLS?

    public init(
        address: Address, username: String? = nil, password: String? = nil, database: Int = 0,
        tls: RedisTLS? = nil
    ) {
        self.address = address
        self.username = username
        self.password = password
        self.database = database
        self.tls = tls
    }

    /// Reads `redis://[[user]:password@]host[:port][/database]`,
    /// `redis+unix://[[user]:password@]/path[?db=database]`,
    /// `redis+sentinel://[[user]:password@]host[:port],…/master[/database]` or
    /// `redis+cluster://[[user]:password@]host[:port],…[/0]` (a cluster has no other database).
    ///
    /// `rediss`, `rediss+sentinel` and `rediss+cluster` are the same with TLS. They may have the query
    /// `?ca=/roots.pem&cert=/client.pem&key=/client.key&verify=full`, each parameter for itself, `cert` with `key`:
    /// see `RedisTLS`.
    ///
    /// User and password are those of the server, in a cluster of every node; Sentinels are asked without. The port is 6379, of a Sentinel
    /// 26379, where it is absent. User, password, paths and parameters may have percent escapes, and need them
    /// for the characters `/`, `?`, `#`, `%`, and `@` in a path, `#`, `%` and `&` in a parameter.
    ///
    /// - Throws: `invalidURL`. No message repeats anything of the URL.
    public init(parsing url: String) throws(RedisError) {
        self = try RedisURL(url).endpoint()
    }
}

extension RedisEndpoint: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The URL without user, password and the parameters of TLS.
    public var description: String {
        let scheme = tls == nil ? "redis" : "rediss"
        if let sentinel {
            let hosts = sentinel.addresses.map(\.description).joined(separator: ",")
            return "\(scheme)+sentinel://\(hosts)/\(sentinel.master)/\(database)"
        }
        if let clusterSeeds {
            return "\(scheme)+cluster://\(clusterSeeds.map(\.description).joined(separator: ","))"
        }
        return switch address {
        case .host: "\(scheme)://\(address)/\(database)"
        case .unixSocket(let path): "\(scheme)+unix://\(path)?db=\(database)"
        }
    }

    public var debugDescription: String { description }

    /// For `dump`, without the password.
    public var customMirror: Mirror {
        Mirror(
            self, children: ["address": address, "database": database, "tls": tls as Any],
            displayStyle: .struct)
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
