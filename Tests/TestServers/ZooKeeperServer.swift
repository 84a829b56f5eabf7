import Foundation
import Synchronization

/// A real standalone ZooKeeper (Debian's package) on a free port of 127.0.0.1, with its own directory.
public final class ZooKeeperServer: Sendable {
    public let port: Int
    let directory: TemporaryDirectory
    private let extraConfiguration: [String]
    private let virtualMachine: [String]
    private let running: Mutex<ServerProcess>

    /// 127.0.0.1:port
    public var address: String { "127.0.0.1:\(port)" }

    /// The process of the last start.
    public var process: ServerProcess { running.withLock { $0 } }

    /// The server's output.
    public var logFile: String { "\(directory.path)/zookeeper.log" }

    init(
        port: Int, directory: TemporaryDirectory, extraConfiguration: [String], virtualMachine: [String] = []
    ) throws {
        self.port = port
        self.directory = directory
        self.extraConfiguration = extraConfiguration
        self.virtualMachine = virtualMachine
        running = Mutex(
            try ZooKeeperServer.launch(port, directory, extraConfiguration, virtualMachine))
    }

    /// Returns when the server serves requests. Sessions may be as short as 400 ms.
    ///
    /// - Parameters:
    ///   - extraConfiguration: lines of zoo.cfg, such as `snapCount=100`.
    ///   - virtualMachine: options of Java, such as `-Djute.maxbuffer=4194304`.
    /// - Throws: `TestServerError` where Java or ZooKeeper is not installed or the server does not start.
    public static func start(
        _ extraConfiguration: [String] = [], virtualMachine: [String] = []
    ) async throws -> ZooKeeperServer {
        var attempt = 1
        while true {
            let server = try ZooKeeperServer(
                port: try freePort(), directory: try TemporaryDirectory(),
                extraConfiguration: extraConfiguration, virtualMachine: virtualMachine)
            do {
                try await server.waitUntilReady()
                return server
            } catch let error as TestServerError {
                // Somebody else may take the port before the server does.
                server.kill()
                guard attempt < 3, error.description.contains("Address already in use") else { throw error }
                attempt += 1
            }
        }
    }

    private static let jar = "/usr/share/java/zookeeper.jar"

    private static func launch(
        _ port: Int, _ directory: TemporaryDirectory, _ extraConfiguration: [String],
        _ virtualMachine: [String]
    ) throws -> ServerProcess {
        guard FileManager.default.fileExists(atPath: jar) else {
            throw TestServerError("\(jar) is not there; the tests need the package 'zookeeper'")
        }
        let lines =
            [
                "tickTime=200", "dataDir=\(directory.path)", "clientPort=\(port)",
                "clientPortAddress=127.0.0.1",
                "maxSessionTimeout=60000", "maxClientCnxns=0", "admin.enableServer=false",
                "4lw.commands.whitelist=*",
            ] + extraConfiguration
        let text = lines.map { $0 + "\n" }.joined()
        try text.write(toFile: "\(directory.path)/zoo.cfg", atomically: false, encoding: .utf8)
        return try ServerProcess(
            executable: "java",
            arguments: [
                "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dzookeeper.forceSync=no",
            ] + virtualMachine + [
                // netty's two for TLS, which Debian's package forgets.
                "-cp",
                "/usr/share/java/slf4j-simple.jar:\(jar):/usr/share/java/netty-codec.jar"
                    + ":/usr/share/java/netty-resolver.jar",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", "\(directory.path)/zoo.cfg",
            ],
            directory: directory.path, logFile: "\(directory.path)/zookeeper.log")
    }

    /// Ends the server in an orderly way.
    public func stop() async {
        await process.terminate()
    }

    /// SIGKILL. Returns at once.
    public func kill() {
        process.kill()
    }

    /// Starts the server again, ending it first if it runs: same port, data and configuration.
    public func restart() async throws {
        try await relaunch()
        try await waitUntilReady()
    }

    /// As `restart`, without waiting for it to serve.
    func relaunch() async throws {
        await process.terminate()
        let next = try ZooKeeperServer.launch(port, directory, extraConfiguration, virtualMachine)
        running.withLock { $0 = next }
    }

    /// What `srvr` says behind `Mode: `: standalone, leader or follower; `nil` while it serves nobody.
    public var mode: String? {
        fourLetterWord("srvr", port: port)?.split(separator: "\n")
            .first { $0.hasPrefix("Mode: ") }.map { String($0.dropFirst("Mode: ".count)) }
    }

    func waitUntilReady(timeout: Duration = .seconds(30)) async throws {
        let deadline = ContinuousClock.now + timeout
        while ContinuousClock.now < deadline {
            guard process.isRunning else { throw TestServerError("ZooKeeper ended: \(logTail())") }
            if mode != nil { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        process.kill()
        throw TestServerError("ZooKeeper did not answer within \(timeout): \(logTail())")
    }

    private func logTail() -> String {
        let bytes = FileManager.default.contents(atPath: logFile) ?? Data()
        return String(decoding: bytes.suffix(2_000), as: UTF8.self)
    }
}
