import NIOCore

@testable import ZooKeeperClient

/// What a ZooKeeper server may send: frames, the answer to the handshake, replies of every shape, notifications.
///
/// The first byte: 1 the session is attached already; 2 a chroot; 4 two authentications; 8 the rest is cut into
/// frames by lengths of one byte, not by those of the protocol; 16 (with 8) each frame gets the header of the reply
/// that is due, since nothing else is read beyond it. The second byte: which request comes first.
func fuzzZooKeeper(_ input: inout FuzzInput) throws(FuzzFailure) {
    let mode = input.byte()
    var session = ZooKeeperSession(mode, firstRequest: Int(input.byte()))
    if mode & 8 != 0 {
        while !input.isEmpty {
            let frame = input.take(Int(input.byte()))
            if try !session.receive(ByteBuffer(bytes: mode & 16 != 0 ? session.header + frame : frame)) {
                break
            }
        }
        return
    }
    let stream = input.takeAll()
    let (whole, problem) = ZooKeeperSession.frames([stream[...]])
    let size = max(7, stream.count / 16)
    let pieces = stride(from: 0, to: stream.count, by: size).map { stream[$0..<min($0 + size, stream.count)] }
    let (cut, sameProblem) = ZooKeeperSession.frames(pieces)
    try FuzzFailure.unless(
        whole == cut && problem == sameProblem, "frames do not depend on how bytes are cut")
    for frame in whole {
        if try !session.receive(frame) { return }
    }
    if let problem { session.fail(problem) }
}

/// A connection's machine with a request of each kind in flight, one after the other.
private struct ZooKeeperSession {
    private typealias Machine = ConnectionMachine<Int>

    private static let frameLimit = 4096
    private static let acceptance: [UInt8] =
        [0, 0, 0, 0, 0, 0, 0x17, 0x70] + [0, 0, 0, 0, 0, 0, 0, 7] + [0, 0, 0, 1, 9, 0]
    private static let requests: [ZooKeeperRequest] = [
        .getData("/a"), .exists("/a"), .getChildren("/a"), .create(path: "/a", data: []), .delete(path: "/a"),
        .setData(path: "/a", data: []), .addWatch("/a", .persistentRecursive), .removeWatches("/a"),
        .sync("/a"),
        .getACL("/a"), .setACL(path: "/a", acl: []),
        .multi([.create(path: "/a", data: []), .setData(path: "/a", data: []), .delete(path: "/a")]),
        .multi([]), .multiRead([.getData("/a"), .getData("/b")]), .multiRead([]),
    ]

    private var machine: Machine
    private var requestsSent: Int
    private var time: Int64 = 0
    /// xid of the reply that is due, zxid and no error.
    private(set) var header: [UInt8] = []

    init(_ mode: UInt8, firstRequest: Int) {
        let authentication = Authentication(scheme: "digest", credentials: [1])
        machine = Machine(
            Machine.Setup(
                server: ZooKeeperAddress(host: "test"),
                connect: ConnectRequest(lastZxid: 5, timeoutMilliseconds: 9000, session: .none),
                authentication: mode & 4 == 0 ? [] : [authentication, authentication],
                requestTimeout: .seconds(5),
                encoder: RequestEncoder(chroot: Chroot(mode & 2 == 0 ? nil : "/c"), maximumBytes: 1000)),
            now: .uptimeNanoseconds(0))
        requestsSent = firstRequest
        _ = machine.start()
        if mode & 1 != 0 { _ = machine.receive(ByteBuffer(bytes: ZooKeeperSession.acceptance), now: now) }
        submit()
    }

    private var now: NIODeadline { .uptimeNanoseconds(UInt64(time)) }

    private mutating func submit() {
        guard machine.isAttached else { return }
        let request = ZooKeeperSession.requests[requestsSent % ZooKeeperSession.requests.count]
        requestsSent += 1
        var buffer = ByteBuffer()
        try? machine.submit(request, token: requestsSent, into: &buffer, now: now)
        // Length, then the xid.
        header = (buffer.getBytes(at: 4, length: 4) ?? []) + [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]
    }

    /// Whether the connection goes on.
    mutating func receive(_ frame: ByteBuffer) throws(FuzzFailure) -> Bool {
        time += 1_000_000
        machine.timing.received(now: now)
        _ = machine.timing.verdict(now: now, hasRequests: machine.inFlightCount > 0, isReading: true)
        switch machine.receive(frame, now: now) {
        case .none, .write: return true
        case .notification(let notification):
            try FuzzFailure.unless(
                notification.path.utf8.count <= frame.readableBytes, "a path is no longer than its frame")
            return true
        case .attached, .reply:
            submit()
            return true
        case .expired, .closed: return false
        case .failed(let error):
            _ = "\(error)"
            return false
        }
    }

    mutating func fail(_ problem: FrameSplitter.Problem) {
        _ = machine.frameProblem(problem, limit: ZooKeeperSession.frameLimit)
        _ = machine.takeInFlight()
    }

    static func frames(_ pieces: [ArraySlice<UInt8>]) -> ([ByteBuffer], FrameSplitter.Problem?) {
        var splitter = FrameSplitter(maximumBytes: frameLimit)
        var frames: [ByteBuffer] = []
        do throws(FrameSplitter.Problem) {
            for piece in pieces {
                var bytes = ByteBuffer(bytes: piece)
                splitter.append(&bytes)
                while let frame = try splitter.next() { frames.append(frame) }
            }
            return (frames, nil)
        } catch {
            return (frames, error)
        }
    }
}
