internal import NIOCore

/// What a learner without a vote does on one connection to a leader (or to a follower that serves observers). Bytes go in,
/// actions come out.
///
/// It acknowledges NEWLEADER and UPTODATE, as a leader waits for that, and nothing else: never a transaction.
struct LearnerMachine {
    enum Action {
        case write(ByteBuffer)
        case syncing(ObserverSync)
        case snapshotNodes([SnapshotNode])
        case snapshotEnd(zxid: Int64)
        case transaction(Transaction, bytes: Int)
        /// The quorum ports of an ensemble whose configuration came along.
        case members([ZooKeeperAddress])
        case upToDate
    }

    private enum Phase {
        case authentication, leaderInfo, syncKind, snapshot, catchingUp, acknowledged, live, failed
    }

    private let server: ZooKeeperAddress
    private let maximumBytes: Int
    private var phase = Phase.leaderInfo
    private var authentication: QuorumAuthentication?
    private var buffer = ByteBuffer()
    private var snapshot: SnapshotDecoder
    /// Where the leader says that the difference ends, or the zxid of the snapshot.
    private var syncTarget: Int64 = 0
    private var isDifference = false
    /// Proposed while catching up, and not committed yet.
    private var proposed: [(transaction: Transaction, bytes: Int)] = []
    private var proposedBytes = 0
    /// Actions that follow from one packet.
    private var waiting: [Action] = []
    /// The epoch that the leader announced.
    private(set) var epoch: Int64 = 0
    /// The last transaction handed out, or the snapshot's zxid.
    private(set) var lastZxid: Int64

    /// - Parameters:
    ///   - lastZxid: the last transaction held; 0 for none.
    ///   - maximumBytes: of one packet, and of one node in a snapshot.
    init(
        server: ZooKeeperAddress, lastZxid: Int64, maximumBytes: Int, credentials: QuorumCredentials? = nil
    ) {
        self.server = server
        self.lastZxid = lastZxid
        self.maximumBytes = maximumBytes
        snapshot = SnapshotDecoder(maximumBytes: maximumBytes)
        if let credentials {
            authentication = QuorumAuthentication(credentials)
            phase = .authentication
        }
    }

    /// The first packet.
    var start: ByteBuffer { authentication?.start ?? QuorumPacket.observerInfo.encoded }

    /// All that came is committed; before, none of it may be.
    var isLive: Bool { phase == .live }
    /// It has been live: what came after that is committed, whatever the connection ended by.
    private(set) var wasLive = false
    /// A sign of life may be sent unasked only when live: a leader that waits for an acknowledgement takes it for an error.
    var progress: LearnerTiming.Progress {
        switch phase {
        case .authentication, .leaderInfo: .handshake
        // All has come: a leader that does not say so lacks its quorum. To ask another one for a tree would cost more.
        case .acknowledged where isDifference: .handshake
        case .live: .live
        case .syncKind, .snapshot, .catchingUp, .acknowledged, .failed: .sync
        }
    }

    mutating func append(_ bytes: inout ByteBuffer) {
        buffer.take(&bytes)
    }

    /// What follows from what has arrived; `nil` until more has. After an error there is nothing more.
    ///
    /// - Throws: `.protocolViolation` for bytes that mean nothing, `.missingTransactions`, `.ensembleBehind`.
    mutating func next() throws(ZooKeeperError) -> Action? {
        guard phase != .failed else { return nil }
        do throws(Problem) {
            while waiting.isEmpty {
                guard try step() else { return nil }
            }
            return waiting.removeFirst()
        } catch {
            phase = .failed
            throw error.described(by: server, after: lastZxid)
        }
    }

    /// Whether something was taken off the stream.
    private mutating func step() throws(Problem) -> Bool {
        if phase == .authentication { return try authenticate() }
        if phase == .snapshot { return try readSnapshot() }
        let packet: QuorumPacket?
        do throws(MalformedBytes) {
            packet = try QuorumPacket.take(from: &buffer, maximumBytes: maximumBytes)
        } catch {
            throw .malformed(error.reason)
        }
        guard let packet else { return false }
        try receive(packet)
        return true
    }

