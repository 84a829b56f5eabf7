import Logging
import TestServers
import Testing

@testable import ZooKeeperClient

@Suite(.timeLimit(.minutes(1)))
struct SessionTests {
    @Test func sessionIsAttachedAgainAfterACut() async throws {
        let proxy = try await TCPProxy.start(to: try await SharedServer.get().address)
        try await withClient(try configuration(proxy.address)) { client in
            try await client.create("/cut", mode: .ephemeral)
            let session = client.state.sessionID
            proxy.cutAll()
            let seen = try await events(of: client) { event in
                if case .connected(let id, false, _) = event { id == session } else { false }
            }
            #expect(seen.contains { $0.isDisconnected } && !seen.contains { $0.isExpired })
            #expect(try await client.exists("/cut")?.ephemeralOwner == session)
        }
        await proxy.stop()
    }

    @Test func everyTagIsAnsweredBeforeTheDisconnect() async throws {
        let proxy = try await TCPProxy.start(to: try await SharedServer.get().address)
        let small = try configuration(proxy.address) { $0.maximumRequestsInFlight = 100 }
        try await withClient(small) { client in
            _ = try await events(of: client, until: \.isConnected)
            proxy.stall(true)
            client.send((0..<1000).map { (.getData("/"), UInt64($0)) })
            try await Task.sleep(for: .milliseconds(50))
            proxy.cutAll()
            proxy.stall(false)
            let seen = try await events(of: client, until: \.isDisconnected)
            let end = seen.firstIndex(where: \.isDisconnected) ?? 0
            #expect(seen[..<end].compactMap(\.tag).sorted() == Array(0..<1000))
            #expect(seen[..<end].allSatisfy { $0.failure?.code == .connectionLoss })
            proxy.refuse(true)
            proxy.cutAll()
            let isLost = try await eventually { !client.state.isConnected }
            #expect(isLost)
            client.send([(.getData("/"), 1000)])
            let late = try await events(of: client) { $0.tag == 1000 }
            #expect(late.last { $0.tag == 1000 }?.failure?.code == .connectionLoss)
        }
        await proxy.stop()
    }

    @Test func sessionExpiresWhileStalled() async throws {
        let proxy = try await TCPProxy.start(to: try await SharedServer.get().address)
        try await withClient(try configuration(proxy.address) { $0.sessionTimeout = .milliseconds(600) }) {
            client in
            try await client.create("/stalled", mode: .ephemeral)
            let session = client.state.sessionID
            #expect(client.state.sessionTimeout == .milliseconds(600))
            proxy.stall(true)
            let lost = try await events(of: client, until: \.isDisconnected)
            #expect(lost.last?.failure?.code == .connectionLoss)
            try await Task.sleep(for: .seconds(1.5))
            proxy.stall(false)
            proxy.cutAll()
            let seen = try await events(of: client, until: \.isConnected)
            #expect(seen.contains { $0.isExpired })
            guard case .connected(let id, true, _)? = seen.last(where: \.isConnected) else {
                Issue.record("\(seen)")
                return
            }
            #expect(id != session)
            #expect(try await client.exists("/stalled") == nil)
        }
        await proxy.stop()
    }

    @Test func idleSessionIsKeptByPings() async throws {
        let server = try await SharedServer.get()
        let short = try configuration(server.address) { $0.sessionTimeout = .seconds(1) }
        try await withClient(short) { client in
            try await client.create("/idle", mode: .ephemeral)
            try await Task.sleep(for: .seconds(2.5))
            #expect(try await client.exists("/idle") != nil)
            let seen = try await client.nextEvents(timeout: .zero)
            #expect(seen.filter(\.isConnected).count == 1 && seen.count == 1)
        }
    }

    @Test func serverRestarts() async throws {
        let server = try await ZooKeeperServer.start()
        try await withClient(try configuration(server.address)) { client in
            try await client.create("/kept")
            let zxid = client.state.lastZxid
            _ = try await events(of: client, until: \.isConnected)
            server.kill()
            let lost = try await events(of: client) { $0.failure?.code == .connectionFailed }
            #expect(lost.last?.failure?.message.contains(server.address) == true)
            try await server.restart()
            _ = try await events(of: client, until: \.isConnected)
            #expect(try await client.exists("/kept") != nil)
            #expect(client.state.lastZxid >= zxid)
        }
        await server.stop()
    }

