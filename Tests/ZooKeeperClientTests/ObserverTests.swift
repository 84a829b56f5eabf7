import Logging
import TestServers
import Testing

@testable import ZooKeeperClient

/// Against an ensemble of three servers, which all of these leave alone.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct ObserverTests {
    /// A client below a new path; both are handed over.
    private func withWriter<Value: Sendable>(
        _ path: String, _ body: @Sendable @escaping (ZooKeeperEnsemble, ZooKeeperClient) async throws -> Value
    ) async throws -> Value {
        let ensemble = try await SharedEnsemble.get()
        return try await withClient(try configuration(ensemble.connectString)) { client in
            try await client.create(path)
            return try await body(ensemble, client)
        }
    }

    @Test func everyTransactionOfAWriterIsSeenOnceInOrder() async throws {
        try await withWriter("/every") { ensemble, client in
            try await withObserver(try observing(ensemble)) { reader in
                let start = try await reader.read { $0.isLive }
                #expect(start.syncs.count == 1 && start.tree.nodes["/every"] != nil)
                #expect(start.tree.nodes["/"] != nil && start.tree.nodes["/zookeeper/config"] != nil)
                let requests: [ZooKeeperRequest] = (0..<500).flatMap { number in
                    [
                        .create(path: "/every/\(number)", data: [1]),
                        .setData(path: "/every/\(number)", data: [2]),
                        .setData(path: "/every/none", data: []), .delete(path: "/every/\(number)"),
                    ]
                }
                let acknowledged = try await sendAll(client, requests)
                #expect(acknowledged.count == 1_500)
                let last = acknowledged.values.max() ?? 0
                let seen = try await reader.read { $0.lastZxid >= last }
                let mine = seen.transactions.filter { $0.session == client.state.sessionID }
                #expect(
                    mine.map(\.zxid) == mine.map(\.zxid).sorted() && Set(mine.map(\.zxid)).count == mine.count
                )
                // Those that failed, too.
                #expect(mine.count == 2_000 && mine.count { $0.operation == .error(-101) } == 500)
                let byZxid = Dictionary(uniqueKeysWithValues: mine.map { ($0.zxid, $0.operation) })
                for (index, zxid) in acknowledged {
                    #expect(byZxid[zxid]?.path == requests[index].path)
                }
                #expect(seen.syncs.count == 1 && seen.failures.allSatisfy { $0.code == .connectionFailed })
            }
        }
    }

    @Test func tenThousandRapidSetsOfOneNodeAreAllSeen() async throws {
        try await withWriter("/rapid") { ensemble, client in
            try await withObserver(try observing(ensemble)) { reader in
                try await reader.read { $0.isLive }
                let values = (0..<10_000).map { Array("\($0)".utf8) }
                async let acknowledged = sendAll(client, values.map { .setData(path: "/rapid", data: $0) })
                let seen = try await reader.read { seen in
                    if case .setData("/rapid", let data, _) = seen.transactions.last?.operation {
                        return data == values.last
                    }
                    return false
                }
                #expect(try await acknowledged.count == 10_000)
                let sets = seen.transactions.compactMap { transaction -> ([UInt8], Int32)? in
                    guard case .setData("/rapid", let data, let version) = transaction.operation else {
                        return nil
                    }
                    return (data, version)
                }
                #expect(sets.map(\.0) == values)
                #expect(sets.map(\.1) == Array(1...10_000))
            }
        }
    }

    @Test func resumingByZxidIsADifferenceWithoutLoss() async throws {
        try await withWriter("/resume") { ensemble, client in
            let first = try await withObserver(try observing(ensemble)) { reader in
                try await reader.read { $0.isLive }
            }
            // More than the leader keeps in memory.
            let acknowledged = try await sendAll(
                client, (0..<2_000).map { .setData(path: "/resume", data: Array("\($0)".utf8)) })
            let last = acknowledged.values.max() ?? 0
            let seen = try await withObserver(try observing(ensemble, from: first.lastZxid)) { reader in
                try await reader.read { $0.isLive && $0.lastZxid >= last }
            }
            #expect(seen.syncs == [.difference])
            #expect(seen.transactions.map(\.zxid) == Array((first.lastZxid + 1)...seen.lastZxid))
            #expect(Set(acknowledged.values).isSubset(of: Set(seen.transactions.map(\.zxid))))
            // From where it ended: nothing.
            let again = try await withObserver(try observing(ensemble, from: seen.lastZxid)) { reader in
                try await reader.read { $0.isLive }
            }
            #expect(
                again.syncs == [.difference] && again.transactions.count { $0.zxid <= seen.lastZxid } == 0)
        }
    }

    @Test func theEndOfASessionNamesItsEphemeralNodes() async throws {
        try await withWriter("/closed") { ensemble, client in
            try await withObserver(try observing(ensemble)) { reader in
                try await reader.read { $0.isLive }
                let session = try await withClient(try configuration(ensemble.connectString)) { other in
                    for name in ["z", "a", "m"] {
                        try await other.create("/closed/\(name)", mode: .ephemeral)
                    }
                    return other.state.sessionID
                }
                let seen = try await reader.read { seen in
                    seen.transactions.contains {
                        if case .closeSession = $0.operation { $0.session == session } else { false }
                    }
                }
                let mine = seen.transactions.filter { $0.session == session }
                #expect(mine.last?.effects.map(\.operation.path) == ["/closed/a", "/closed/m", "/closed/z"])
                #expect(mine.last?.effects.map(\.index) == [0, 1, 2])
                let kinds = mine.compactMap { transaction -> Transaction.NodeKind? in
                    guard case .create(_, _, _, let kind, _) = transaction.operation else { return nil }
                    return kind
                }
                #expect(kinds == [.ephemeral, .ephemeral, .ephemeral])
                #expect(Array(seen.tree.below("/closed").keys) == ["/closed"])
            }
        }
    }

    @Test func aMultiStaysTogether() async throws {
        try await withWriter("/multi") { ensemble, client in
            try await withObserver(try observing(ensemble)) { reader in
                try await reader.read { $0.isLive }
                _ = try await client.perform(
                    .multi([
                        .check(path: "/multi", version: 0), .create(path: "/multi/a", data: [1]),
                        .setData(path: "/multi/a", data: [2]), .delete(path: "/multi/a", version: 1),
                    ]))
                let code = await code {
                    _ = try await client.perform(
                        .multi([.setData(path: "/multi", data: [9]), .delete(path: "/multi/none")]))
                }
                #expect(code == .noNode)
                try await client.setData("/multi", data: [7])
                let seen = try await reader.read { $0.tree.nodes["/multi"]?.data == [7] }
                let multis = seen.transactions.filter {
                    if case .multi = $0.operation { true } else { false }
                }
                #expect(multis.map(\.effects.count) == [4, 0])
                #expect(multis.first?.effects.map(\.index) == [0, 1, 2, 3])
                guard case .multi(let parts) = multis.last?.operation else { return }
                #expect(parts.contains { $0.isError })
                #expect(seen.tree.nodes["/multi"]?.version == 1)
            }
        }
    }

    /// While it is made the leader goes on writing.
    @Test func aSnapshotOfTenThousandNodesIsTheTree() async throws {
        try await withWriter("/tree") { ensemble, client in
            let created = try await sendAll(
                client, (0..<10_000).map { .create(path: "/tree/\($0)", data: Array("value \($0)".utf8)) })
            #expect(created.count == 10_000)
            async let written = sendAll(
                client,
                (0..<6_000).map { number in
                    switch number % 3 {
                    case 0: .setData(path: "/tree/\(number)", data: [1])
                    case 1: .delete(path: "/tree/\(number)")
                    default: .create(path: "/tree/\(number)/child", data: [2])
                    }
                })
            let seen = try await withObserver(try observing(ensemble)) { reader in
                try await reader.read { $0.isLive }
                try await reader.read { $0.tree.nodes["/tree/5999/child"] != nil }
                return reader.seen
            }
            #expect(try await written.count == 6_000)
            if case .snapshot = seen.syncs.first {} else { Issue.record("no snapshot: \(seen.syncs)") }
            let expected = try await readTree(client, "/tree")
            #expect(expected.count == 1 + 10_000 && seen.tree.below("/tree") == expected)
        }
    }

    @Test func aFollowerServesObserversToo() async throws {
        try await withWriter("/master") { ensemble, client in
            let configuration = try observing(ensemble) { configuration in
                configuration.quorumServers = []
                configuration.observerMasters =
                    (try? ConnectString(parsing: ensemble.observerMasterAddresses.joined(separator: ","))
                        .servers)
                    ?? []
                configuration.usesAnnouncedServers = false
            }
            try await withObserver(configuration) { reader in
                try await reader.read { $0.isLive }
                let acknowledged = try await sendAll(
                    client, (0..<1_000).map { .setData(path: "/master", data: Array("\($0)".utf8)) })
                let last = acknowledged.values.max() ?? 0
                let seen = try await reader.read { $0.lastZxid >= last }
                #expect(Set(acknowledged.values).isSubset(of: Set(seen.transactions.map(\.zxid))))
            }
        }
    }

    @Test func anEnsembleThatIsBehindIsGivenUp() async throws {
        let ensemble = try await SharedEnsemble.get()
        for ahead in [Int64(1) << 60, 1 << 31] {
            let leader = try await withObserver(try observing(ensemble)) { reader in
                try await reader.read { $0.isLive }.lastZxid
            }
            let ended = await code {
                let configuration = try observing(ensemble, from: leader + ahead) {
                    $0.behindLimit = .milliseconds(300)
                }
                _ = try await withObserver(configuration) { reader in try await reader.read { $0.isLive } }
            }
            #expect(ended == .ensembleBehind)
        }
    }

    /// Neither has a name, so the leader must not take them for one.
    @Test func twoObserversSeeTheSame() async throws {
        try await withWriter("/two") { ensemble, client in
            try await withObserver(try observing(ensemble)) { one in
                try await withObserver(try observing(ensemble)) { other in
                    try await one.read { $0.isLive }
                    try await other.read { $0.isLive }
                    let acknowledged = try await sendAll(
                        client, (0..<500).map { .setData(path: "/two", data: Array("\($0)".utf8)) })
                    let last = acknowledged.values.max() ?? 0
                    let seenByOne = try await one.read { $0.lastZxid >= last }.transactions
                    let seenByOther = try await other.read { $0.lastZxid >= last }.transactions
                    let mine = Set(acknowledged.values)
                    let ours = seenByOne.filter { mine.contains($0.zxid) }
                    #expect(ours.count == 500 && ours == seenByOther.filter { mine.contains($0.zxid) })
                }
            }
        }
    }

    @Test func cancellingEndsIt() async throws {
        let ensemble = try await SharedEnsemble.get()
        let observer = ZooKeeperObserver(
            configuration: try observing(ensemble), logger: Logger(label: "test"))
        let running = Task { try await observer.run() }
        while try await observer.nextEvents(timeout: .seconds(10)).isEmpty {}
        running.cancel()
        try await running.value
        let ended = await code { while true { _ = try await observer.nextEvents(timeout: .seconds(10)) } }
        #expect(ended == .closed)
        #expect(await code { try await observer.run() } == .badArguments)
        let none = ZooKeeperObserver(
            configuration: ObserverConfiguration(quorumServers: []), logger: Logger(label: "test"))
        #expect(await code { try await none.run() } == .badArguments)
    }
}
