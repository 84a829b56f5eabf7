import Foundation

/// Three ZooKeeper servers that form one ensemble.
public final class ZooKeeperEnsemble: Sendable {
    public let servers: [ZooKeeperServer]

    /// 127.0.0.1:port of each server's quorum port, on which the leader listens.
    public let quorumAddresses: [String]
    /// 127.0.0.1:port of each server's `observerMasterPort`, on which followers listen.
    public let observerMasterAddresses: [String]

    /// host:port,host:port,host:port
    public var connectString: String { servers.map(\.address).joined(separator: ",") }

    private init(_ servers: [ZooKeeperServer], quorumPorts: [Int], observerMasterPorts: [Int]) {
        self.servers = servers
        quorumAddresses = quorumPorts.map { "127.0.0.1:\($0)" }
        observerMasterAddresses = observerMasterPorts.map { "127.0.0.1:\($0)" }
    }

    /// Returns when all servers serve requests.
    ///
    /// - Parameters:
    ///   - extraConfiguration: lines of zoo.cfg.
    ///   - virtualMachine: options of Java.
    /// - Throws: `TestServerError` as `ZooKeeperServer.start`.
    public static func start(
        _ extraConfiguration: [String] = [], virtualMachine: [String] = []
    ) async throws -> ZooKeeperEnsemble {
        let quorumPorts = try (1...3).map { _ in try freePort() }
        let observerMasterPorts = try (1...3).map { _ in try freePort() }
        let members = try (1...3).map { "server.\($0)=127.0.0.1:\(quorumPorts[$0 - 1]):\(try freePort())" }
        var servers: [ZooKeeperServer] = []
        for id in 1...3 {
            let directory = try TemporaryDirectory()
            try "\(id)\n".write(toFile: "\(directory.path)/myid", atomically: false, encoding: .utf8)
            servers.append(
                try ZooKeeperServer(
                    port: try freePort(), directory: directory,
                    extraConfiguration: [
                        "initLimit=50", "syncLimit=20", "observerMasterPort=\(observerMasterPorts[id - 1])",
                    ] + extraConfiguration + members, virtualMachine: virtualMachine))
        }
        let ensemble = ZooKeeperEnsemble(
            servers, quorumPorts: quorumPorts, observerMasterPorts: observerMasterPorts)
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
