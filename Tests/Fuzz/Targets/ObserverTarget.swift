import NIOCore

@testable import ZooKeeperClient

/// What a ZooKeeper leader may send to an observer: packets, a snapshot, transactions.
///
/// The first byte: 0 a whole stream; 1 the stream behind the handshake, for an observer that holds something; 2 a snapshot
/// alone; 3 one transaction; 4 a configuration of the ensemble. Streams end alike however they are cut.
func fuzzObserver(_ input: inout FuzzInput) throws(FuzzFailure) {
    let mode = input.byte() % 5
    let bytes = input.takeAll()
    switch mode {
    case 0: try compare(bytes, lastZxid: 0, from: [])
    case 1: try compare(bytes, lastZxid: 0x1_0000_0002, from: leaderInfo)
    case 2: try compare(bytes, lastZxid: 0, from: leaderInfo + snapshotHeader)
    case 3:
        var buffer = ByteBuffer(bytes: bytes)
        guard let transaction = try? Transaction(reading: &buffer) else { return }
        try FuzzFailure.unless(
            transaction.effects.count <= bytes.count, "a transaction has no more effects than bytes")
    default:
        for member in QuorumMembers.parse(bytes) {
            try FuzzFailure.unless((1...65_535).contains(member.port), "a member has a port")
        }
    }
}

/// LEADERINFO of the first epoch.
private let leaderInfo: [UInt8] =
    [0, 0, 0, 17] + [0, 0, 0, 1, 0, 0, 0, 0] + [0, 0, 0, 4, 0, 1, 0, 0] + [255, 255, 255, 255]
/// SNAP.
private let snapshotHeader: [UInt8] =
    [0, 0, 0, 15] + [0, 0, 0, 1, 0, 0, 0, 9] + [255, 255, 255, 255] + [255, 255, 255, 255]

private func compare(_ bytes: [UInt8], lastZxid: Int64, from start: [UInt8]) throws(FuzzFailure) {
    let whole = Outcome(start + bytes, pieces: start.count + bytes.count, lastZxid)
    let cut = Outcome(start + bytes, pieces: max(7, bytes.count / 16), lastZxid)
    try FuzzFailure.unless(whole == cut, "what comes does not depend on how bytes are cut")
    try FuzzFailure.unless(whole.bytes <= bytes.count, "no more comes out than went in")
    try FuzzFailure.unless(whole.isInOrder, "transactions come in order")
}

private struct Outcome: Equatable {
    private(set) var nodes: [SnapshotNode] = []
    private(set) var transactions: [Transaction] = []
    private(set) var isLive = false
    private(set) var failure: ZooKeeperError?
    private(set) var bytes = 0

    var isInOrder: Bool { zip(transactions, transactions.dropFirst()).allSatisfy { $0.zxid < $1.zxid } }

    init(_ input: [UInt8], pieces size: Int, _ lastZxid: Int64) {
        var machine = LearnerMachine(
            server: ZooKeeperAddress(host: "test"), lastZxid: lastZxid, maximumBytes: 4_096)
        for start in stride(from: 0, to: input.count, by: max(size, 1)) {
            var piece = ByteBuffer(bytes: input[start..<min(start + size, input.count)])
            machine.append(&piece)
            do throws(ZooKeeperError) {
                while let action = try machine.next() { note(action) }
            } catch {
                failure = error
                break
            }
        }
        isLive = machine.isLive
    }

    private mutating func note(_ action: LearnerMachine.Action) {
        switch action {
        case .snapshotNodes(let more):
            nodes += more
            bytes += more.reduce(0) { $0 + $1.data.count }
        case .transaction(let transaction, let count):
            transactions.append(transaction)
            bytes += count
        default: break
        }
    }
}