    @Test func serverThatIsBehindIsRefused() async throws {
        let server = try await SharedServer.get()
        let ahead = try configuration(server.address) { $0.minimumZxid = 0x7fff_0000_0001 }
        try await withClient(ahead) { client in
            let seen = try await events(of: client, until: \.isDisconnected)
            let error = seen.last(where: \.isDisconnected)?.failure
            #expect(error?.code == .refusedByServer)
            #expect(error?.message.contains("behind zxid 0x7fff00000001") == true)
            #expect(error?.message.contains(server.address) == true)
            #expect(client.state.lastZxid == 0x7fff_0000_0001)
        }
    }

    @Test func anotherServerOfTheEnsembleTakesOver() async throws {
        let ensemble = try await ZooKeeperEnsemble.start()
        try await withClient(try configuration(ensemble.connectString)) { client in
            try await client.create("/here", mode: .ephemeral)
            let session = client.state.sessionID
            for _ in 0..<2 {
                _ = try await client.nextEvents(timeout: .zero)
                let connected = client.state.server
                let server = try #require(ensemble.servers.first { $0.address == connected?.description })
                server.kill()
                let seen = try await events(of: client, within: .seconds(20), until: \.isConnected)
                #expect(!seen.contains { $0.isExpired })
                #expect(client.state.server != connected)
                #expect(try await client.exists("/here")?.ephemeralOwner == session)
                try await server.restart()
            }
        }
        await ensemble.stop()
    }

    @Test func closeRemovesEphemeralsAtOnce() async throws {
        let server = try await SharedServer.get()
        try await withClient(try configuration(server.address)) { watcher in
            try await withClient(try configuration(server.address)) { client in
                try await client.create("/closing", mode: .ephemeral)
                #expect(try await watcher.exists("/closing") != nil)
            }
            #expect(try await watcher.exists("/closing") == nil)
        }
    }

    @Test func cancellationClosesInOrder() async throws {
        let server = try await SharedServer.get()
        let client = ZooKeeperClient(
            configuration: try configuration(server.address), logger: Logger(label: "test"))
        let running = Task { try await client.run() }
        try await client.create("/cancelled", mode: .ephemeral)
        running.cancel()
        try await running.value
        try await withClient(try configuration(server.address)) { other in
            let stat = try await other.exists("/cancelled")
            #expect(stat == nil)
        }
        #expect(try await client.nextEvents(timeout: nil).last?.failure?.code == .closed)
        let noMore = await code { _ = try await client.nextEvents(timeout: nil) }
        let refused = await code { _ = try await client.getData("/") }
        #expect(noMore == .closed && refused == .closed)
    }

    @Test func oversizedReplyNamesItsPath() async throws {
        try await withClient(chroot: "/large", { $0.maximumReplyBytes = 10_000 }) { client in
            _ = try await events(of: client, until: \.isConnected)
            try await client.create("/node", data: [UInt8](repeating: 1, count: 10_000))
            client.send([(.getData("/"), 1), (.getData("/node"), 2), (.getData("/"), 3)])
            let seen = try await events(of: client, until: \.isDisconnected)
            #expect(seen.compactMap(\.tag) == [1, 2, 3])
            #expect(seen.compactMap(\.failure?.code) == [.frameTooLarge, .connectionLoss, .frameTooLarge])
            #expect(seen.last?.failure?.path == "/node")
            _ = try await events(of: client, until: \.isConnected)
            let refusal = await code { _ = try await client.getData("/node") }
            #expect(refusal == .frameTooLarge)
        }
    }

    @Test func requestsTimeOut() async throws {
        let proxy = try await TCPProxy.start(to: try await SharedServer.get().address)
        let quick = try configuration(proxy.address) { $0.requestTimeout = .milliseconds(300) }
        try await withClient(quick) { client in
            // On a busy machine even the first answer may take longer than that.
            #expect(try await eventually { await code { try await client.sync() } == nil })
            proxy.stall(true)
            let start = ContinuousClock.now
            let timeout = await code { _ = try await client.getData("/") }
            #expect(timeout == .timeout)
            #expect(ContinuousClock.now - start < .seconds(2))
            proxy.stall(false)
            let isBack = try await eventually { await code { _ = try await client.getData("/") } == nil }
            #expect(isBack)
        }
        await proxy.stop()
    }

    @Test func nextEventsEndsInTimeAndWhenCancelled() async throws {
        let server = try await SharedServer.get()
        try await withClient(try configuration(server.address)) { client in
            _ = try await events(of: client, until: \.isConnected)
            #expect(try await client.nextEvents(timeout: .milliseconds(10)).isEmpty)
            let waiting = Task { try await client.nextEvents(timeout: nil) }
            try await Task.sleep(for: .milliseconds(50))
            let second = await code { _ = try await client.nextEvents(timeout: nil) }
            #expect(second == .badArguments)
            waiting.cancel()
            await #expect(throws: CancellationError.self) { _ = try await waiting.value }
        }
    }
}
