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

    /// A failed multi answers each operation with an error: 0 before the one that failed, its own there,
    /// `runtimeInconsistency` after it.
    private func multi(
        _ paths: [String], _ body: inout ByteBuffer, _ chroot: Chroot
    ) throws(MalformedBytes) -> Result<ZooKeeperResponse, ZooKeeperError> {
        var responses: [ZooKeeperResponse] = []
        var failure: ZooKeeperError?
        for index in 0...paths.count {
            let type: Int32 = try body.take()
            let isEnd = try body.takeBool()
            _ = try body.take(Int32.self)
            if isEnd {
                guard index == paths.count else { throw MalformedBytes("a multi with too few results") }
                break
            }
            guard index < paths.count else { throw MalformedBytes("a multi with too many results") }
            switch OperationCode(rawValue: type) {
            case .error:
                let code: Int32 = try body.take()
                let error = ZooKeeperError(server: code, path: paths[index], operation: index)
                if code != 0, failure == nil || failure?.code == .runtimeInconsistency { failure = error }
            case .create: responses.append(.created(try ExpectedReply.path(&body, chroot), nil))
            case .create2:
                responses.append(.created(try ExpectedReply.path(&body, chroot), try Stat(reading: &body)))
            case .setData: responses.append(.stat(try Stat(reading: &body)))
            case .delete, .check: responses.append(.empty)
            default: throw MalformedBytes("a multi with a result of type \(type)")
            }
        }
        if let failure { return .failure(failure) }
        guard responses.count == paths.count else {
            throw MalformedBytes("a multi that failed without an error")
        }
        return .success(.multi(responses))
    }
}
