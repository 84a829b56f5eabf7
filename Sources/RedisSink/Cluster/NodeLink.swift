import RedisClient

/// A node as it was when its connection was looked at.
struct NodeLink {
    var connection: ClusterConnectionID
    /// Names the data: `master_replid`. A server that has lost something, or has taken another's place, has another.
    var history: String
    /// What it continues: `master_replid2`, of the master whose place it took.
    var predecessor: String
    /// The connection as the server knows it, to end it when we cannot: `ID number ADDR address`.
    var client: [String]?

    enum Finding {
        case master(NodeLink)
        /// Of a master, `host:port`, with the data of this history.
        case replica(of: String, history: String)
    }

    /// - Parameter ghost: an earlier connection, on which commands may still be waiting to be executed.
    static func question(ghost: [String]?) -> RedisCommandBatch {
        var batch = RedisCommandBatch()
        if let ghost { appendKill(ghost, to: &batch) }
        batch.append("CLIENT", "INFO")
        batch.append("INFO", "replication")
        return batch
    }

    /// - Parameter client: as `client(_:)` names it.
    static func appendKill(_ client: [String], to batch: inout RedisCommandBatch) {
        batch.append(["CLIENT", "KILL"] + client)
    }

    /// - Parameter replies: to the question, without that to `CLIENT KILL`.
    /// - Throws: `server` where the node refuses what is needed, `protocolViolation`.
    static func read(
        _ replies: ArraySlice<RESPValue>, connection: ClusterConnectionID
    ) throws(RedisError) -> Finding {
        let replies = Array(replies)
        guard replies.count == 2 else { throw malformed }
        for case .error(let error) in replies.dropFirst() {
            throw RedisError(code: .server(error), message: error.message)
        }
        guard let info = replies[1].string else { throw malformed }
        var fields: [Substring: Substring] = [:]
        for line in info.split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...]
        }
        guard let role = fields["role"], let history = fields["master_replid"] else { throw malformed }
        guard role == "master" else {
            let master = "\(fields["master_host"] ?? ""):\(fields["master_port"] ?? "")"
            return .replica(of: master, history: String(history))
        }
        return .master(
            NodeLink(
                connection: connection, history: String(history),
                predecessor: String(fields["master_replid2"] ?? ""),
                client: replies[0].string.flatMap { client($0.split(separator: " ")) }))
    }

    /// Of `id=7 addr=127.0.0.1:50000 …` what `CLIENT KILL` needs: both, since a restarted server gives the same
    /// numbers again.
    static func client(_ words: [Substring]) -> [String]? {
        guard let id = words.first(where: { $0.hasPrefix("id=") })?.dropFirst(3),
            let address = words.first(where: { $0.hasPrefix("addr=") })?.dropFirst(5)
        else { return nil }
        return ["ID", String(id), "ADDR", String(address)]
    }

    private static var malformed: RedisError {
        RedisError(code: .protocolViolation, message: "answers of another form to INFO replication")
    }
}
