extension ZooKeeperClient {
    /// A node's data, empty where it has none, and its metadata.
    public func getData(_ path: String) async throws(ZooKeeperError) -> (data: [UInt8], stat: Stat) {
        guard case .data(let data, let stat) = try await perform(.getData(path)) else {
            throw .unexpected(path)
        }
        return (data, stat)
    }

    /// A node's metadata; `nil` where there is no such node.
    public func exists(_ path: String) async throws(ZooKeeperError) -> Stat? {
        do throws(ZooKeeperError) {
            return try await stat(.exists(path))
        } catch {
            if error.code == .noNode { return nil }
            throw error
        }
    }

    /// The quorum ports that the ensemble's configuration names (`/zookeeper/config`, for a client without a chroot): those of
    /// all members, of which the leader listens. Empty for a standalone server.
    public func quorumServers() async throws(ZooKeeperError) -> [ZooKeeperAddress] {
        QuorumMembers.parse(try await getData("/zookeeper/config").data)
    }

    /// The names of a node's children, in no order.
    public func children(_ path: String) async throws(ZooKeeperError) -> [String] {
        guard case .children(let names, _) = try await perform(.getChildren(path)) else {
            throw .unexpected(path)
        }
        return names
    }

    /// Creates a node below an existing one.
    ///
    /// - Returns: Its path: with a sequential mode it ends in a number.
    @discardableResult
    public func create(
        _ path: String, data: [UInt8] = [], mode: CreateMode = .persistent, acl: [ACL] = ACL.open
    ) async throws(ZooKeeperError) -> String {
        let request = ZooKeeperRequest.create(path: path, data: data, acl: acl, mode: mode)
        guard case .created(let created, _) = try await perform(request) else { throw .unexpected(path) }
        return created
    }

    /// Replaces a node's data if it has the given version.
    @discardableResult
    public func setData(
        _ path: String, data: [UInt8], version: Int32 = -1
    ) async throws(ZooKeeperError) -> Stat {
        try await stat(.setData(path: path, data: data, version: version))
    }

    /// Removes a node without children if it has the given version.
    public func delete(_ path: String, version: Int32 = -1) async throws(ZooKeeperError) {
        _ = try await perform(.delete(path: path, version: version))
    }

    /// Creates, deletes, setDatas and checks, all or none.
    ///
    /// - Throws: The error of the operation that failed, with its path and its index.
    @discardableResult
    public func multi(_ operations: [ZooKeeperRequest]) async throws(ZooKeeperError) -> [ZooKeeperResponse] {
        guard case .multi(let responses) = try await perform(.multi(operations)) else {
            throw .unexpected(nil)
        }
        return responses
    }

    /// Sets a watch whose notifications arrive through `nextEvents`.
    ///
    /// It ends with the connection. The client does not set it again after a reconnect: the server would tell
    /// nothing of what happened in between, so whoever relies on it adds it again and then reads again.
    public func addWatch(_ path: String, mode: WatchMode) async throws(ZooKeeperError) {
        _ = try await perform(.addWatch(path, mode))
    }

    /// Removes watches of this session.
    public func removeWatches(_ path: String, kind: WatchKind = .any) async throws(ZooKeeperError) {
        _ = try await perform(.removeWatches(path, kind))
    }

    /// Waits until the connected server has caught up with the leader's state of this moment.
    public func sync(_ path: String = "/") async throws(ZooKeeperError) {
        _ = try await perform(.sync(path))
    }

    /// Who may do what with a node.
    public func getACL(_ path: String) async throws(ZooKeeperError) -> (acl: [ACL], stat: Stat) {
        guard case .acl(let acl, let stat) = try await perform(.getACL(path)) else { throw .unexpected(path) }
        return (acl, stat)
    }

    /// Replaces a node's access control list if it has the given version (`aversion`).
    @discardableResult
    public func setACL(_ path: String, acl: [ACL], version: Int32 = -1) async throws(ZooKeeperError) -> Stat {
        try await stat(.setACL(path: path, acl: acl, version: version))
    }

    private func stat(_ request: ZooKeeperRequest) async throws(ZooKeeperError) -> Stat {
        guard case .stat(let stat) = try await perform(request) else { throw .unexpected(request.path) }
        return stat
    }
}

extension ZooKeeperError {
    /// The decoder chooses the response by the request, so no server can cause this.
    fileprivate static func unexpected(_ path: String?) -> ZooKeeperError {
        ZooKeeperError(.marshalling, path: path, message: "the answer is of another kind than the request")
    }
}
