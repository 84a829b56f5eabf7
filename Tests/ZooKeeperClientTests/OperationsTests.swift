import Logging
import TestServers
import Testing

@testable import ZooKeeperClient

@Suite(.timeLimit(.minutes(1)))
struct OperationsTests {
    @Test func everyOperation() async throws {
        try await withClient(chroot: "/operations") { client in
            let path = try await client.create("/a", data: [1, 2])
            #expect(path == "/a")
            let (data, stat) = try await client.getData("/a")
            #expect(data == [1, 2])
            #expect(stat.dataLength == 2 && stat.czxid == stat.mzxid && stat.version == 0)
            #expect(try await client.setData("/a", data: [], version: 0).version == 1)
            #expect(try await client.getData("/a").data == [])
            #expect(try await client.exists("/a")?.version == 1)
            #expect(try await client.exists("/none") == nil)
            let sequential = try await client.create("/a/s-", mode: .persistentSequential)
            #expect(sequential == "/a/s-0000000000")
            try await client.create("/a/e", mode: .ephemeral)
            try await client.create("/a/container", mode: .container)
            #expect(try await client.children("/a").sorted() == ["container", "e", "s-0000000000"])
            #expect(try await client.children("/") == ["a"])
            #expect(try await client.exists("/a/e")?.ephemeralOwner == client.state.sessionID)
            try await client.sync()
            #expect(try await client.getACL("/a").acl == ACL.open)
            #expect(try await client.setACL("/a", acl: ACL.open + ACL.readOnly).aversion == 1)
            try await client.delete("/a/e")
            #expect(try await client.exists("/a/e") == nil)
            #expect(client.state.isConnected && client.state.lastZxid > 0)
        }
    }

    @Test func everyErrorIsTyped() async throws {
        try await withClient(chroot: "/errors", { $0.maximumRequestBytes = 100_000 }) { client in
            try await client.create("/a")
            try await client.create("/a/b")
            try await client.create("/e", mode: .ephemeral)
            let failures: [(ZooKeeperRequest, ZooKeeperError.Code)] = [
                (.getData("/none"), .noNode),
                (.create(path: "/a", data: []), .nodeExists),
                (.create(path: "/none/a", data: []), .noNode),
                (.delete(path: "/a"), .notEmpty),
                (.setData(path: "/a", data: [], version: 7), .badVersion),
                (.create(path: "/e/a", data: []), .noChildrenForEphemerals),
                (.setACL(path: "/a", acl: []), .invalidACL),
                (.removeWatches("/a"), .noWatcher),
                (.create(path: "/a/..", data: []), .badArguments),
                (.create(path: "a", data: []), .badArguments),
                (.check(path: "/a", version: 0), .badArguments),
                (.setData(path: "/a", data: [UInt8](repeating: 0, count: 100_000)), .frameTooLarge),
            ]
            for (request, code) in failures {
                do throws(ZooKeeperError) {
                    let response = try await client.perform(request)
                    Issue.record("\(request) was answered by \(response)")
                } catch {
                    #expect(error.code == code && error.path == request.path)
                }
            }
            let unfit = await code { try await client.multi([.getData("/a")]) }
            #expect(unfit == .badArguments)
        }
    }

    @Test func multiIsAllOrNothing() async throws {
        try await withClient(chroot: "/multi") { client in
            let responses = try await client.multi([
                .create(path: "/a", data: [1]), .create(path: "/a/s-", data: [], mode: .ephemeralSequential),
                .setData(path: "/a", data: [2], version: 0), .check(path: "/a", version: 1),
                .delete(path: "/a/s-0000000000"),
            ])
            #expect(responses.count == 5)
            guard case .created("/a", _) = responses[0], case .created("/a/s-0000000000", _) = responses[1],
                case .stat(let stat) = responses[2], responses[3] == .empty, responses[4] == .empty
            else {
                Issue.record("\(responses)")
                return
            }
            #expect(stat.version == 1)
            do throws(ZooKeeperError) {
                try await client.multi([
                    .setData(path: "/a", data: [3]), .check(path: "/a", version: 9), .delete(path: "/a"),
                ])
                Issue.record("the multi did not fail")
            } catch {
                #expect(error.code == .badVersion && error.path == "/a" && error.operation == 1)
            }
            #expect(try await client.getData("/a").data == [2])
            #expect(try await client.multi([]) == [])
        }
    }

