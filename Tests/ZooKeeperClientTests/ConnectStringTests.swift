import Testing

@testable import ZooKeeperClient

struct ConnectStringTests {
    @Test(arguments: [
        ("a", "a:2181", nil),
        ("a:1,b:65535", "a:1,b:65535", nil),
        ("a:1, b/", "a:1,b:2181", nil),
        ("[::1]:5,[fe80::1]/x/y", "[::1]:5,[fe80::1]:2181", "/x/y"),
    ])
    func reads(_ text: String, _ servers: String, _ chroot: String?) throws {
        let connect = try ConnectString(parsing: text)
        #expect(connect.servers.map(\.description).joined(separator: ",") == servers)
        #expect(connect.chroot == chroot)
    }

    @Test(arguments: [
        "", "/x", "a,,b", "a:", "a:0", "a:65536", "a:x", "::1", "[::1", "[::1]5", "a:1:2", "a/x/", "a//x",
    ])
    func refuses(_ text: String) {
        #expect(throws: ZooKeeperError.self) { try ConnectString(parsing: text) }
    }

    @Test func rotationTriesEveryServerAndWaitsLonger() throws {
        var configuration = ZooKeeperConfiguration(connect: try ConnectString(parsing: "a,b,c"))
        configuration.backoffInitial = .milliseconds(100)
        configuration.backoffMaximum = .milliseconds(350)
        var rotation = ServerRotation(configuration)
        #expect(rotation.longestDelay == .zero)
        var delays: [Duration] = []
        var tried: [String] = []
        for _ in 0..<9 {
            tried.append(rotation.nextServer()?.host ?? "")
            rotation.ended(after: .zero)
            delays.append(rotation.longestDelay)
            #expect(rotation.delay() <= rotation.longestDelay)
        }
        #expect(tried.prefix(3).sorted() == ["a", "b", "c"] && tried[0..<3] == tried[3..<6])
        #expect(delays == [100, 100, 100, 200, 200, 200, 350, 350, 350].map { .milliseconds($0) })
        rotation.ended(after: .seconds(1))
        #expect(rotation.longestDelay == .milliseconds(100))
        let last = tried.last
        rotation.retrySame()
        #expect(rotation.nextServer()?.host == last && rotation.longestDelay > .zero)
    }
}
