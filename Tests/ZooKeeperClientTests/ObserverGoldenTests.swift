import Foundation
import NIOCore
import TestRandom
import Testing

@testable import ZooKeeperClient

/// What a real leader sent, as `Tests/Golden/record-observer.py` recorded it, against what that script's own decoder read.
struct ObserverGoldenTests {
    static let names = ["observer-snap-3.8", "observer-diff-3.8"]

    static func golden(_ name: String) throws -> (bytes: [UInt8], lines: [String]) {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Golden")
        let bytes = Array(try Data(contentsOf: folder.appendingPathComponent(name + ".bin")))
        let text = try String(contentsOf: folder.appendingPathComponent(name + ".txt"), encoding: .utf8)
        return (bytes, text.split(separator: "\n").map(String.init))
    }

    /// The last transaction that was held when the recording began.
    static func start(_ lines: [String]) -> Int64 {
        guard lines.first == "difference" else { return 0 }
        let first = lines.first { $0.hasPrefix("transaction ") } ?? ""
        return (Int64(first.split(separator: " ")[1]) ?? 0) - 1
    }

    @Test(arguments: names) func recorded(_ name: String) throws {
        let (bytes, expected) = try ObserverGoldenTests.golden(name)
        let start = ObserverGoldenTests.start(expected)
        for size in [bytes.count, 4_096, 61, 1] {
            var session = LearnerSession(lastZxid: start)
            session.receive(bytes, pieces: size)
            #expect(session.error == nil)
            #expect(session.lines == expected, "in pieces of \(size)")
        }
    }

    @Test(arguments: names) func acknowledgesNothingButTheTwoThatLeadersWaitFor(_ name: String) throws {
        let (bytes, expected) = try ObserverGoldenTests.golden(name)
        var session = LearnerSession(lastZxid: ObserverGoldenTests.start(expected))
        session.receive(bytes, pieces: bytes.count)
        var types: [Int32] = []
        for var packet in session.written {
            while let next = try QuorumPacket.take(from: &packet, maximumBytes: 1_000) {
                types.append(next.type)
                if next.type == QuorumPacketType.ping { #expect(next.data == ByteBuffer()) }
            }
        }
        #expect(types.prefix(3) == [QuorumPacketType.ackEpoch, QuorumPacketType.ack, QuorumPacketType.ack])
        #expect(types.dropFirst(3).allSatisfy { $0 == QuorumPacketType.ping })
    }

    /// Cut anywhere, it is the beginning of the whole, and no error.
    @Test(arguments: names) func cutAtEveryByte(_ name: String) throws {
        let (bytes, expected) = try ObserverGoldenTests.golden(name)
        let start = ObserverGoldenTests.start(expected)
        for end in bytes.indices {
            var session = LearnerSession(lastZxid: start)
            session.receive(Array(bytes[..<end]), pieces: bytes.count)
            #expect(session.error == nil && expected.starts(with: session.lines), "cut at \(end)")
        }
    }

    @Test(arguments: names) func spoiledBytes(_ name: String) throws {
        let (bytes, expected) = try ObserverGoldenTests.golden(name)
        let start = ObserverGoldenTests.start(expected)
        var random = SeededGenerator(seed: 8)
        for _ in 0..<3_000 {
            var spoiled = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                spoiled[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                    in: 0...255, using: &random)
            }
            var session = LearnerSession(lastZxid: start)
            session.receive(spoiled, pieces: 700)
        }
    }

    /// A transaction alone, cut at every byte: an error, or what older servers leave out at the end.
    @Test func transactionsCutShort() throws {
        let (bytes, _) = try ObserverGoldenTests.golden("observer-diff-3.8")
        var stream = ByteBuffer(bytes: bytes)
        var count = 0
        while let packet = try QuorumPacket.take(from: &stream, maximumBytes: 1 << 20) {
            guard packet.type == QuorumPacketType.proposal, let data = packet.data else { continue }
            count += 1
            for end in 0..<data.readableBytes {
                guard var part = data.getSlice(at: data.readerIndex, length: end) else { continue }
                _ = try? Transaction(reading: &part)
            }
        }
        #expect(count > 10)
    }
}

