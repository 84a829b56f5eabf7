import NIOCore
import Testing

@testable import ZooKeeperClient

/// The bytes as ZooKeeper's own client writes and reads them.
struct WireTests {
    static let requests: [(ZooKeeperRequest, String)] = [
        (.getData("/a"), "00000004 00000002 2f61 00"),
        (.exists("/a"), "00000003 00000002 2f61 00"),
        (.getChildren("/a"), "0000000c 00000002 2f61 00"),
        (
            .create(path: "/a", data: [1, 2], mode: .ephemeralSequential),
            """
            0000000f 00000002 2f61 00000002 0102 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65
            00000003
            """
        ),
        (
            .create(path: "/a", data: [], acl: [], mode: .container),
            "00000013 00000002 2f61 00000000 00000000 00000004"
        ),
        (.delete(path: "/a", version: 3), "00000002 00000002 2f61 00000003"),
        (.setData(path: "/a", data: [7]), "00000005 00000002 2f61 00000001 07 ffffffff"),
        (.addWatch("/a", .persistent), "0000006a 00000002 2f61 00000000"),
        (.addWatch("/a", .persistentRecursive), "0000006a 00000002 2f61 00000001"),
        (.removeWatches("/a"), "00000012 00000002 2f61 00000003"),
        (.sync("/"), "00000009 00000001 2f"),
        (.getACL("/a"), "00000006 00000002 2f61"),
        (
            .setACL(path: "/a", acl: [ACL([.read, .admin], scheme: "ip", id: "::1")], version: 1),
            "00000007 00000002 2f61 00000001 00000011 00000002 6970 00000003 3a3a31 00000001"
        ),
        (
            .multi([.check(path: "/a", version: 1), .delete(path: "/b")]),
            """
            0000000e 0000000d 00 ffffffff 00000002 2f61 00000001
            00000002 00 ffffffff 00000002 2f62 ffffffff ffffffff 01 ffffffff
            """
        ),
    ]

    @Test(arguments: requests.indices) func request(_ index: Int) throws {
        let (request, body) = WireTests.requests[index]
        let encoder = RequestEncoder(chroot: Chroot(nil), maximumBytes: 1000)
        var buffer = ByteBuffer()
        _ = try encoder.encode(request, xid: 5, into: &buffer)
        let bytes = hex("00000005" + body)
        #expect(Array(buffer.readableBytesView) == hex("000000") + [UInt8(bytes.count)] + bytes)
    }

