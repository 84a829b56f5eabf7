import Foundation
import Testing

/// What is broken in a cluster, again and again, while a recording writer writes.
enum ClusterFault: String, CaseIterable, CustomTestStringConvertible {
    case slotsMoved = "cluster: slots moved by SETSLOT and MIGRATE, to and fro"
    case resharded = "cluster: 4,096 slots resharded by redis-cli, to and fro"
    case nodeAdded = "cluster: a node added, given slots, emptied, removed"
    case connectionsCut = "cluster: all connections cut"
    case nodeStalled = "cluster: a node stalled for less than its time-out"
    case outOfMemory = "cluster: a node out of memory"
    case killed = "cluster: millrace killed with -9"
    case killedInReshard = "cluster: millrace killed with -9 while slots are resharded"
    case mastersRestarted = "cluster: masters killed, with persistence"
    case mastersEmptied = "cluster: masters killed, without persistence"
    case mastersKilled = "cluster: each master killed, replicas take over"
    case failover = "cluster: failovers that lose acknowledged writes"
    case failoverAfterMove = "cluster: failovers that lose slots just moved"
    case killedWhileMoving = "cluster: masters killed in the middle of a resharding, then fixed"
    case handover = "cluster: CLUSTER FAILOVER"
    case takeover = "cluster: CLUSTER FAILOVER FORCE and TAKEOVER of live masters"

    var testDescription: String { rawValue }

    /// All, or those whose name contains MILLRACE_FAULT.
    static var chosen: [ClusterFault] {
        guard let part = ProcessInfo.processInfo.environment["MILLRACE_FAULT"] else { return allCases }
        return allCases.filter { $0.rawValue.contains(part) }
    }

    var bed: TestBed.Kind {
        switch self {
        case .mastersKilled, .failover, .failoverAfterMove, .killedWhileMoving, .handover, .takeover:
            .replicatedCluster
        default: .cluster
        }
    }

    /// Whether a start of the program ends with telling what it has done.
    var endsWell: Bool { self != .killed && self != .killedInReshard }

    /// What the program says when the fault has reached it.
    var trace: String? {
        switch self {
        case .mastersEmptied, .failover, .failoverAfterMove: "delivering again"
        case .outOfMemory: "OOM"
        default: nil
        }
    }

    var redisConfiguration: [String] {
        self == .mastersRestarted ? ["appendonly yes", "appendfsync everysec"] : []
    }

    /// Rounds of the short form.
    var shortRounds: Int {
        switch self {
        case .slotsMoved, .resharded, .nodeAdded, .killedInReshard, .failover: 1
        case .failoverAfterMove, .killedWhileMoving: 1
        case .handover, .takeover: 2
        case .connectionsCut, .nodeStalled, .outOfMemory, .killed: 4
        // Every one of them.
        case .mastersRestarted, .mastersEmptied, .mastersKilled: 3
        }
    }

    /// Streams of a pipeline: the nodes are in so many groups.
    static let groups = 12
    static let sinks = 3

    static let pipeline = """
        name: faults
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], session_timeout: 1s}
        log: {directory: "${MILLRACE_DATA}", segment: 256KiB}
        transform:
          - rules:
              - match: "/t/{group}/{node}"
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          hashes: {redis: "${REDIS}", write: hash, key: "h:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes:{group}"}
        """
}