/// A machine, and what it did as lines of the golden files.
struct LearnerSession {
    private(set) var machine: LearnerMachine
    private(set) var lines: [String] = []
    private(set) var written: [ByteBuffer] = []
    private(set) var members: [ZooKeeperAddress] = []
    private(set) var error: ZooKeeperError?

    init(lastZxid: Int64, maximumBytes: Int = 1 << 20) {
        machine = LearnerMachine(
            server: ZooKeeperAddress(host: "test", port: 2888), lastZxid: lastZxid, maximumBytes: maximumBytes
        )
    }

    mutating func receive(_ bytes: [UInt8], pieces size: Int) {
        for start in stride(from: 0, to: bytes.count, by: max(size, 1)) {
            var piece = ByteBuffer(bytes: bytes[start..<min(start + size, bytes.count)])
            machine.append(&piece)
            do throws(ZooKeeperError) {
                while let action = try machine.next() { note(action) }
            } catch {
                self.error = error
                return
            }
        }
    }

    mutating func receive(_ packets: QuorumPacket...) {
        for packet in packets { receive(Array(packet.encoded.readableBytesView), pieces: 1_000) }
    }

    private mutating func note(_ action: LearnerMachine.Action) {
        switch action {
        case .write(let buffer): written.append(buffer)
        case .syncing(.difference): lines.append("difference")
        case .syncing(.snapshot(let zxid)): lines.append("snapshot \(zxid)")
        case .snapshotNodes(let nodes): lines += nodes.map(\.line)
        case .snapshotEnd(let zxid): lines.append("snapshotEnd \(zxid)")
        case .transaction(let transaction, _): lines.append(transaction.line)
        case .members(let members): self.members = members
        case .upToDate: lines.append("upToDate \(machine.lastZxid)")
        }
    }
}

private func text(_ acl: [ACL]?) -> String {
    (acl ?? []).map { "\($0.permissions.rawValue):\($0.scheme):\($0.id)" }.joined(separator: ",")
}

private func text(_ data: [UInt8]) -> String {
    data.isEmpty ? "-" : data.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

extension SnapshotNode {
    fileprivate var line: String {
        "node \(path) \(text(data)) \(text(acl)) \(stat.czxid) \(stat.mzxid) \(stat.ctime) \(stat.mtime) "
            + "\(stat.version) \(stat.cversion) \(stat.aversion) \(stat.ephemeralOwner) \(stat.pzxid)"
    }
}

extension Transaction {
    fileprivate var line: String { "transaction \(zxid) \(session) \(cxid) \(time) \(operation.line)" }
}

extension Transaction.Operation {
    fileprivate var line: String {
        switch self {
        case .create(let path, let data, let acl, let kind, let parent):
            "create \(path) \(text(data)) \(text(acl)) \(kind) \(parent.map { "\($0)" } ?? "nil")"
                .replacing("timeToLive", with: "ttl")
        case .delete(let path, let byEnsemble): "delete \(path) \(byEnsemble)"
        case .setData(let path, let data, let version): "setData \(path) \(text(data)) \(version)"
        case .reconfigure(let path, let data, let version): "reconfigure \(path) \(text(data)) \(version)"
        case .setACL(let path, let acl, let version): "setACL \(path) \(text(acl)) \(version)"
        case .check(let path, let version): "check \(path) \(version)"
        case .createSession(let timeout): "createSession \(timeout)"
        case .closeSession(let paths): "closeSession \(paths?.joined(separator: ",") ?? "nil")"
        case .multi(let parts): "multi " + parts.map(\.line).joined(separator: " | ")
        case .error(let code): "error \(code)"
        case .unknown(let type, _): "unknown \(type)"
        }
    }
}