    @Test func chrootGoesBeforeEveryPath() throws {
        let encoder = RequestEncoder(chroot: Chroot("/c"), maximumBytes: 1000)
        var buffer = ByteBuffer()
        _ = try encoder.encode(.sync("/"), xid: 1, into: &buffer)
        _ = try encoder.encode(.sync("/a"), xid: 1, into: &buffer)
        #expect(
            Array(buffer.readableBytesView)
                == hex(
                    "0000000e 00000001 00000009 00000002 2f63 00000010 00000001 00000009 00000004 2f632f61"))
        let chroot = Chroot("/c")
        #expect(chroot.remove("/c") == "/" && chroot.remove("/c/a") == "/a")
        #expect(chroot.remove("/ca") == nil && chroot.remove("/") == nil && Chroot(nil).remove("/") == "/")
    }

    @Test func handshake() throws {
        var buffer = ByteBuffer()
        let session = SessionIdentity(number: 0x0102, password: [UInt8](repeating: 9, count: 16))
        ConnectRequest(lastZxid: 0x1_0000_0002, timeoutMilliseconds: 10_000, session: session).encode(
            into: &buffer)
        #expect(
            Array(buffer.readableBytesView)
                == hex(
                    """
                    0000002d 00000000 0000000100000002 00002710 0000000000000102
                    00000010 09090909090909090909090909090909 00
                    """))
        var reply = ByteBuffer(bytes: hex("00000000 00001388 0000000000000102 00000002 0a0b 00"))
        let read = try ConnectReply(reading: &reply)
        #expect(
            read.timeoutMilliseconds == 5000
                && read.session == SessionIdentity(number: 0x102, password: [10, 11]))
        var expired = ByteBuffer(bytes: hex("00000000 00000000 0000000000000000 00000002 0a0b"))
        #expect(try ConnectReply(reading: &expired).isExpired)
    }

    static let statBytes = """
        0000000000000001 0000000000000002 0000000000000003 0000000000000004 00000005 00000006 00000007
        0000000000000008 00000009 0000000a 000000000000000b
        """
    static let stat = Stat(
        czxid: 1, mzxid: 2, ctime: 3, mtime: 4, version: 5, cversion: 6, aversion: 7, ephemeralOwner: 8,
        dataLength: 9, numChildren: 10, pzxid: 11)

    static let replies: [(ExpectedReply.Shape, String, ZooKeeperResponse)] = [
        (.data, "00000002 0102" + statBytes, .data([1, 2], stat)),
        (.data, "ffffffff" + statBytes, .data([], stat)),
        (.stat, statBytes, .stat(stat)),
        (.children, "00000002 00000001 61 00000002 6263" + statBytes, .children(["a", "bc"], stat)),
        (.children, "00000000" + statBytes, .children([], stat)),
        (.created, "00000004 2f632f61" + statBytes, .created("/a", stat)),
        (
            .acl, "00000001 0000001f 00000002 6970 00000001 31" + statBytes,
            .acl([ACL(.all, scheme: "ip", id: "1")], stat)
        ),
        (.empty, "", .empty),
        (
            .multi(["/a", "/a", "/a", "/a", "/a"]),
            """
            00000001 00 00000000 00000004 2f632f61 0000000f 00 00000000 00000004 2f632f61
            """ + statBytes + "0000000d 00 00000000 00000005 00 00000000" + statBytes
                + "00000002 00 00000000 ffffffff 01 ffffffff",
            .multi([.created("/a", nil), .created("/a", stat), .empty, .stat(stat), .empty])
        ),
    ]

    @Test(arguments: replies.indices) func reply(_ index: Int) throws {
        let (shape, body, response) = WireTests.replies[index]
        // A newer server may append what we do not know.
        for rest in ["", "0102"] {
            var buffer = ByteBuffer(bytes: hex(body + rest))
            #expect(
                try ExpectedReply(shape: shape, path: "/a").decode(&buffer, chroot: Chroot("/c")).get()
                    == response)
        }
        for count in 0..<hex(body).count {
            var cut = ByteBuffer(bytes: hex(body).prefix(count))
            #expect(throws: ZooKeeperError.self) {
                try ExpectedReply(shape: shape, path: "/a").decode(&cut, chroot: Chroot("/c")).get()
            }
        }
    }

    @Test func failedMultiNamesItsOperation() {
        let body = """
            ffffffff 00 00000000 00000000 ffffffff 00 ffffff99 ffffff99 ffffffff 00 fffffffe fffffffe
            ffffffff 01 ffffffff
            """
        var buffer = ByteBuffer(bytes: hex(body))
        let result = ExpectedReply(shape: .multi(["/a", "/b", "/c"]), path: nil).decode(
            &buffer, chroot: Chroot(nil))
        guard case .failure(let error) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(error.code == .badVersion && error.path == "/b" && error.operation == 1)
    }

    @Test func lengthsAreHeldAgainstWhatIsThere() {
        for body in ["7fffffff", "fffffffe", "00000001"] {
            for shape in [ExpectedReply.Shape.data, .children, .acl, .created] {
                var buffer = ByteBuffer(bytes: hex(body))
                let result = ExpectedReply(shape: shape, path: "/a").decode(&buffer, chroot: Chroot(nil))
                #expect(throws: ZooKeeperError.self) { try result.get() }
            }
        }
    }

    @Test func framesAreCutFromAnyPieces() throws {
        let stream = hex("00000002 0102 00000000 00000003 030405")
        for size in 1...stream.count {
            var splitter = FrameSplitter(maximumBytes: 10)
            var frames: [[UInt8]] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                var piece = ByteBuffer(bytes: stream[start..<min(start + size, stream.count)])
                splitter.append(&piece)
                while let frame = try splitter.next() { frames.append(Array(frame.readableBytesView)) }
            }
            #expect(frames == [[1, 2], [], [3, 4, 5]])
            #expect(!splitter.holdsPart)
        }
        var splitter = FrameSplitter(maximumBytes: 10)
        var large = ByteBuffer(bytes: hex("0000000b 00000007"))
        splitter.append(&large)
        #expect(throws: FrameSplitter.Problem.tooLarge(.init(length: 11, xid: 7))) { try splitter.next() }
        var negative = FrameSplitter(maximumBytes: 10)
        var bytes = ByteBuffer(bytes: hex("ffffffff"))
        negative.append(&bytes)
        #expect(throws: FrameSplitter.Problem.negativeLength(-1)) { try negative.next() }
    }
}
