import Foundation
import TestServers
import Testing

/// What is broken, again and again, while a recording writer writes.
enum Fault: String, CaseIterable, CustomTestStringConvertible {
    case killed = "millrace killed with -9"
    case killedWhileRolling = "millrace killed with -9 while it rolls and removes segments"
    case terminated = "millrace terminated"
    case terminatedWhileRolling = "millrace terminated while it rolls and removes segments"
    case clockSteppedBack = "clock stepped backwards"

    case zookeeperCut = "ZooKeeper connection cut"
    case zookeeperCutInResync = "ZooKeeper connection cut during the resync"
    case zookeeperCutBeforeRead = "ZooKeeper connection cut between notification and read"
    case zookeeperHalfClosed = "ZooKeeper connection half closed"
    case zookeeperSlow = "ZooKeeper connection slow"
    case zookeeperDribbles = "ZooKeeper connection byte by byte"
    case zookeeperAway = "ZooKeeper away while nodes are deleted and created again"
    case sessionExpired = "ZooKeeper session expired"
    case subtreeRecreated = "subtree deleted and created again"
    case zookeeperRestarted = "ZooKeeper restarted"
    case followerKilled = "ensemble: a follower killed"
    case leaderKilled = "ensemble: the leader killed"
    case ensembleRestarted = "ensemble: all killed and restarted"

    case redisCut = "Redis connection cut"
    case redisHalfClosed = "Redis connection half closed"
    case redisStalled = "Redis stalled"
    case redisSlow = "Redis slow"
    case redisDribbles = "Redis connection byte by byte"
    case redisOutOfMemory = "Redis out of memory"
    case redisReadOnly = "Redis made a replica, and a master again"
    case redisRestarted = "Redis killed, with persistence"
    case redisEmptied = "Redis killed, without persistence"
    case redisFailover = "Sentinel failover that loses acknowledged writes"
    case redisHandover = "Sentinel hands over from a live master, wait: {replicas: 1}"

    var testDescription: String { rawValue }

    /// All, or those whose name contains MILLRACE_FAULT.
    static var chosen: [Fault] {
        guard let part = ProcessInfo.processInfo.environment["MILLRACE_FAULT"] else { return allCases }
        return allCases.filter { $0.rawValue.contains(part) }
    }

    var bed: TestBed.Kind {
        switch self {
        case .followerKilled, .leaderKilled, .ensembleRestarted: .ensemble
        case .redisFailover, .redisHandover: .sentinels
        default: .single
        }
    }

    /// What the program says when the fault has reached it: one that leaves no trace tests nothing.
    var trace: String? {
        switch self {
        case .killedWhileRolling, .terminatedWhileRolling: "a segment is past its retention"
        case .zookeeperCut, .zookeeperCutInResync, .zookeeperCutBeforeRead, .zookeeperHalfClosed,
            .zookeeperAway,
            .zookeeperRestarted, .leaderKilled, .ensembleRestarted:
            "no connection to ZooKeeper"
        case .sessionExpired: "session expired"
        case .redisOutOfMemory: "OOM"
        case .redisReadOnly: "READONLY"
        case .redisEmptied, .redisFailover: "delivering again"
        default: nil
        }
    }

    var redisConfiguration: [String] {
        self == .redisRestarted ? ["appendonly yes", "appendfsync everysec"] : []
    }

    /// Rounds of the short form: what takes seconds is done less often.
    var shortRounds: Int {
        switch self {
        case .leaderKilled, .followerKilled, .ensembleRestarted, .redisFailover, .redisHandover: 2
        case .zookeeperRestarted, .sessionExpired: 3
        default: 5
        }
    }

    var pipeline: String {
        let small = self == .killedWhileRolling || self == .terminatedWhileRolling
        let wait = self == .redisHandover ? ", wait: {replicas: 1, timeout: 200ms}" : ""
        let log = small ? "segment: 4KiB, retain: {bytes: 16KiB}" : "segment: 256KiB"
        return """
            name: faults
            source:
              zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], session_timeout: 1s}
            log: {directory: "${MILLRACE_DATA}", \(log)}
            sinks:
              keys: {redis: "${REDIS}", write: string, key: "k:{path}"\(wait)}
              changes: {redis: "${REDIS}", write: stream, key: "changes"\(wait)}
            """
    }
}

/// Settings of a longer run: MILLRACE_FAULT_SEED, MILLRACE_FAULT_ROUNDS.
enum FaultSetting {
    static var seed: UInt64 { number("SEED") ?? UInt64.random(in: 0...UInt64.max) }

    static func rounds(_ short: Int) -> Int { number("ROUNDS").map { Int(clamping: $0) } ?? short }

    private static func number(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment["MILLRACE_FAULT_\(name)"].flatMap { UInt64($0) }
    }
}
