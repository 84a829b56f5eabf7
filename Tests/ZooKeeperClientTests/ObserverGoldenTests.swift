import Foundation
import NIOCore
import TestRandom
import Testing

@testable import ZooKeeperClient

/// What real leaders sent, as `Tests/Golden/record-observer.py` recorded it, against what that script's own decoder read.
struct ObserverGoldenTests {
    static let versions = ["3.6", "3.7", "3.8", "3.9"]
    /// A snapshot and what follows live, a difference from memory, one from log files, and one of servers without digests.
    static let kinds = ["snap", "diff", "log", "plain"]
    static let names = versions.flatMap { version in kinds.map { "observer-\($0)-\(version)" } }

    /// Taken apart thoroughly, which needs seconds; of the others only a sample is.
    static let thorough: Set = ["observer-snap-3.9", "observer-diff-3.6"]

    static func golden(_ name: String) throws -> (bytes: [UInt8], lines: [String]) {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Golden")
        let bytes = Array(try Data(contentsOf: folder.appendingPathComponent(name + ".bin")))
        let text = try String(contentsOf: folder.appendingPathComponent(name + ".txt"), encoding: .utf8)
        let lines = text.split(separator: "\n").map(String.init)
        let version = name.split(separator: "-").last ?? ""
        try #require(lines.first?.hasPrefix("recorded from ZooKeeper \(version).") == true)
        return (bytes, Array(lines.dropFirst()))
    }

    /// The last transaction that was held when the recording began.
    static func start(_ lines: [String]) -> Int64 {
        guard lines.first == "difference" else { return 0 }
        let first = lines.first { $0.hasPrefix("transaction ") } ?? ""
        return (Int64(first.split(separator: " ")[1]) ?? 0) - 1
    }

    static func decoded(_ name: String) throws -> LearnerSession {
        let (bytes, expected) = try golden(name)
        var session = LearnerSession(lastZxid: start(expected))
        session.receive(bytes, pieces: bytes.count)
        return session
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

    /// So that a recording which lacks something does not pass for one that is decoded.
    @Test(arguments: versions) func everyTypeOfNodeAndTransaction(_ version: String) throws {
        let snapshot = try ObserverGoldenTests.golden("observer-snap-\(version)").lines.filter {
            $0.hasPrefix("node ")
        }
        for name in ["", "golden/null", "golden/guarded", "golden/container", "golden/ttl", "golden/mine"] {
            #expect(snapshot.contains { $0.hasPrefix("node /\(name) ") }, "\(name)")
        }
        for kind in ObserverGoldenTests.kinds {
            let name = "observer-\(kind)-\(version)"
            let lines = try ObserverGoldenTests.golden(name).lines
            let transactions = lines.filter { $0.hasPrefix("transaction ") }.joined(separator: "\n")
            for word in [
                "createSession 4000", "error -110", "setData /", "setACL /", "reconfigure /", "multi check /",
                "error -101", "error -103", "closeSession ", "persistent",
                "ephemeral", "container", "ttl(1)", "ttl(3600000)", "/child false", "/container true",
                "/timed true",
            ] { #expect(transactions.contains(word), "\(name): \(word)") }
        }
    }

    /// However transactions come, they do the same, and a multi that failed does nothing.
    @Test(arguments: versions) func sameEffectsHoweverTheyCome(_ version: String) throws {
        let live = try ObserverGoldenTests.decoded("observer-snap-\(version)").transactions
        for kind in ["diff", "log"] {
            let others = try ObserverGoldenTests.decoded("observer-\(kind)-\(version)").transactions
            #expect(others.map(\.zxid) == live.map(\.zxid))
            #expect(others.map(\.effectLines) == live.map(\.effectLines))
        }
        for kind in ObserverGoldenTests.kinds {
            let multis = try ObserverGoldenTests.decoded("observer-\(kind)-\(version)").transactions.filter {
                if case .multi = $0.operation { true } else { false }
            }
            #expect(multis.map(\.effects.count) == [7, 0, 0])
        }
    }

    /// Servers with `closeSessionTxn.enabled=false` do not say which nodes go with a session.
    @Test(arguments: versions) func closedSessions(_ version: String) throws {
        let gone = ["/golden/gone-a", "/golden/gone-m", "/golden/gone-z"]
        let kinds: [String: [[String]?]] = ["snap": [gone, []], "plain": [nil, nil]]
        for (kind, expected) in kinds {
            var closed: [[String]?] = []
            for transaction in try ObserverGoldenTests.decoded("observer-\(kind)-\(version)").transactions {
                if case .closeSession(let paths) = transaction.operation { closed.append(paths?.sorted()) }
            }
            #expect(closed == expected, "\(kind)")
        }
    }

    @Test(arguments: names) func acknowledgesNothingButTheTwoThatLeadersWaitFor(_ name: String) throws {
        let session = try ObserverGoldenTests.decoded(name)
        var types: [Int32] = []
        for var packet in session.written {
            while let next = try QuorumPacket.take(from: &packet, maximumBytes: 1_000) {
                types.append(next.type)
                if next.type == QuorumPacketType.ping { #expect(next.data == ByteBuffer()) }
            }
        }
        // What comes from log files is recorded up to its last transaction.
        let acknowledged = name.contains("-log-") ? 0 : 2
        let first = [QuorumPacketType.ackEpoch] + Array(repeating: QuorumPacketType.ack, count: acknowledged)
        #expect(Array(types.prefix(first.count)) == first)
        #expect(types.dropFirst(first.count).allSatisfy { $0 == QuorumPacketType.ping })
    }

    /// Cut anywhere, it is the beginning of the whole, and no error.
    @Test(arguments: names) func cutShort(_ name: String) throws {
        let (bytes, expected) = try ObserverGoldenTests.golden(name)
        let start = ObserverGoldenTests.start(expected)
        let step = ObserverGoldenTests.thorough.contains(name) ? 1 : 61
        for end in stride(from: 0, to: bytes.count, by: step) {
            var session = LearnerSession(lastZxid: start)
            session.receive(Array(bytes[..<end]), pieces: bytes.count)
            #expect(session.error == nil && expected.starts(with: session.lines), "cut at \(end)")
        }
    }

    @Test(arguments: names) func spoiledBytes(_ name: String) throws {
        let (bytes, expected) = try ObserverGoldenTests.golden(name)
        let start = ObserverGoldenTests.start(expected)
        var random = SeededGenerator(seed: 8)
        for _ in 0..<(ObserverGoldenTests.thorough.contains(name) ? 3_000 : 100) {
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
    @Test(arguments: versions) func transactionsCutShort(_ version: String) throws {
        let (bytes, _) = try ObserverGoldenTests.golden("observer-diff-\(version)")
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
    private(set) var transactions: [Transaction] = []
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
        case .transaction(let transaction, _):
            transactions.append(transaction)
            lines.append(transaction.line)
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
    fileprivate var effectLines: [String] { effects.map { "\($0.index) \($0.operation.line)" } }
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
