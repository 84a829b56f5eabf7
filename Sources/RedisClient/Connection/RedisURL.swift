/// A Redis URL cut into pieces.
struct RedisURL {
    private let scheme: String
    private let authority: Substring
    private let path: Substring
    private let query: Substring?

    init(_ url: String) throws(RedisError) {
        guard let colon = url.firstIndex(of: ":"), url[colon...].hasPrefix("://") else {
            throw invalid("no scheme; expected redis://, rediss:// or redis+unix://")
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
        var endpoint: RedisEndpoint
        switch scheme {
        case "redis", "rediss":
            endpoint = RedisEndpoint(
                address: try hostAndPort(host), username: user, password: password,
                database: path.count > 1 ? try database(path.dropFirst()) : 0)
        case "redis+unix":
            guard host.isEmpty, path.count > 1 else {
                throw invalid("expected redis+unix:///path/of/socket without a host")
            }
            return RedisEndpoint(
                address: .unixSocket(path: try decode(path)), username: user, password: password,
                database: try queryDatabase())
        case "redis+sentinel", "rediss+sentinel":
            endpoint = try sentinelEndpoint(host, user, password)
        case "redis+cluster", "rediss+cluster":
            endpoint = try clusterEndpoint(host, user, password)
        default:
            throw invalid("an unknown scheme; expected redis://, rediss:// or redis+unix://")
        }
        if scheme.hasPrefix("rediss") {
            endpoint.tls = try tls()
        } else if query != nil {
            throw invalid("a query; the database is given as a path, and TLS is asked for by rediss://")
        }
        return endpoint
    }

    private func sentinelEndpoint(
        _ hosts: Substring, _ user: String?, _ password: String?
    ) throws(RedisError) -> RedisEndpoint {
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

    private func tls() throws(RedisError) -> RedisTLS {
        var parameters: [RedisTLS.Parameter: String] = [:]
        for part in query?.split(separator: "&", omittingEmptySubsequences: false) ?? [] {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let parameter = RedisTLS.Parameter(rawValue: String(halves[0])) else {
                throw invalid("an unknown parameter; there are ca, cert, key and verify")
            }
            guard halves.count == 2, !halves[1].isEmpty else {
                throw invalid("the parameter '\(parameter)' without a value")
            }
            guard parameters.updateValue(try decode(halves[1]), forKey: parameter) == nil else {
                throw invalid("the parameter '\(parameter)' twice")
            }
        }
        return try RedisTLS(parameters)
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

extension RedisTLS {
    enum Parameter: String {
        case ca
        case cert
        case key
        case verify
    }

    fileprivate init(_ parameters: [Parameter: String]) throws(RedisError) {
        self.init(rootsPath: parameters[.ca])
        switch (parameters[.cert], parameters[.key]) {
        case (nil, nil): break
        case (let certificate?, let key?):
            identity = Identity(certificatePath: certificate, keyPath: key)
        default:
            throw invalid("one of the parameters cert and key without the other")
        }
        guard let text = parameters[.verify] else { return }
        guard let verification = Verification(rawValue: text) else {
            throw invalid("the parameter 'verify' is not full, ca or none")
        }
        self.verification = verification
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
