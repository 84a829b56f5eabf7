import Logging
import NIOCore
import TestServers
import Testing

@testable import ZooKeeperClient

/// One standalone server for all tests that leave it alone; each test lives below a path of its own.
enum SharedServer {
    private static let task = Task { try await ZooKeeperServer.start() }
    static func get() async throws -> ZooKeeperServer { try await task.value }
}

func configuration(
    _ connect: String, _ adjust: (inout ZooKeeperConfiguration) -> Void = { _ in }
) throws -> ZooKeeperConfiguration {
    var configuration = ZooKeeperConfiguration(connect: try ConnectString(parsing: connect))
    configuration.backoffInitial = .milliseconds(20)
    configuration.backoffMaximum = .milliseconds(200)
    adjust(&configuration)
    return configuration
}

/// Runs a client around `body` and closes it. What `run` throws is thrown.
func withClient<Value: Sendable>(
    _ configuration: ZooKeeperConfiguration,
    _ body: @Sendable @escaping (ZooKeeperClient) async throws -> Value
) async throws -> Value {
    let client = ZooKeeperClient(configuration: configuration, logger: Logger(label: "test"))
    return try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask {
            try await client.run()
            return nil
        }
        group.addTask { try await body(client) }
        defer { group.cancelAll() }
        while let value = try await group.next() {
            if let value {
                await client.close()
                return value
            }
        }
        throw ZooKeeperError(.closed, message: "run() returned before the test")
    }
}

/// A client below a new path of the shared server.
func withClient<Value: Sendable>(
    chroot: String, _ adjust: (inout ZooKeeperConfiguration) -> Void = { _ in },
    _ body: @Sendable @escaping (ZooKeeperClient) async throws -> Value
) async throws -> Value {
    let server = try await SharedServer.get()
    _ = try await withClient(try configuration(server.address)) { client in
        try await client.create(chroot)
    }
    return try await withClient(try configuration(server.address + chroot, adjust), body)
}

/// Fetches events until one is wanted.
func events(
    of client: ZooKeeperClient, within timeout: Duration = .seconds(10),
    until isLast: (ZooKeeperEvent) -> Bool
) async throws -> [ZooKeeperEvent] {
    let deadline = ContinuousClock.now + timeout
    var all: [ZooKeeperEvent] = []
    while ContinuousClock.now < deadline {
        let more = try await client.nextEvents(timeout: .milliseconds(200))
        all += more
        if more.contains(where: isLast) { return all }
    }
    throw TestServerError("the event did not come within \(timeout); there were \(all.suffix(20))")
}

extension ZooKeeperEvent {
    var isConnected: Bool { if case .connected = self { true } else { false } }
    var isDisconnected: Bool { if case .disconnected = self { true } else { false } }
    var isExpired: Bool { if case .sessionExpired = self { true } else { false } }
    var notification: WatchNotification? { if case .notification(let it) = self { it } else { nil } }
    var tag: UInt64? { if case .reply(let tag, _, _) = self { tag } else { nil } }
    var failure: ZooKeeperError? {
        switch self {
        case .reply(_, _, .failure(let error)), .disconnected(let error): error
        default: nil
        }
    }
}

func code(_ body: () async throws -> Void) async -> ZooKeeperError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? ZooKeeperError)?.code
    }
}

/// Waits until something holds.
func eventually(within timeout: Duration = .seconds(10), _ holds: () async throws -> Bool) async throws
    -> Bool
{
    let deadline = ContinuousClock.now + timeout
    while ContinuousClock.now < deadline {
        if try await holds() { return true }
        try await Task.sleep(for: .milliseconds(10))
    }
    return false
}

/// Bytes written as hexadecimal digits, with blanks for the eye.
func hex(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue).map(UInt8.init)
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
