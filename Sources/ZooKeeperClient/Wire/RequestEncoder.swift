internal import NIOCore

/// Writes requests as frames: int32 length, xid, operation code, body.
struct RequestEncoder: Sendable {
    let chroot: Chroot
    let maximumBytes: Int

    /// What the reply will look like, for the decoder.
    ///
    /// - Throws: `.badArguments` or `.frameTooLarge`; then nothing was written.
    func encode(
        _ request: ZooKeeperRequest, xid: Int32, into buffer: inout ByteBuffer
    ) throws(ZooKeeperError) -> ExpectedReply {
        let start = buffer.writerIndex
        do throws(ZooKeeperError) {
            buffer.put(Int32(0))
            buffer.put(xid)
            let expected: ExpectedReply
            switch request {
            case .multi(let operations):
                buffer.put(OperationCode.multi.rawValue)
                expected = try multi(operations, into: &buffer)
            case .multiRead(let reads):
                buffer.put(OperationCode.multiRead.rawValue)
                expected = try multiRead(reads, into: &buffer)
            default:
                let path = request.path ?? "/"
                let code = try code(of: request)
                guard code != .check else {
                    throw ZooKeeperError(.badArguments, path: path, message: "a check belongs into a multi")
                }
                buffer.put(code.rawValue)
                try body(of: request, into: &buffer)
                expected = ExpectedReply(shape: request.replyShape, path: path)
            }
            let length = buffer.writerIndex - start - 4
            guard length <= maximumBytes else {
                throw ZooKeeperError(
                    .frameTooLarge, path: request.path,
                    message: "the request has \(length) bytes, \(maximumBytes) are allowed")
            }
            buffer.setInteger(Int32(clamping: length), at: start)
            return expected
        } catch {
            buffer.moveWriterIndex(to: start)
            throw error
        }
    }

    /// Each operation is preceded by a header (type, done, error); a header with done ends them.
    private func multi(
        _ operations: [ZooKeeperRequest], into buffer: inout ByteBuffer
    ) throws(ZooKeeperError) -> ExpectedReply {
        var paths: [String] = []
        for operation in operations {
            switch operation {
            case .create, .delete, .setData, .check: break
            default:
                throw ZooKeeperError(
                    .badArguments, path: operation.path,
                    message: "a multi holds creates, deletes, setDatas and checks only")
            }
            paths.append(operation.path ?? "/")
            multiHeader(type: try code(of: operation).rawValue, isEnd: false, into: &buffer)
            try body(of: operation, into: &buffer)
        }
        multiHeader(type: -1, isEnd: true, into: &buffer)
        return ExpectedReply(shape: .multi(paths), path: nil)
    }

    /// As a multi; source: `FinalRequestProcessor` in ZooKeeper's source, case `multiRead` (3.6 on).
    private func multiRead(
        _ reads: [ZooKeeperRequest], into buffer: inout ByteBuffer
    ) throws(ZooKeeperError) -> ExpectedReply {
        var paths: [String] = []
        for read in reads {
            guard case .getData(let path) = read else {
                throw ZooKeeperError(
                    .badArguments, path: read.path, message: "a multiRead holds getDatas only")
            }
            paths.append(path)
            multiHeader(type: OperationCode.getData.rawValue, isEnd: false, into: &buffer)
            try body(of: read, into: &buffer)
        }
        multiHeader(type: -1, isEnd: true, into: &buffer)
        return ExpectedReply(shape: .multiRead(paths), path: nil)
    }

    private func multiHeader(type: Int32, isEnd: Bool, into buffer: inout ByteBuffer) {
        buffer.put(type)
        buffer.put(isEnd)
        buffer.put(Int32(-1))
    }

    private func code(of request: ZooKeeperRequest) throws(ZooKeeperError) -> OperationCode {
        switch request {
        case .getData: .getData
        case .exists: .exists
        case .getChildren: .getChildren2
        case .create(_, _, _, let mode): mode == .container ? .createContainer : .create2
        case .delete: .delete
        case .setData: .setData
        case .check: .check
        case .multi: .multi
        case .multiRead: .multiRead
        case .addWatch: .addWatch
        case .removeWatches: .removeWatches
        case .sync: .sync
        case .getACL: .getACL
        case .setACL: .setACL
        }
    }

    private func body(
        of request: ZooKeeperRequest, into buffer: inout ByteBuffer
    ) throws(ZooKeeperError) {
        guard let path = request.path else { return }
        // Without this a path without a slash would leave the chroot: "/app" + "lication".
        guard path.utf8.first == UInt8(ascii: "/") else {
            throw ZooKeeperError(.badArguments, path: path, message: "a path begins with a slash")
        }
        let (prefix, rest) = chroot.apply(path)
        buffer.put(prefix, rest)
        switch request {
        case .getData, .exists, .getChildren: buffer.put(false)
        case .create(_, let data, let acl, let mode):
            buffer.put(data)
            put(acl, into: &buffer)
            buffer.put(mode.rawValue)
        case .setData(_, let data, let version):
            buffer.put(data)
            buffer.put(version)
        case .setACL(_, let acl, let version):
            put(acl, into: &buffer)
            buffer.put(version)
        case .delete(_, let version), .check(_, let version): buffer.put(version)
        case .addWatch(_, let mode): buffer.put(mode.rawValue)
        case .removeWatches(_, let kind): buffer.put(kind.rawValue)
        case .sync, .getACL, .multi, .multiRead: break
        }
    }

    private func put(_ acl: [ACL], into buffer: inout ByteBuffer) {
        buffer.put(Int32(clamping: acl.count))
        for entry in acl {
            buffer.put(entry.permissions.rawValue)
            buffer.put(entry.scheme)
            buffer.put(entry.id)
        }
    }
}

extension ZooKeeperRequest {
    fileprivate var replyShape: ExpectedReply.Shape {
        switch self {
        case .getData: .data
        case .exists, .setData, .setACL: .stat
        case .getChildren: .children
        case .create: .created
        case .getACL: .acl
        case .sync, .delete, .check, .addWatch, .removeWatches, .multi, .multiRead: .empty
        }
    }
}
