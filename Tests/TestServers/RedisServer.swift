import Foundation
import Glibc
import Synchronization

/// A real `redis-server` on a free port of 127.0.0.1, with its own directory, without persistence unless
/// the configuration asks for it.
public final class RedisServer: Sendable {
    public let port: Int
    /// Whether the port takes TLS and nothing else.
    public let isEncrypted: Bool
    private let directory: TemporaryDirectory
    private let running: Mutex<ServerProcess>

    /// Database 0, without credentials.
    public var url: String { "\(isEncrypted ? "rediss" : "redis")://127.0.0.1:\(port)/0" }

    public var socketPath: String { "\(directory.path)/redis.sock" }

    /// Where the server keeps its files, its log (`redis.log`) among them.
    public var directoryPath: String { directory.path }

    /// The process of the last start.
    public var process: ServerProcess { running.withLock { $0 } }

    private init(port: Int, isEncrypted: Bool, directory: TemporaryDirectory, process: ServerProcess) {
        self.port = port
        self.isEncrypted = isEncrypted
        self.directory = directory
        running = Mutex(process)
    }

    /// Returns when the server answers.
    ///
    /// - Parameters:
    ///   - extraConfiguration: lines of redis.conf, such as `maxmemory 10mb`.
    ///   - isEncrypted: the configuration has to have certificates then (`TestAuthority.configuration`).
    /// - Throws: `TestServerError` where the server is not installed or does not start, with the end of its
    ///   log.
    public static func start(
        _ extraConfiguration: [String] = [], isEncrypted: Bool = false
    ) async throws -> RedisServer {
        var attempt = 1
        while true {
            let port = try freePort()
            let directory = try TemporaryDirectory()
            let lines =
                [
                    isEncrypted ? "port 0\ntls-port \(port)" : "port \(port)", "bind 127.0.0.1",
                    "dir \(directory.path)",
                    "unixsocket \(directory.path)/redis.sock", "save \"\"", "appendonly no", "daemonize no",
                    "loglevel notice",
                ] + extraConfiguration
            let text = lines.map { $0 + "\n" }.joined()
            try text.write(toFile: "\(directory.path)/redis.conf", atomically: false, encoding: .utf8)
            let server = RedisServer(
                port: port, isEncrypted: isEncrypted, directory: directory, process: try launch(directory))
            do {
                try await server.waitUntilReady()
                return server
            } catch let error as TestServerError {
                // Somebody else may take the port before the server does.
                guard attempt < 3, error.description.contains("Address already in use") else { throw error }
                attempt += 1
            }
        }
    }

    private static func launch(_ directory: TemporaryDirectory) throws -> ServerProcess {
        try ServerProcess(
            executable: "redis-server", arguments: ["\(directory.path)/redis.conf"],
            directory: directory.path,
            logFile: "\(directory.path)/redis.log")
    }

    /// Ends the server in an orderly way.
    public func stop() async {
        await process.terminate()
    }

    /// SIGKILL. Returns at once.
    public func kill() {
        process.kill()
    }

    /// Starts the server again, ending it first if it runs: same port, directory and configuration.
    public func restart() async throws {
        await process.terminate()
        let next = try RedisServer.launch(directory)
        running.withLock { $0 = next }
        try await waitUntilReady()
    }

    /// The output of `redis-cli arguments…`, without the line end. It comes through the port, or through the unix
    /// socket where the port takes TLS only.
    ///
    /// - Throws: `TestServerError` where it fails, with what it said.
    @discardableResult
    public func cli(_ arguments: String...) throws -> String {
        try cli(arguments)
    }

    @discardableResult
    public func cli(_ arguments: [String]) throws -> String {
        let place = isEncrypted ? ["-s", socketPath] : ["-p", "\(port)"]
        return try RedisServer.cli(place, directory: directory.path, arguments)
    }

    /// - Parameter place: the options that say where the server is.
    static func cli(_ place: [String], directory: String, _ arguments: [String]) throws -> String {
        let output = "\(directory)/cli-\(UUID().uuidString).out"
        defer { try? FileManager.default.removeItem(atPath: output) }
        let client = try ServerProcess(
            executable: "redis-cli", arguments: place + ["--no-auth-warning"] + arguments,
            logFile: output)
        let status = try client.waitBlocking(timeout: .seconds(20))
        let bytes = FileManager.default.contents(atPath: output) ?? Data()
        let text = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
        guard status == 0 else {
            throw TestServerError("redis-cli \(arguments.joined(separator: " ")): status \(status): \(text)")
        }
        return text
    }

    private func waitUntilReady() async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < deadline {
            guard process.isRunning else { throw TestServerError("redis-server ended: \(logTail())") }
            if answers() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        process.kill()
        throw TestServerError("redis-server did not answer within 20 s: \(logTail())")
    }

    /// Whether the server answers PING with anything but that it is loading (asking for a password will do).
    private func answers() -> Bool {
        if isEncrypted { return (try? cli("PING")).map(RedisServer.isReady) ?? false }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = loopbackAddress(port: port)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        let ping = Array("PING\r\n".utf8)
        guard connected, Glibc.send(descriptor, ping, ping.count, Int32(MSG_NOSIGNAL)) == ping.count else {
            return false
        }
        var reply = [UInt8](repeating: 0, count: 128)
        let count = recv(descriptor, &reply, reply.count, 0)
        guard count > 0 else { return false }
        return RedisServer.isReady(String(decoding: reply.prefix(count).dropFirst(), as: UTF8.self))
    }

    private static func isReady(_ answer: String) -> Bool {
        ["PONG", "NOAUTH", "NOPERM"].contains { answer.hasPrefix($0) }
    }

    private func logTail() -> String {
        let bytes = FileManager.default.contents(atPath: "\(directory.path)/redis.log") ?? Data()
        return String(decoding: bytes.suffix(1_000), as: UTF8.self)
    }
}