    private mutating func authenticate() throws(Problem) -> Bool {
        let step: QuorumAuthentication.Step
        do throws(QuorumAuthentication.Failure) {
            step = try authentication?.next(&buffer) ?? .accepted
        } catch {
            throw .refused(error.reason)
        }
        switch step {
        case .incomplete: return false
        case .answer(let packet): waiting = [.write(packet)]
        case .accepted:
            phase = .leaderInfo
            waiting = [.write(QuorumPacket.observerInfo.encoded)]
        }
        return true
    }

    private mutating func readSnapshot() throws(Problem) -> Bool {
        let part: SnapshotDecoder.Part?
        do throws(MalformedBytes) {
            part = try snapshot.next(&buffer)
        } catch {
            throw .malformed("in a snapshot \(error.reason)")
        }
        switch part {
        case .nodes(let nodes): waiting = [.snapshotNodes(nodes)]
        case .end:
            phase = .catchingUp
            lastZxid = syncTarget
            waiting = [.snapshotEnd(zxid: syncTarget)]
        case nil: return false
        }
        return true
    }

    // MARK: Packets

    private mutating func receive(_ packet: QuorumPacket) throws(Problem) {
        switch phase {
        case .leaderInfo: try leaderInfo(packet)
        case .syncKind: try syncKind(packet)
        case .catchingUp, .acknowledged: try catchUp(packet)
        case .live: try follow(packet)
        case .authentication, .snapshot, .failed: break
        }
    }

    private mutating func leaderInfo(_ packet: QuorumPacket) throws(Problem) {
        guard packet.type == QuorumPacketType.leaderInfo else {
            throw .malformed("a packet of type \(packet.type) instead of LEADERINFO")
        }
        var data = packet.data ?? ByteBuffer()
        guard let version = data.readInteger(as: Int32.self), version >= QuorumPacket.protocolVersion else {
            throw .malformed("LEADERINFO of a protocol before ZooKeeper 3.4")
        }
        epoch = packet.zxid >> 32
        guard epoch >= lastZxid >> 32 else { throw .behind("its epoch is \(epoch)") }
        waiting = [.write(QuorumPacket.ackEpoch(lastZxid: lastZxid).encoded)]
        phase = .syncKind
    }

    private mutating func syncKind(_ packet: QuorumPacket) throws(Problem) {
        syncTarget = packet.zxid
        switch packet.type {
        case QuorumPacketType.diff:
            phase = .catchingUp
            isDifference = true
            waiting = [.syncing(.difference)]
        case QuorumPacketType.snapshot:
            guard syncTarget >= lastZxid else { throw .behind("its snapshot is of \(syncTarget.asZxid)") }
            phase = .snapshot
            waiting = [.syncing(.snapshot(zxid: syncTarget))]
        case QuorumPacketType.truncate:
            // What we hold is committed, so nothing may be taken back from it.
            throw .behind("it ends at \(syncTarget.asZxid)")
        default: throw .malformed("a packet of type \(packet.type) instead of DIFF, SNAP or TRUNC")
        }
    }

    private mutating func catchUp(_ packet: QuorumPacket) throws(Problem) {
        switch packet.type {
        case QuorumPacketType.proposal: try propose(packet)
        case QuorumPacketType.commit, QuorumPacketType.commitAndActivate: try commit(packet)
        case QuorumPacketType.inform, QuorumPacketType.informAndActivate: try inform(packet)
        case QuorumPacketType.newLeader:
            guard phase == .catchingUp else { throw .malformed("NEWLEADER twice") }
            phase = .acknowledged
            if let data = packet.data { announce(data.readableBytesView) }
            waiting.append(.write(QuorumPacket.ack(zxid: packet.zxid).encoded))
        case QuorumPacketType.upToDate:
            guard phase == .acknowledged else { throw .malformed("UPTODATE before NEWLEADER") }
            guard proposed.isEmpty else { throw .malformed("UPTODATE with proposals that are not committed") }
            // A new epoch begins with a zxid that no transaction has.
            guard syncTarget & 0xffff_ffff == 0 || lastZxid >= syncTarget else {
                throw .missing(expected: syncTarget, found: nil)
            }
            phase = .live
            wasLive = true
            waiting += [.upToDate, .write(QuorumPacket.ack(zxid: epoch << 32).encoded)]
        default:
            // PING included, which must not be answered yet.
            break
        }
    }

