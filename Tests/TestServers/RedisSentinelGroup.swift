import Foundation

/// A master, its replica and one Sentinel that watches them under the name `main`.
public final class RedisSentinelGroup: Sendable {
    public let servers: [RedisServer]
    public let sentinelPort: Int
    private let directory: TemporaryDirectory
    private let sentinel: ServerProcess
    private let isEncrypted: Bool

    /// redis+sentinel://127.0.0.1:port/main/0, or rediss+sentinel://
    public var url: String {
        "\(isEncrypted ? "rediss" : "redis")+sentinel://127.0.0.1:\(sentinelPort)/main/0"
    }

    private init(
        _ servers: [RedisServer], port: Int, directory: TemporaryDirectory, sentinel: ServerProcess,
        isEncrypted: Bool
    ) {
        self.servers = servers
        self.isEncrypted = isEncrypted
        sentinelPort = port
        self.directory = directory
        self.sentinel = sentinel
    }

    /// Returns when the replica follows its master and Sentinel knows both.
    ///
    /// - Parameters:
    ///   - extraConfiguration: lines of redis.conf for every server, the Sentinel too.
    ///   - isEncrypted: all ports take TLS only; the configuration has to have certificates then.
    /// - Throws: `TestServerError` as `RedisServer.start`.
    public static func start(
        _ extraConfiguration: [String] = [], isEncrypted: Bool = false
    ) async throws -> RedisSentinelGroup {
        let common = (isEncrypted ? ["tls-replication yes"] : []) + extraConfiguration
        let master = try await RedisServer.start(common, isEncrypted: isEncrypted)
        let replica = try await RedisServer.start(
            ["replicaof 127.0.0.1 \(master.port)"] + common, isEncrypted: isEncrypted)
        let directory = try TemporaryDirectory()
        let port = try freePort()
        let lines =
            [
                isEncrypted ? "port 0\ntls-port \(port)" : "port \(port)", "bind 127.0.0.1",
                "dir \(directory.path)", "unixsocket \(directory.path)/sentinel.sock",
                "sentinel monitor main 127.0.0.1 \(master.port) 1",
                "sentinel down-after-milliseconds main 300",
                "sentinel failover-timeout main 1000",
            ] + common
        let file = "\(directory.path)/sentinel.conf"
        try lines.map { $0 + "\n" }.joined().write(toFile: file, atomically: false, encoding: .utf8)
        let sentinel = try ServerProcess(
            executable: "redis-server", arguments: [file, "--sentinel"], directory: directory.path,
            logFile: "\(directory.path)/sentinel.log")
        let group = RedisSentinelGroup(
            [master, replica], port: port, directory: directory, sentinel: sentinel,
            isEncrypted: isEncrypted)
        do {
            try await group.waitUntilReplicated()
        } catch {
            await group.stop()
            throw error
        }
        return group
    }

    /// The server that Sentinel names as the master.
    public func master() throws -> RedisServer {
        let answer = try ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main").split(separator: "\n")
        guard answer.count == 2, let port = Int(answer[1]),
            let server = servers.first(where: { $0.port == port })
        else { throw TestServerError("Sentinel names no master of the group: \(answer)") }
        return server
    }

    public func replica() throws -> RedisServer {
        let master = try master()
        guard let other = servers.first(where: { $0.port != master.port }) else {
            throw TestServerError("there is no second server")
        }
        return other
    }

    /// Returns when the master has its replica, and Sentinel has seen it.
    public func waitUntilReplicated() async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < deadline {
            if let master = try? master(),
                (try? master.cli("INFO", "replication"))?.contains("state=online") == true,
                (try? ask("SENTINEL", "REPLICAS", "main"))?.contains("master-link-status\nok") == true
            {
                return
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw TestServerError("no replica within 30 s")
    }

    /// Asks Sentinel to make the replica the master.
    public func failOver() throws { _ = try ask("SENTINEL", "FAILOVER", "main") }

    private func ask(_ arguments: String...) throws -> String {
        try RedisServer.cli(
            ["-s", "\(directory.path)/sentinel.sock"], directory: directory.path, arguments)
    }

    public func stop() async {
        await sentinel.terminate()
        for server in servers { await server.stop() }
    }
}
