import NIOCore
import Testing

@testable import ZooKeeperClient

struct LearnerMachineTests {
    private static let epoch: Int64 = 5 << 32

    private static func packet(_ type: Int32, _ zxid: Int64, _ data: [UInt8]? = nil) -> QuorumPacket {
        var bytes = ByteBuffer()
        bytes.writeInteger(type)
        bytes.writeInteger(zxid)
        bytes.writeInteger(Int32(data?.count ?? -1))
        bytes.writeBytes(data ?? [])
        bytes.writeInteger(Int32(-1))
        guard let packet = try? QuorumPacket.take(from: &bytes, maximumBytes: 1 << 20) else {
            preconditionFailure("a packet of our own")
        }
        return packet
    }

    private static let leaderInfo = packet(QuorumPacketType.leaderInfo, epoch, [0, 1, 0, 0])

    /// A transaction that failed, which is the shortest.
    private static func payload(_ zxid: Int64) -> [UInt8] {
        var bytes = ByteBuffer()
        bytes.writeMultipleIntegers(Int64(1), Int32(2), zxid, Int64(3), Int32(-1), Int32(-101))
        return Array(bytes.readableBytesView)
    }

    private static func inform(_ zxid: Int64) -> QuorumPacket {
        packet(QuorumPacketType.inform, zxid, payload(zxid))
    }

    private static func synced(_ lastZxid: Int64) -> LearnerSession {
        var session = LearnerSession(lastZxid: lastZxid)
        session.receive(
            leaderInfo, packet(QuorumPacketType.diff, lastZxid), packet(QuorumPacketType.newLeader, epoch),
            packet(QuorumPacketType.upToDate, -1))
        return session
    }