    /// As ZooKeeper's own observer does, anything else is ignored.
    private mutating func follow(_ packet: QuorumPacket) throws(Problem) {
        switch packet.type {
        case QuorumPacketType.inform, QuorumPacketType.informAndActivate: try inform(packet)
        case QuorumPacketType.ping: waiting = [.write(QuorumPacket.ping(zxid: packet.zxid).encoded)]
        default: break
        }
    }

    // MARK: Transactions

    private mutating func inform(_ packet: QuorumPacket) throws(Problem) {
        var data = packet.data ?? ByteBuffer()
        if packet.type == QuorumPacketType.informAndActivate, data.readInteger(as: Int64.self) == nil {
            throw .malformed("INFORMANDACTIVATE without the number of a leader")
        }
        let bytes = data.readableBytes
        try handOut(transaction(packet, &data), bytes: bytes)
    }

    private mutating func propose(_ packet: QuorumPacket) throws(Problem) {
        var data = packet.data ?? ByteBuffer()
        let bytes = data.readableBytes
        proposedBytes += bytes
        guard proposedBytes <= 2 * maximumBytes else {
            throw .malformed("proposals of \(proposedBytes) bytes without a commit")
        }
        proposed.append((try transaction(packet, &data), bytes))
    }

    private mutating func commit(_ packet: QuorumPacket) throws(Problem) {
        guard let first = proposed.first, first.transaction.zxid == packet.zxid else {
            // The proposal came before the snapshot or with what we hold.
            guard proposed.isEmpty, packet.zxid <= lastZxid else {
                throw .malformed("COMMIT of \(packet.zxid.asZxid), which is not the oldest proposal")
            }
            return
        }
        proposed.removeFirst()
        proposedBytes -= first.bytes
        try handOut(first.transaction, bytes: first.bytes)
    }

    private func transaction(
        _ packet: QuorumPacket, _ data: inout ByteBuffer
    ) throws(Problem) -> Transaction {
        let transaction: Transaction
        do throws(MalformedBytes) {
            transaction = try Transaction(reading: &data)
        } catch {
            throw .malformed("the transaction \(packet.zxid.asZxid): \(error.reason)")
        }
        guard transaction.zxid == packet.zxid else {
            throw .malformed(
                "a packet of \(packet.zxid.asZxid) with the transaction \(transaction.zxid.asZxid)")
        }
        return transaction
    }

    /// zxids count up by one within an epoch and begin at 1 in the next: what does not is missing something. What is not
    /// above the last is held already, as at the end of a snapshot that began earlier.
    private mutating func handOut(_ transaction: Transaction, bytes: Int) throws(Problem) {
        let zxid = transaction.zxid
        guard zxid > lastZxid else { return }
        let isSameEpoch = zxid >> 32 == lastZxid >> 32
        let expected = isSameEpoch ? lastZxid + 1 : (zxid >> 32) << 32 | 1
        guard zxid == expected else { throw .missing(expected: expected, found: zxid) }
        lastZxid = zxid
        if case .reconfigure(_, let data, _) = transaction.operation { announce(data) }
        waiting.append(.transaction(transaction, bytes: bytes))
    }

    private mutating func announce(_ configuration: some Sequence<UInt8>) {
        let members = QuorumMembers.parse(configuration)
        if !members.isEmpty { waiting.append(.members(members)) }
    }

    // MARK: Problems

    private enum Problem: Error {
        case malformed(String)
        case missing(expected: Int64, found: Int64?)
        case behind(String)
        case refused(String)

        func described(by server: ZooKeeperAddress, after last: Int64) -> ZooKeeperError {
            switch self {
            case .malformed(let reason):
                ZooKeeperError(
                    .protocolViolation, message: "\(server) sent, after \(last.asZxid), \(reason)")
            case .missing(let expected, let found):
                ZooKeeperError(
                    .missingTransactions,
                    message: "\(server) left out transactions: after \(last.asZxid) comes "
                        + (found.map { $0.asZxid } ?? "nothing") + " where \(expected.asZxid) is due")
            case .refused(let reason):
                ZooKeeperError(.authenticationFailed, message: "\(server): \(reason)")
            case .behind(let reason):
                ZooKeeperError(
                    .ensembleBehind,
                    message: "\(server) does not hold the transaction \(last.asZxid): \(reason). It is "
                        + "another ensemble, or one that was restored from a backup, or lags")
            }
        }
    }
}

extension Int64 {
    /// As people write zxids.
    var asZxid: String { "0x" + String(UInt64(bitPattern: self), radix: 16) }
}
