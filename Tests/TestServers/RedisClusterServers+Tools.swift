import Foundation

/// What people do to a cluster with `redis-cli`, and what it tells them.
extension RedisClusterServers {
    /// `redis-cli --cluster reshard`: so many slots go from one master to another, one after the other.
    ///
    /// - Throws: `TestServerError` with the end of what redis-cli said, where it gave up on the way.
    public func reshard(_ count: Int, from source: RedisServer, to target: RedisServer) async throws {
        try await cluster(
            source, "reshard", "--cluster-from", try id(of: source), "--cluster-to", try id(of: target),
            "--cluster-slots", "\(count)", "--cluster-yes")
    }

    /// `redis-cli --cluster fix`: what a resharding has left half moved when it broke off is moved to one side.
    ///
    /// - Throws: as `reshard`.
    public func fix() async throws {
        guard let first = masters().first else { throw TestServerError("no master runs") }
        try await cluster(first, "fix", "--cluster-yes")
    }

    private func cluster(_ server: RedisServer, _ command: String, _ options: String...) async throws {
        let output = "\(server.directoryPath)/\(command)-\(UUID().uuidString).out"
        defer { try? FileManager.default.removeItem(atPath: output) }
        let tool = try ServerProcess(
            executable: "redis-cli",
            arguments: ["--cluster", command, "127.0.0.1:\(server.port)"] + options, logFile: output)
        let status = try await tool.waitForExit(timeout: .seconds(300))
        guard status == 0 else {
            let said = String(decoding: FileManager.default.contents(atPath: output) ?? Data(), as: UTF8.self)
            throw TestServerError("redis-cli --cluster \(command): status \(status): \(said.suffix(1_000))")
        }
    }

    /// How often the nodes that run have answered with an error of this prefix since they were started.
    public func errors(_ prefix: String) throws -> Int {
        try servers.filter(\.process.isRunning).reduce(0) { sum, server in
            let lines = try server.cli("INFO", "errorstats").split(whereSeparator: \.isNewline)
            let count = lines.first { $0.hasPrefix("errorstat_\(prefix):count=") }?.split(separator: "=").last
            return sum + (count.flatMap { Int($0) } ?? 0)
        }
    }

    /// All keys of a node.
    public func keys(of server: RedisServer, matching pattern: String = "*") throws -> [String] {
        try server.cli("--scan", "--pattern", pattern).split(separator: "\n").map(String.init)
    }

    /// Those of the keys that `redis-cli -c` finds, wherever it is sent for them. No key has a space in it.
    public func found(_ keys: [String]) async throws -> [String] {
        let first = servers[0]
        let script = "\(first.directoryPath)/exists-\(UUID().uuidString)"
        let output = script + ".out"
        defer { for file in [script, output] { try? FileManager.default.removeItem(atPath: file) } }
        try keys.map { "EXISTS \($0)\n" }.joined().write(toFile: script, atomically: false, encoding: .utf8)
        let tool = try ServerProcess(
            executable: "/bin/sh",
            arguments: ["-c", #"redis-cli -c -p "$0" <"$1""#, "\(first.port)", script],
            logFile: output)
        let status = try await tool.waitForExit(timeout: .seconds(60))
        let said = String(decoding: FileManager.default.contents(atPath: output) ?? Data(), as: UTF8.self)
        // Where it is sent elsewhere, it says so in a line of its own.
        let answers = said.split(separator: "\n").filter { !$0.contains("Redirected") }
        guard status == 0, answers.count == keys.count else {
            throw TestServerError("redis-cli -c: status \(status): \(said.suffix(1_000))")
        }
        return zip(keys, answers).filter { $0.1 == "1" }.map(\.0)
    }
}
