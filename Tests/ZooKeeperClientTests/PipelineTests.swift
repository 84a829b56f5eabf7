import TestServers
import Testing

@testable import ZooKeeperClient

@Suite(.timeLimit(.minutes(1)))
struct PipelineTests {
    @Test func tenThousandReadsKeepTheirOrder() async throws {
        try await withClient(chroot: "/pipelined") { client in
            for index in 0..<100 {
                try await client.create("/\(index)", data: [UInt8](repeating: UInt8(index), count: 100))
            }
            _ = try await client.nextEvents(timeout: .seconds(5))
            let start = ContinuousClock.now
            for batch in 0..<20 {
                client.send((0..<500).map { (.getData("/\($0 % 100)"), UInt64(batch * 500 + $0)) })
            }
            var next: UInt64 = 0
            while next < 10_000 {
                for event in try await client.nextEvents(timeout: .seconds(10)) {
                    guard case .reply(next, let zxid, .success(.data(let data, _))) = event, zxid > 0 else {
                        Issue.record("\(event) where \(next) is due")
                        return
                    }
                    #expect(data.first == UInt8(next % 100) && data.count == 100)
                    next += 1
                }
            }
            print("10,000 pipelined getData: \(ContinuousClock.now - start)")
        }
    }

    /// A change's notification comes before any reply that shows the change.
    @Test func notificationsPrecedeWhatShowsThem() async throws {
        try await withClient(chroot: "/ordered") { client in
            try await client.create("/node", data: [0, 0])
            try await client.addWatch("/node", mode: .persistentRecursive)
            _ = try await client.nextEvents(timeout: .zero)
            let server = try await SharedServer.get()
            let writer = Task {
                try await withClient(try configuration(server.address + "/ordered")) { other in
                    for value in 1...300 {
                        try await other.setData("/node", data: [UInt8(value >> 8), UInt8(value & 255)])
                    }
                }
            }
            var notified = 0
            var shown = 0
            var tag: UInt64 = 0
            while shown < 300 {
                tag += 1
                client.send([(.getData("/node"), tag)])
                for event in try await client.nextEvents(timeout: .seconds(5)) {
                    switch event {
                    case .notification: notified += 1
                    case .reply(_, _, .success(.data(let data, _))):
                        shown = Int(data[0]) << 8 | Int(data[1])
                        #expect(shown <= notified)
                    default: Issue.record("\(event)")
                    }
                }
            }
            #expect(notified == 300)
            try await writer.value
        }
    }

    @Test func recursiveWatchSeesAllBelowARootThatComesAndGoes() async throws {
        try await withClient(chroot: "/recursive") { client in
            try await client.addWatch("/root", mode: .persistentRecursive)
            try await client.create("/root")
            try await client.create("/root/child")
            try await client.setData("/root/child", data: [1])
            try await client.create("/other")
            try await client.delete("/root/child")
            try await client.delete("/root")
            try await client.create("/root")
            let seen = try await events(of: client) { _ in client.state.isConnected }
            let more = try await client.nextEvents(timeout: .milliseconds(100))
            let notifications = (seen + more).compactMap(\.notification)
            #expect(
                notifications.map { "\($0.type) \($0.path)" } == [
                    "created /root", "created /root/child", "dataChanged /root/child", "deleted /root/child",
                    "deleted /root", "created /root",
                ])
            try await client.removeWatches("/root")
            try await client.delete("/root")
            #expect(try await client.nextEvents(timeout: .milliseconds(100)).isEmpty)
        }
    }

    @Test func persistentWatchSeesChildren() async throws {
        try await withClient(chroot: "/persistent") { client in
            try await client.create("/root")
            try await client.addWatch("/root", mode: .persistent)
            try await client.create("/root/a")
            try await client.create("/root/a/b")
            try await client.setData("/root", data: [1])
            let seen = try await events(of: client) { $0.notification?.type == .dataChanged }
            #expect(seen.compactMap(\.notification?.type) == [.childrenChanged, .dataChanged])
        }
    }

    /// Reading stops at the limit and goes on when events are fetched; nothing is lost and the session stays.
    @Test func slowConsumerHoldsBackTheServer() async throws {
        let limits: (inout ZooKeeperConfiguration) -> Void = {
            $0.eventQueueLimit = 100
            $0.sessionTimeout = .milliseconds(800)
        }
        try await withClient(chroot: "/slow", limits) { client in
            try await client.create("/node", data: [UInt8](repeating: 7, count: 20_000))
            _ = try await client.nextEvents(timeout: .seconds(1))
            client.send((0..<2000).map { (.getData("/node"), UInt64($0)) })
            try await Task.sleep(for: .seconds(1.5))
            #expect(client.state.isConnected)
            var tags: [UInt64] = []
            var largest = 0
            while tags.count < 2000 {
                let batch = try await client.nextEvents(timeout: .seconds(5))
                largest = max(largest, batch.count)
                #expect(!batch.isEmpty && !batch.contains { $0.isDisconnected })
                tags += batch.compactMap(\.tag)
                if batch.isEmpty { break }
            }
            #expect(tags == Array(0..<2000))
            #expect(largest < 1000)
        }
    }

    @Test func clientWithoutAConsumerForgets() async throws {
        try await withClient(chroot: "/forgotten", { $0.eventQueueLimit = 10 }) { client in
            try await client.addWatch("/", mode: .persistentRecursive)
            for index in 0..<100 { try await client.create("/\(index)") }
            let kept = try await client.nextEvents(timeout: .zero)
            #expect(kept.count <= 10)
            #expect(kept.last?.notification?.path == "/99")
        }
    }

    @Test func hundredsOfCallersAtOnce() async throws {
        try await withClient(chroot: "/callers", { $0.maximumRequestsInFlight = 50 }) { client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<500 {
                    group.addTask {
                        let path = try await client.create("/\(index)", data: Array("\(index)".utf8))
                        let data = try await client.getData(path).data
                        #expect(data == Array("\(index)".utf8))
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await client.children("/").count == 500)
        }
    }
}
