internal import NIOCore

/// What a reply must look like: replies carry no type, only the xid of their request.
struct ExpectedReply: Sendable, Hashable {
    enum Shape: Sendable, Hashable {
        case data
        case stat
        case children
        case created
        case acl
        /// The paths of the operations.
        case multi([String])
        case multiRead([String])
        /// Nothing, or a path that tells nothing new.
        case empty
    }

    let shape: Shape
    let path: String?

    /// Reads what follows a reply header without an error. What a newer server may append is ignored.
    func decode(
        _ body: inout ByteBuffer, chroot: Chroot
    ) -> Result<ZooKeeperResponse, ZooKeeperError> {
        do throws(MalformedBytes) {
            switch shape {
            case .data: return .success(.data(try body.takeBuffer(), try Stat(reading: &body)))
            case .stat: return .success(.stat(try Stat(reading: &body)))
            case .children:
                // The shortest name still has its length.
                let names = try body.takeVector(itemBytes: 4) { item throws(MalformedBytes) in
                    try item.takeString()
                }
                return .success(.children(names, try Stat(reading: &body)))
            case .created:
                let path = try ExpectedReply.path(&body, chroot)
                return .success(.created(path, try Stat(reading: &body)))
            case .acl: return .success(try ExpectedReply.acl(&body))
            case .multi(let paths): return try multi(paths, &body, chroot)
            case .multiRead(let paths): return try .success(.multiRead(multiRead(paths, &body)))
            case .empty: return .success(.empty)
            }
        } catch {
            return .failure(
                ZooKeeperError(
                    .marshalling, path: path, message: "the server's answer is not readable: \(error.reason)")
            )
        }
    }

    private static func path(_ body: inout ByteBuffer, _ chroot: Chroot) throws(MalformedBytes) -> String {
        let path = try body.takeString()
        guard let below = chroot.remove(path) else { throw MalformedBytes("a path outside the chroot") }
        return below
    }

    private static func acl(_ body: inout ByteBuffer) throws(MalformedBytes) -> ZooKeeperResponse {
        let entries = try body.takeVector(itemBytes: 12) { item throws(MalformedBytes) in
            let permissions = ACL.Permissions(rawValue: try item.take())
            return ACL(permissions, scheme: try item.takeString(), id: try item.takeString())
        }
        return .acl(entries, try Stat(reading: &body))
    }

    /// The type of the next result; `nil` at the end, which must be where it is due.
    private static func result(
        _ index: Int, of count: Int, _ body: inout ByteBuffer
    ) throws(MalformedBytes) -> OperationCode? {
        let type: Int32 = try body.take()
        let isEnd = try body.takeBool()
        _ = try body.take(Int32.self)
        guard isEnd == (index == count) else {
            throw MalformedBytes("a multi with another number of results than operations")
        }
        if isEnd { return nil }
        guard let code = OperationCode(rawValue: type) else {
            throw MalformedBytes("a multi with a result of type \(type)")
        }
        return code
    }

    private func multiRead(
        _ paths: [String], _ body: inout ByteBuffer
    ) throws(MalformedBytes) -> [Result<ZooKeeperResponse, ZooKeeperError>] {
        var results: [Result<ZooKeeperResponse, ZooKeeperError>] = []
        results.reserveCapacity(paths.count)
        for index in 0...paths.count {
            guard let type = try ExpectedReply.result(index, of: paths.count, &body) else { break }
            switch type {
            case .error:
                let code: Int32 = try body.take()
                results.append(.failure(ZooKeeperError(server: code, path: paths[index])))
            case .getData:
                results.append(.success(.data(try body.takeBuffer(), try Stat(reading: &body))))
            default: throw MalformedBytes("a multiRead with a result of type \(type.rawValue)")
            }
        }
        return results
    }

    /// A failed multi answers each operation with an error: 0 before the one that failed, its own there,
    /// `runtimeInconsistency` after it.
    private func multi(
        _ paths: [String], _ body: inout ByteBuffer, _ chroot: Chroot
    ) throws(MalformedBytes) -> Result<ZooKeeperResponse, ZooKeeperError> {
        var responses: [ZooKeeperResponse] = []
        var failure: ZooKeeperError?
        for index in 0...paths.count {
            guard let type = try ExpectedReply.result(index, of: paths.count, &body) else { break }
            switch type {
            case .error:
                let code: Int32 = try body.take()
                let error = ZooKeeperError(server: code, path: paths[index], operation: index)
                if code != 0, failure == nil || failure?.code == .runtimeInconsistency { failure = error }
            case .create: responses.append(.created(try ExpectedReply.path(&body, chroot), nil))
            case .create2:
                responses.append(.created(try ExpectedReply.path(&body, chroot), try Stat(reading: &body)))
            case .setData: responses.append(.stat(try Stat(reading: &body)))
            case .delete, .check: responses.append(.empty)
            default: throw MalformedBytes("a multi with a result of type \(type.rawValue)")
            }
        }
        if let failure { return .failure(failure) }
        guard responses.count == paths.count else {
            throw MalformedBytes("a multi that failed without an error")
        }
        return .success(.multi(responses))
    }
}
