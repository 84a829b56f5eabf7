import Logging
import TestServers
import Testing

@testable import ZooKeeperClient

@Suite(.serialized, .timeLimit(.minutes(4)))
struct ObserverFaultTests {
    /// Creates numbered nodes, one after the other, until told to stop: `acknowledged` are those that exist.
    private static func write(
        _ ensemble: ZooKeeperEnsemble, writer: Int, until isOver: Flag
    ) async throws -> Set<String> {
        let client = ZooKeeperClient(
            configuration: try configuration(ensemble.connectString), logger: Logger(label: "test"))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await client.run() }
            var acknowledged: Set<String> = []
            var number = 0
            while !isOver.isSet {
                number += 1
                let path = "/load-\(writer)-\(number)"
                if (try? await client.create(path)) != nil { acknowledged.insert(path) }
            }
            await client.close()
            try await group.waitForAll()
            return acknowledged
        }
    }

    @Test func theLeaderIsKilledTwiceUnderLoad() async throws {
        let ensemble = try await ZooKeeperEnsemble.start(virtualMachine: SharedEnsemble.wholeHistory)
        // It learns of the others from the first.
        let first = try #require(ensemble.servers.firstIndex { $0.mode == "leader" })
        let ofFirst = try observing(ensemble) { $0.quorumServers = [$0.quorumServers[first]] }
        try await withObserver(ofFirst) { reader in
            try await reader.read { $0.isLive }
            let isOver = Flag()
            let written = try await withThrowingTaskGroup(of: Set<String>.self) { group in
                for writer in 0..<3 {
                    group.addTask {
                        try await ObserverFaultTests.write(ensemble, writer: writer, until: isOver)
                    }
                }
                defer { isOver.set() }
                for kill in 1...2 {
                    try await reader.read { $0.isLive && $0.transactions.count > kill * 500 }
                    let leader = try #require(ensemble.leader)
                    leader.kill()
                    try await reader.read { !$0.isLive }
                    try await reader.read { $0.isLive }
                    try await leader.restart()
                }
                let count = reader.seen.transactions.count
                try await reader.read { $0.isLive && $0.transactions.count > count + 500 }
                isOver.set()
                return try await group.reduce(into: Set<String>()) { $0.formUnion($1) }
            }
            _ = try await withClient(try configuration(ensemble.connectString)) { client in
                try await client.create("/end")
            }
            let seen = try await reader.read { $0.isLive && $0.tree.nodes["/end"] != nil }
            let zxids = seen.transactions.map(\.zxid)
            #expect(zip(zxids, zxids.dropFirst()).allSatisfy { $0 < $1 }, "strictly in order, none twice")
            let created = seen.transactions.compactMap { transaction -> String? in
                guard case .create(let path, _, _, _, _) = transaction.operation else { return nil }
                return path
            }
            #expect(Set(created).count == created.count)
            let missing = written.subtracting(created)
            #expect(missing.isEmpty, "of \(written.count) acknowledged writes")
            #expect(written.count > 1_000)
            // A snapshot at the start, then differences alone.
            #expect(seen.syncs.dropFirst().allSatisfy { $0 == .difference } && seen.syncs.count >= 3)
            print(
                "leader killed twice: \(zxids.count) transactions, \(written.count) acknowledged creates, "
                    + "\(missing.count) missing, \(seen.syncs.count) syncs")
        }
        await ensemble.stop()
    }

    /// Longer than the leader waits for an answer (20 ticks of 200 ms): signs of life keep the connection, and nothing is
    /// lost without them.
    @Test(arguments: [true, false]) func aSlowConsumer(_ givesSignsOfLife: Bool) async throws {
        let ensemble = try await SharedEnsemble.get()
        try await withClient(try configuration(ensemble.connectString)) { client in
            try await client.create("/slow\(givesSignsOfLife)")
            let configuration = try observing(ensemble) { configuration in
                configuration.readAheadBytes = 64 << 10
                if !givesSignsOfLife { configuration.keepAliveInterval = .seconds(100) }
            }
            try await withObserver(configuration) { reader in
                let start = try await reader.read { $0.isLive }
                let acknowledged = try await ObserverFaultTests.flood(client, "/slow\(givesSignsOfLife)")
                try await Task.sleep(for: .seconds(6))
                let seen = try await reader.read { $0.lastZxid >= acknowledged }
                #expect(givesSignsOfLife == (seen.syncs.count == 1))
                #expect(seen.transactions.map(\.zxid) == Array((start.lastZxid + 1)...seen.lastZxid))
            }
        }
    }

    @Test func aConsumerThatStandsStillIsLetGoAndLosesNothing() async throws {
        let ensemble = try await SharedEnsemble.get()
        try await withClient(try configuration(ensemble.connectString)) { client in
            try await client.create("/still")
            let configuration = try observing(ensemble) { configuration in
                configuration.readAheadBytes = 64 << 10
                configuration.stallLimit = .milliseconds(500)
            }
            try await withObserver(configuration) { reader in
                let start = try await reader.read { $0.isLive }
                let acknowledged = try await ObserverFaultTests.flood(client, "/still")
                try await Task.sleep(for: .seconds(2))
                let seen = try await reader.read { $0.isLive && $0.lastZxid >= acknowledged }
                #expect(seen.failures.contains { $0.code == .stalled })
                #expect(seen.syncs.dropFirst().contains(.difference))
                #expect(seen.transactions.map(\.zxid) == Array((start.lastZxid + 1)...seen.lastZxid))
            }
        }
    }

    /// 32 MB, more than sockets hold.
    private static func flood(_ client: ZooKeeperClient, _ path: String) async throws -> Int64 {
        let data = [UInt8](repeating: 7, count: 32 << 10)
        let acknowledged = try await sendAll(
            client, (0..<1_000).map { _ in .setData(path: path, data: data) })
        return acknowledged.values.max() ?? 0
    }

    /// As if one side were frozen: nobody answers for longer than both sides wait.
    @Test func aStalledConnectionIsGivenUpAndLosesNothing() async throws {
        let ensemble = try await SharedEnsemble.get()
        var proxies: [TCPProxy] = []
        for address in ensemble.quorumAddresses { proxies.append(try await TCPProxy.start(to: address)) }
        let all = proxies
        try await withClient(try configuration(ensemble.connectString)) { client in
            try await client.create("/frozen")
            let configuration = try observing(ensemble) { configuration in
                configuration.quorumServers = all.map { ZooKeeperAddress(host: "127.0.0.1", port: $0.port) }
                configuration.usesAnnouncedServers = false
                configuration.silenceTimeout = .seconds(2)
                configuration.syncTimeout = .seconds(3)
            }
            try await withObserver(configuration) { reader in
                let start = try await reader.read { $0.isLive }
                for proxy in all { proxy.stall(true) }
                let acknowledged = try await sendAll(
                    client, (0..<1_000).map { .setData(path: "/frozen", data: Array("\($0)".utf8)) })
                let last = acknowledged.values.max() ?? 0
                try await reader.read { $0.failures.contains { $0.code == .timeout } }
                for proxy in all {
                    proxy.stall(false)
                    proxy.cutAll()
                }
                let seen = try await reader.read { $0.isLive && $0.lastZxid >= last }
                #expect(seen.transactions.map(\.zxid) == Array((start.lastZxid + 1)...seen.lastZxid))
            }
        }
        for proxy in all { await proxy.stop() }
    }
}