    @Test func whatIsSent() {
        let machine = LearnerSession(lastZxid: 9).machine
        #expect(
            Array(machine.start.readableBytesView)
                == hex(
                    "00000010 0000000000000000 00000014 ffffffffffffffff 00010000 0000000000000000 ffffffff"))
        var session = LearnerMachineTests.synced(LearnerMachineTests.epoch + 7)
        session.receive(LearnerMachineTests.packet(QuorumPacketType.ping, 0x77))
        #expect(
            session.written.map { Array($0.readableBytesView) } == [
                hex("00000012 0000000500000007 00000004 ffffffff ffffffff"),
                hex("00000003 0000000500000000 ffffffff ffffffff"),
                hex("00000003 0000000500000000 ffffffff ffffffff"),
                hex("00000005 0000000000000077 00000000 ffffffff"),
            ])
    }

    @Test func aPingBeforeUpToDateIsNotAnswered() {
        var session = LearnerSession(lastZxid: 0)
        session.receive(
            LearnerMachineTests.leaderInfo,
            LearnerMachineTests.packet(QuorumPacketType.diff, LearnerMachineTests.epoch),
            LearnerMachineTests.packet(QuorumPacketType.ping, 1))
        #expect(session.written.count == 1 && !session.machine.isLive)
    }

    @Test func aHoleIsAnError() {
        let last = LearnerMachineTests.epoch + 7
        var session = LearnerMachineTests.synced(last)
        session.receive(LearnerMachineTests.inform(last + 1), LearnerMachineTests.inform(last + 3))
        #expect(session.error?.code == .missingTransactions)
        #expect(
            session.error?.message
                == "test:2888 left out transactions: after 0x500000008 comes 0x50000000a where 0x500000009 is due"
        )
        #expect(session.machine.lastZxid == last + 1)
        session.receive(LearnerMachineTests.inform(last + 2))
        #expect(session.machine.lastZxid == last + 1)
    }

    @Test func anEpochBeginsAtOne() {
        var session = LearnerMachineTests.synced(3 << 32 | 9)
        session.receive(LearnerMachineTests.inform(LearnerMachineTests.epoch + 1))
        #expect(session.error == nil && session.machine.lastZxid == LearnerMachineTests.epoch + 1)
        var other = LearnerMachineTests.synced(3 << 32 | 9)
        other.receive(LearnerMachineTests.inform(LearnerMachineTests.epoch + 2))
        #expect(other.error?.code == .missingTransactions)
    }

    @Test func whatIsHeldIsNotHandedOutAgain() {
        let last = LearnerMachineTests.epoch + 7
        var session = LearnerMachineTests.synced(last)
        session.receive(LearnerMachineTests.inform(last - 1), LearnerMachineTests.inform(last + 1))
        session.receive(LearnerMachineTests.inform(last + 1))
        #expect(session.error == nil && session.lines.count { $0.hasPrefix("transaction") } == 1)
    }

    @Test func theDifferenceMustReachItsEnd() {
        var session = LearnerSession(lastZxid: LearnerMachineTests.epoch + 7)
        session.receive(
            LearnerMachineTests.leaderInfo,
            LearnerMachineTests.packet(QuorumPacketType.diff, LearnerMachineTests.epoch + 9),
            LearnerMachineTests.inform(LearnerMachineTests.epoch + 8),
            LearnerMachineTests.packet(QuorumPacketType.newLeader, LearnerMachineTests.epoch),
            LearnerMachineTests.packet(QuorumPacketType.upToDate, -1))
        #expect(session.error?.code == .missingTransactions && !session.machine.isLive)
    }

    /// A leader without its quorum says nothing: another one is soon asked for a difference, and late for a tree.
    @Test func whoHasSentADifferenceHasLittleTimeToBeUpToDate() {
        let last = LearnerMachineTests.epoch + 7
        var session = LearnerSession(lastZxid: last)
        #expect(session.machine.progress == .handshake)
        session.receive(
            LearnerMachineTests.leaderInfo, LearnerMachineTests.packet(QuorumPacketType.diff, last))
        #expect(session.machine.progress == .sync)
        session.receive(LearnerMachineTests.packet(QuorumPacketType.newLeader, LearnerMachineTests.epoch))
        #expect(session.machine.progress == .handshake)
        session.receive(LearnerMachineTests.packet(QuorumPacketType.upToDate, -1))
        #expect(session.machine.progress == .live)
        var tree = LearnerSession(lastZxid: 0)
        tree.receive(
            LearnerMachineTests.leaderInfo, LearnerMachineTests.packet(QuorumPacketType.snapshot, last))
        #expect(tree.machine.progress == .sync)
    }

    /// A leader that dies before UPTODATE may have sent what never existed.
    @Test func proposalsCountWhenTheyAreCommitted() {
        let zxid = LearnerMachineTests.epoch + 1
        var session = LearnerSession(lastZxid: 4 << 32 | 2)
        session.receive(
            LearnerMachineTests.leaderInfo,
            LearnerMachineTests.packet(QuorumPacketType.diff, zxid),
            LearnerMachineTests.packet(QuorumPacketType.proposal, zxid, LearnerMachineTests.payload(zxid)))
        #expect(session.lines == ["difference"])
        session.receive(LearnerMachineTests.packet(QuorumPacketType.commit, zxid))
        #expect(session.lines.count == 2 && !session.machine.isLive)
    }

    @Test func whoIsBehindIsRefused() {
        let last = LearnerMachineTests.epoch + 7
        var truncating = LearnerSession(lastZxid: last)
        truncating.receive(
            LearnerMachineTests.leaderInfo, LearnerMachineTests.packet(QuorumPacketType.truncate, last - 2))
        #expect(truncating.error?.code == .ensembleBehind)
        var older = LearnerSession(lastZxid: 6 << 32)
        older.receive(LearnerMachineTests.leaderInfo)
        #expect(older.error?.code == .ensembleBehind && older.written.isEmpty)
        var snapshot = LearnerSession(lastZxid: last)
        snapshot.receive(
            LearnerMachineTests.leaderInfo, LearnerMachineTests.packet(QuorumPacketType.snapshot, last - 2))
        #expect(snapshot.error?.code == .ensembleBehind)
    }

    @Test func anAnnouncedSizeTakesNoMemory() {
        var session = LearnerSession(lastZxid: 0, maximumBytes: 1_000)
        session.receive(hex("00000011 0000000500000000 7fffffff"), pieces: 100)
        #expect(session.error?.code == .protocolViolation)
        var snapshot = LearnerSession(lastZxid: 0, maximumBytes: 1_000)
        snapshot.receive(
            LearnerMachineTests.leaderInfo,
            LearnerMachineTests.packet(QuorumPacketType.snapshot, LearnerMachineTests.epoch))
        // No session, no list, and a root with 2 GiB of data.
        snapshot.receive(hex("00000000 00000000 00000000 7fffffff"), pieces: 100)
        #expect(snapshot.error?.message.contains("2147483647 bytes") == true)
    }

    @Test func membersOfAConfiguration() {
        let text = """
            server.1=a.example:2888:3888:participant;0.0.0.0:2181
            server.2=[::1]:2889:3889|b:2890:3890:observer;2181
            server.3=broken
            version=100000000
            """
        #expect(
            QuorumMembers.parse((text + "\nserver.9=0.0.0.0:2888:3888\nserver.8=[::]:2888:3888").utf8) == [
                ZooKeeperAddress(host: "a.example", port: 2888), ZooKeeperAddress(host: "::1", port: 2889),
                ZooKeeperAddress(host: "b", port: 2890),
            ])
    }

    // MARK: Transactions

    private static func operation(_ type: Int32, _ body: String) throws -> Transaction.Operation {
        var bytes = ByteBuffer()
        bytes.writeMultipleIntegers(Int64(1), Int32(2), Int64(3), Int64(4), type)
        bytes.writeBytes(hex(body))
        return try Transaction(reading: &bytes).operation
    }

    @Test func theEndOfASession() throws {
        let digest = "00000002 0123456789abcdef"
        #expect(try LearnerMachineTests.operation(-11, "") == .closeSession(paths: nil))
        #expect(try LearnerMachineTests.operation(-11, digest) == .closeSession(paths: nil))
        #expect(try LearnerMachineTests.operation(-11, "00000000" + digest) == .closeSession(paths: []))
        // As long as a digest alone.
        #expect(
            try LearnerMachineTests.operation(-11, "00000001 00000004 2f616263")
                == .closeSession(paths: ["/abc"]))
        let closed = Transaction(
            session: 1, cxid: 0, zxid: 9, time: 0, operation: .closeSession(paths: ["/b", "/a"]))
        #expect(
            closed.effects.map(\.operation.path) == ["/a", "/b"] && closed.effects.map(\.index) == [0, 1])
    }

    @Test func aCreateOfOldServersHasNoParentVersion() throws {
        let created = try LearnerMachineTests.operation(1, "00000002 2f61 ffffffff ffffffff 01")
        #expect(created == .create(path: "/a", data: [], acl: [], kind: .ephemeral, parentCVersion: nil))
    }

    @Test func aMultiThatFailedDidNothing() throws {
        // setData /a, then an error.
        let multi = try LearnerMachineTests.operation(
            14, "00000002 00000005 0000000e 00000002 2f61 00000000 00000001 ffffffff 00000004 ffffff9b")
        #expect(multi == .multi([.setData(path: "/a", data: [], version: 1), .error(-101)]))
        #expect(Transaction(session: 1, cxid: 0, zxid: 9, time: 0, operation: multi).effects.isEmpty)
    }

    @Test func aMultiInAMultiIsUnknown() throws {
        let nested = try LearnerMachineTests.operation(14, "00000001 0000000e 00000004 00000000")
        #expect(nested == .multi([.unknown(type: 14, body: [0, 0, 0, 0])]))
    }

    /// Java writes a character beyond U+FFFF as two surrogates.
    @Test func javaStrings() throws {
        var bytes = ByteBuffer(bytes: hex("00000008 61 eda0bd edb880 62"))
        #expect(try bytes.takeJavaString() == "a\u{1F600}b")
        var alone = ByteBuffer(bytes: hex("00000004 61 eda0bd"))
        #expect(try alone.takeJavaString().hasPrefix("a\u{FFFD}"))
    }

    @Test func whatAFuzzySnapshotHolds() {
        let set = Transaction.Operation.setData(path: "/a", data: [], version: 1)
        #expect(FuzzySnapshot.holds(set, zxid: 7, czxid: 3, mzxid: 7))
        #expect(!FuzzySnapshot.holds(set, zxid: 7, czxid: 3, mzxid: 6))
        #expect(FuzzySnapshot.holds(set, zxid: 7, czxid: nil, mzxid: nil))
        let delete = Transaction.Operation.delete(path: "/a", byEnsemble: false)
        #expect(FuzzySnapshot.holds(delete, zxid: 7, czxid: 8, mzxid: 8))
        #expect(!FuzzySnapshot.holds(delete, zxid: 7, czxid: 6, mzxid: 9))
    }
}
