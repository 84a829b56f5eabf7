import Foundation

/// Three ZooKeeper servers that form one ensemble.
public final class ZooKeeperEnsemble: Sendable {
    public let servers: [ZooKeeperServer]

    /// host:port,host:port,host:port
    public var connectString: String { servers.map(\.address).joined(separator: ",") }

    private init(_ servers: [ZooKeeperServer]) {
        self.servers = servers
    }

    /// Returns when all servers serve requests.
    ///
    /// - Throws: `TestServerError` as `ZooKeeperServer.start`.
    public static func start() async throws -> ZooKeeperEnsemble {
        var members: [String] = []
        for id in 1...3 {
            members.append("server.\(id)=127.0.0.1:\(try freePort()):\(try freePort())")
        }
        var servers: [ZooKeeperServer] = []
        for id in 1...3 {
            let directory = try TemporaryDirectory()
            try "\(id)\n".write(toFile: "\(directory.path)/myid", atomically: false, encoding: .utf8)
            servers.append(
                try ZooKeeperServer(
                    port: try freePort(), directory: directory,
                    extraConfiguration: ["initLimit=50", "syncLimit=20"] + members))
        }
        let ensemble = ZooKeeperEnsemble(servers)
        do {
            for server in servers { try await server.waitUntilReady() }
        } catch {
            await ensemble.stop()
            throw error
        }
        return ensemble
    }

    /// The server that leads, if one does.
    public var leader: ZooKeeperServer? { servers.first { $0.mode == "leader" } }

    /// Kills all servers with SIGKILL and starts them again. Returns when all serve.
    public func restart() async throws {
        for server in servers { server.kill() }
        for server in servers { try await server.relaunch() }
        for server in servers { try await server.waitUntilReady() }
    }

    public func stop() async {
        for server in servers { await server.stop() }
    }
}
