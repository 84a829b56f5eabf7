extension ClusterTopology {
    private static let maximumNameBytes = 255
    private static let maximumReplicas = 1_000
    /// All ranges together; a node counts once for each range.
    private static let maximumNodes = 1 << 18

    /// Reads the reply to `CLUSTER SLOTS`: for each range of slots its first and last number, then the master
    /// and its replicas, each as host, port, id and further names. Source:
    /// redis.io/docs/latest/commands/cluster-slots.
    ///
    /// A host that is null or empty is that of `asked`; `?` stands for a name that the node does not have,
    /// and the address among its further names is taken instead. A range whose master has no usable host
    /// counts as served by nobody.
    ///
    /// - Throws: `protocolViolation` for anything of another form, for overlapping ranges, for slots and ports
    ///   that do not exist, and for more than a thousand replicas of a master.
    public init(parsing reply: RESPValue, asked: RedisEndpoint.Address) throws(RedisError) {
        guard case .array(let ranges) = reply, ranges.count <= HashSlot.count else {
            throw ClusterTopology.malformed("no list of slot ranges", asked)
        }
        var isTaken = [Bool](repeating: false, count: HashSlot.count)
        var owners = [Node?](repeating: nil, count: HashSlot.count)
        var replicas: [RedisEndpoint.Address: Set<Node>] = [:]
        var nodeCount = 0
        for range in ranges {
            guard let parts = range.array, parts.count >= 3, let first = parts[0].int,
                let last = parts[1].int,
                first >= 0, first <= last, last < HashSlot.count
            else { throw ClusterTopology.malformed("a range without slots and master", asked) }
            let slots = Int(first)...Int(last)
            guard !isTaken[slots].contains(true) else {
                throw ClusterTopology.malformed("slots of two masters", asked)
            }
            isTaken.replaceSubrange(slots, with: repeatElement(true, count: slots.count))
            nodeCount += parts.count - 2
            guard parts.count <= 3 + ClusterTopology.maximumReplicas,
                nodeCount <= ClusterTopology.maximumNodes
            else {
                throw ClusterTopology.malformed("too many nodes", asked)
            }
            var nodes: [Node?] = []
            for part in parts[2...] { nodes.append(try ClusterTopology.node(part, asked)) }
            guard let master = nodes[0] else { continue }
            owners.replaceSubrange(slots, with: repeatElement(Optional(master), count: slots.count))
            // A master has several ranges, each with all its replicas.
            replicas[master.address, default: []].formUnion(nodes[1...].compactMap { $0 })
        }
        self.init(owners: owners, replicas: replicas.mapValues(Array.init))
    }

    /// `nil` where it cannot be reached by anything that is said of it.
    private static func node(
        _ value: RESPValue, _ asked: RedisEndpoint.Address
    ) throws(RedisError) -> Node? {
        guard let parts = value.array, parts.count >= 2, let port = parts[1].int, (1...65_535).contains(port)
        else { throw malformed("a node without host and port", asked) }
        var id: String?
        if parts.count >= 3 {
            guard let text = parts[2].string, isName(text) else { throw malformed("a node's id", asked) }
            id = text
        }
        guard parts[0] != .null else { return node(host: "", port, id, asked) }
        guard let host = parts[0].string, host.isEmpty || isName(host) else {
            throw malformed("a node's host", asked)
        }
        guard host == "?" else { return node(host: host, port, id, asked) }
        let names = parts.count >= 4 ? parts[3].array ?? [] : []
        guard let label = names.firstIndex(where: { $0.string == "ip" }), label + 1 < names.count,
            let address = names[label + 1].string, isName(address)
        else { return nil }
        return node(host: address, port, id, asked)
    }

    private static func node(
        host: String, _ port: Int64, _ id: String?, _ asked: RedisEndpoint.Address
    ) -> Node? {
        RedisEndpoint.Address(announced: host, port: Int(port), by: asked).map { Node(address: $0, id: id) }
    }

    private static func malformed(_ what: String, _ asked: RedisEndpoint.Address) -> RedisError {
        RedisError(
            code: .protocolViolation, message: "CLUSTER SLOTS answers \(what)", address: asked.description)
    }

    fileprivate static func isName(_ text: String) -> Bool {
        let bytes = text.utf8
        return (1...maximumNameBytes).contains(bytes.count) && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f }
    }
}

extension RedisEndpoint.Address {
    /// Where a node says that another one is; an empty host is the one that was asked. `nil` where that
    /// cannot be used.
    init?(announced host: String, port: Int, by asked: RedisEndpoint.Address) {
        guard (1...65_535).contains(port) else { return nil }
        if host.isEmpty {
            guard case .host(let same, _) = asked else { return nil }
            self = .host(same, port: port)
        } else {
            guard ClusterTopology.isName(host), host != "?" else { return nil }
            self = .host(host, port: port)
        }
    }

    /// The `host:port` of a redirection, where IPv6 addresses stand without brackets.
    init?(redirection text: String, by asked: RedisEndpoint.Address) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard digits.count <= 5, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(digits)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        self.init(announced: String(host), port: port, by: asked)
    }
}