    @Test func manyReadsInOneRequest() async throws {
        try await withClient(chroot: "/reads") { client in
            _ = try await events(of: client, until: \.isConnected)
            try await client.create("/a", data: [1])
            try await client.create("/b", data: [2, 3])
            let reads = ["/a", "/none", "/b"].map { ZooKeeperRequest.getData($0) }
            client.send([(.multiRead(reads), 1), (.multiRead([]), 2), (.multiRead([.sync("/")]), 3)])
            let seen = try await events(of: client) { $0.tag == 2 }
            for case .reply(1, _, let result) in seen {
                guard case .success(.multiRead(let results)) = result, results.count == 3,
                    case .success(.data([1], _)) = results[0], case .failure(let error) = results[1],
                    case .success(.data([2, 3], let stat)) = results[2]
                else {
                    Issue.record("\(result)")
                    return
                }
                #expect(error.code == .noNode && error.path == "/none")
                #expect(stat.dataLength == 2)
            }
            #expect(Set(seen.compactMap(\.tag)) == [1, 2, 3])
            #expect(seen.contains { $0.tag == 3 && $0.failure?.code == .badArguments })
        }
    }

    @Test func chrootIsInvisible() async throws {
        try await withClient(chroot: "/chroot") { client in
            try await client.addWatch("/", mode: .persistentRecursive)
            try await client.create("/a", data: [9])
            let seen = try await events(of: client) { $0.notification != nil }
            #expect(seen.compactMap(\.notification?.path) == ["/a"])
            let server = try await SharedServer.get()
            try await withClient(try configuration(server.address)) { outside in
                #expect(try await outside.getData("/chroot/a").data == [9])
                try await outside.setData("/chroot", data: [1])
            }
            let root = try await events(of: client) { $0.notification != nil }
            #expect(root.compactMap(\.notification?.path) == ["/"])
        }
    }

    @Test func digestOpensWhatItsACLCloses() async throws {
        let user = Authentication(scheme: "digest", credentials: Array("user:secret".utf8))
        let server = try await SharedServer.get()
        try await withClient(chroot: "/digest", { $0.authentication = [user] }) { client in
            try await client.create("/closed", data: [1], acl: ACL.creatorAll)
            #expect(try await client.getData("/closed").data == [1])
            try await withClient(try configuration(server.address + "/digest")) { stranger in
                let refusal = await code { _ = try await stranger.getData("/closed") }
                #expect(refusal == .noAuth)
            }
            let twice = try configuration(server.address + "/digest") {
                $0.authentication = [Authentication(scheme: "digest", credentials: Array("a:b".utf8)), user]
            }
            try await withClient(twice) { friend in
                let data = try await friend.getData("/closed").data
                #expect(data == [1])
            }
        }
    }

    @Test func refusedAuthenticationEndsTheClient() async throws {
        let server = try await SharedServer.get()
        let wrong = try configuration(server.address) {
            $0.authentication = [Authentication(scheme: "nonsense", credentials: [1])]
        }
        let client = ZooKeeperClient(configuration: wrong, logger: Logger(label: "test"))
        let refusal = await code { try await client.run() }
        let afterwards = await code { _ = try await client.getData("/") }
        #expect(refusal == .authenticationFailed && afterwards == .closed)
    }

    @Test func cancelledAndOverloadedCallersAreTold() async throws {
        let nobody = try configuration("127.0.0.1:\(try freePort())") {
            $0.maximumRequestsWaiting = 1
            $0.requestTimeout = .milliseconds(300)
        }
        try await withClient(nobody) { client in
            async let one = code { _ = try await client.getData("/one") }
            async let other = code { _ = try await client.getData("/other") }
            #expect(Set([await one, await other]) == [.overloaded, .timeout])
            let task = Task { await code { _ = try await client.getData("/third") } }
            task.cancel()
            #expect(await task.value == .cancelled)
        }
    }
}
