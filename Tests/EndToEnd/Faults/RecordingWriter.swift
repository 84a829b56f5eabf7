import Foundation
import Synchronization
import TestRandom
import ZooKeeperClient

/// Writes to nodes of its own below `/t`, as fast as answers come, and remembers what was acknowledged.
///
/// Every value is a number larger than all before it, so that order can be read off what arrives.
final class RecordingWriter: Sendable {
    private struct State {
        var isStopped = false
        var sequence = 0
        var acknowledged = 0
        /// Of each path what it held, in order; `nil` for a deletion.
        var histories: [String: [String?]] = [:]
    }

    private static let lanes = 4
    private static let nodesPerLane = 50
    private static let resolveTimeout = Duration.seconds(60)

    private let seed: UInt64
    private let groups: Int
    private let state = Mutex(State())

    /// - Parameter groups: where there are any, the nodes are `/t/g<group>/n<number>` instead of `/t/n<number>`.
    init(seed: UInt64, groups: Int = 0) {
        self.seed = seed
        self.groups = groups
    }

    var acknowledged: Int { state.withLock { $0.acknowledged } }
    /// What each path that was ever written holds now; `nil` where it is deleted.
    var final: [String: String?] { state.withLock { $0.histories.mapValues { $0.last ?? nil } } }

    func stop() { state.withLock { $0.isStopped = true } }

    /// Creates what its nodes are in: `/t`, and the groups.
    func prepare(_ client: ZooKeeperClient) async throws {
        try await client.create("/t", "0")
        for group in 0..<groups { try await client.create("/t/g\(group)", "0") }
    }

    private func path(_ number: Int) -> String {
        groups == 0 ? "/t/n\(number)" : "/t/g\(number % groups)/n\(number)"
    }

    /// Writes until `stop`. Each lane has paths of its own, so the order of a path is the order of its answers.
    func run(_ client: ZooKeeperClient) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for lane in 0..<RecordingWriter.lanes { group.addTask { try await self.write(client, lane) } }
            while try await group.next() != nil {}
        }
    }

    private func write(_ client: ZooKeeperClient, _ lane: Int) async throws {
        var random = SeededGenerator(seed: seed &+ UInt64(lane))
        while !state.withLock({ $0.isStopped }) {
            let number = Int.random(in: 0..<RecordingWriter.nodesPerLane, using: &random)
            let path = path(number * RecordingWriter.lanes + lane)
            let exists = state.withLock { $0.histories[path]?.last.flatMap { $0 } != nil }
            let value = nextValue()
            do {
                if !exists {
                    try await client.create(path, value)
                    note(path, value)
                } else if Int.random(in: 0..<100, using: &random) < 15 {
                    try await client.delete(path)
                    note(path, nil)
                } else {
                    try await client.set(path, value)
                    note(path, value)
                }
            } catch is ZooKeeperError {
                try await resolve(client, path)
            }
        }
    }

    /// A number larger than all before it.
    func nextValue() -> String {
        state.withLock { state in
            state.sequence += 1
            return String(state.sequence)
        }
    }

    /// What was acknowledged for a path: a value, or `nil` for its deletion.
    func note(_ path: String, _ value: String?) {
        state.withLock { state in
            state.histories[path, default: []].append(value)
            state.acknowledged += 1
        }
    }

    /// An answer was lost: reading tells what became of the write.
    private func resolve(_ client: ZooKeeperClient, _ path: String) async throws {
        let deadline = ContinuousClock.now + RecordingWriter.resolveTimeout
        while true {
            let found: String?
            do throws(ZooKeeperError) {
                try await client.sync()
                found = String(decoding: try await client.getData(path).data, as: UTF8.self)
            } catch  where error.code == .noNode {
                found = nil
            } catch {
                guard ContinuousClock.now < deadline else { throw error }
                try await Task.sleep(for: .milliseconds(50))
                continue
            }
            let known = state.withLock { $0.histories[path]?.last.flatMap { $0 } }
            if found != known { note(path, found) }
            return
        }
    }
}
