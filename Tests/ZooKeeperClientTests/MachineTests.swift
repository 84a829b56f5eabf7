import NIOCore
import Testing

@testable import ZooKeeperClient

/// One connection's protocol without a socket.
struct MachineTests {
    typealias Machine = ConnectionMachine<String>

    static func machine(authentication: [Authentication] = [], chroot: String? = nil) -> Machine {
        Machine(
            Machine.Setup(
                server: ZooKeeperAddress(host: "test"),
                connect: ConnectRequest(lastZxid: 5, timeoutMilliseconds: 9000, session: .none),
                authentication: authentication, requestTimeout: .seconds(5),
                encoder: RequestEncoder(chroot: Chroot(chroot), maximumBytes: 1000)),
            now: .uptimeNanoseconds(0))
    }

    static func attached(chroot: String? = nil) -> Machine {
        var machine = machine(chroot: chroot)
        _ = machine.start()
        _ = machine.receive(hex: acceptance)
        return machine
    }

    static let acceptance = "00000000 00001770 0000000000000007 00000001 09 00"

    @Test func attachesAndAnswersInOrder() throws {
        var machine = MachineTests.machine()
        #expect(!machine.isStarted)
        _ = machine.start()
        #expect(machine.isHandshaking && !machine.isAttached)
        guard case .attached(let reply) = machine.receive(hex: MachineTests.acceptance) else {
            Issue.record("not attached")
            return
        }
        #expect(
            reply.session.number == 7 && machine.isAttached && machine.timing.sessionTimeout == .seconds(6))
        var buffer = ByteBuffer()
        for path in ["/a", "/b"] {
            try machine.submit(.sync(path), token: path, into: &buffer, now: .uptimeNanoseconds(1))
        }
        #expect(throws: ZooKeeperError.self) {
            try machine.submit(.sync("c"), token: "c", into: &buffer, now: .uptimeNanoseconds(1))
        }
        #expect(machine.inFlightCount == 2)
        guard
            case .reply("/a", 6, .success(.empty)) = machine.receive(
                hex: "00000001 0000000000000006 00000000")
        else {
            Issue.record("not the first reply")
            return
        }
        guard case .none = machine.receive(hex: "fffffffe 0000000000000009 00000000") else {
            Issue.record("a ping's answer is nothing")
            return
        }
        guard
            case .reply("/b", 8, .failure(let error)) = machine.receive(
                hex: "00000002 0000000000000008 ffffff9b")
        else {
            Issue.record("not the second reply")
            return
        }
        #expect(error.code == .noNode && error.path == "/b")
        #expect(machine.lastZxid == 9)
        #expect(
            Array(machine.close(now: .uptimeNanoseconds(2)).readableBytesView)
                == hex("00000008 00000003 fffffff5"))
        guard case .closed = machine.receive(hex: "00000003 0000000000000009 00000000") else {
            Issue.record("not closed")
            return
        }
    }

    @Test(arguments: ["00000002 0000000000000001 00000000", "ffffffec 0000000000000001 00000000", "00", ""])
    func whatIsOutOfOrderEndsTheConnection(_ frame: String) throws {
        var machine = MachineTests.attached()
        var buffer = ByteBuffer()
        try machine.submit(.sync("/"), token: "a", into: &buffer, now: .uptimeNanoseconds(0))
        guard case .failed(let error) = machine.receive(hex: frame) else {
            Issue.record("not refused")
            return
        }
        #expect(error.code == .protocolViolation)
        #expect(machine.takeInFlight().map(\.token) == ["a"])
    }

    @Test func authenticatesBeforeItIsAttached() {
        let users = ["a", "b"].map { Authentication(scheme: $0, credentials: [1]) }
        var machine = MachineTests.machine(authentication: users)
        _ = machine.start()
        guard case .write(let frames) = machine.receive(hex: MachineTests.acceptance) else {
            Issue.record("no credentials")
            return
        }
        #expect(
            Array(frames.readableBytesView)
                == hex(
                    """
                    00000016 fffffffc 00000064 00000000 00000001 61 00000001 01
                    00000016 fffffffc 00000064 00000000 00000001 62 00000001 01
                    """))
        guard case .none = machine.receive(hex: "fffffffc 0000000000000000 00000000"), !machine.isAttached
        else {
            Issue.record("attached too early")
            return
        }
        var refused = machine
        guard case .attached = machine.receive(hex: "fffffffc 0000000000000000 00000000") else {
            Issue.record("not attached")
            return
        }
        guard case .failed(let error) = refused.receive(hex: "fffffffc 0000000000000000 ffffff8d") else {
            Issue.record("not refused")
            return
        }
        #expect(error.code == .authenticationFailed)
    }

    @Test func expires() {
        var machine = MachineTests.machine()
        _ = machine.start()
        guard case .expired = machine.receive(hex: "00000000 00000000 0000000000000000 00000000 00") else {
            Issue.record("not expired")
            return
        }
    }

    @Test func notifications() {
        var machine = MachineTests.attached(chroot: "/c")
        let header = "ffffffff ffffffffffffffff 00000000"
        guard
            case .notification(let seen) = machine.receive(
                hex: header + "00000002 00000003 00000004 2f632f61")
        else {
            Issue.record("no notification")
            return
        }
        #expect(seen == WatchNotification(type: .deleted, path: "/a", zxid: -1))
        guard case .none = machine.receive(hex: header + "00000002 00000003 00000002 2f64") else {
            Issue.record("outside the chroot")
            return
        }
        guard case .failed = machine.receive(hex: header + "00000002 00000003 00000009 2f64") else {
            Issue.record("cut short")
            return
        }
        #expect(machine.lastZxid == 5)
    }

    @Test func largeReplyIsFoundByItsXid() throws {
        var machine = MachineTests.attached()
        var buffer = ByteBuffer()
        try machine.submit(.getData("/large"), token: "a", into: &buffer, now: .uptimeNanoseconds(0))
        let (error, request) = machine.frameProblem(.tooLarge(.init(length: 99, xid: 1)), limit: 9)
        #expect(error.code == .frameTooLarge && error.path == "/large" && request?.token == "a")
        #expect(machine.frameProblem(.tooLarge(.init(length: 99, xid: -1)), limit: 9).1 == nil)
    }

    @Test func pingsAndGivesUp() {
        func at(_ seconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .seconds(seconds) }
        var timing = ConnectionTiming(sessionTimeout: .seconds(9), requestTimeout: .seconds(5), now: at(0))
        #expect(timing.verdict(now: at(2), hasRequests: false, isReading: true) == .wait)
        #expect(timing.nextCheck(hasRequests: false, isReading: true) == at(3))
        #expect(timing.verdict(now: at(3), hasRequests: false, isReading: true) == .ping)
        timing.sent(now: at(3), startsWaiting: false)
        #expect(timing.nextCheck(hasRequests: false, isReading: true) == at(6))
        #expect(timing.verdict(now: at(6), hasRequests: false, isReading: true) == .silent(.seconds(6)))
        // Nothing can be said while we do not read.
        #expect(timing.verdict(now: at(60), hasRequests: true, isReading: false) == .ping)
        timing.resumed(now: at(60))
        timing.sent(now: at(60), startsWaiting: true)
        timing.received(now: at(64))
        #expect(timing.verdict(now: at(62), hasRequests: true, isReading: true) == .wait)
        #expect(timing.verdict(now: at(65), hasRequests: true, isReading: true) == .stuck(.seconds(5)))
        #expect(timing.verdict(now: at(65), hasRequests: false, isReading: true) == .ping)
    }
}

extension ConnectionMachine {
    mutating func receive(hex text: String) -> Action {
        receive(ByteBuffer(bytes: hex(text)), now: .uptimeNanoseconds(0))
    }
}
