import Synchronization
public import SystemPackage

/// What a pipeline has done so far, and what keeps it from going on; read by others while it runs.
public final class PipelineProgress: Sendable {
    public enum State: String, Sendable, Hashable {
        case starting
        case running
        /// It takes no more changes and delivers what the log holds.
        case stopping
        case ended
    }

    /// What exists once the log is open.
    struct Parts: Sendable {
        var log: PipelineLog
        var ingest: Ingest
        /// 1 from the moment when it is told to stop.
        var stop: Watermark
    }

    private enum Life {
        case starting
        case running(Parts)
        case ended
    }

    public let name: String
    public let directory: FilePath
    /// How changes are captured: `watch`.
    public let captureMode: String
    public let capture = CaptureProgress()
    /// In the order of the definition.
    public let sinks: [SinkProgress]
    let stores: [(sink: String, store: any CheckpointStore)]
    private let life = Mutex(Life.starting)

    /// A sink may try for so long before it counts as not going on: a failover takes a moment.
    static let patience = Duration.seconds(3)
    /// A step of a sink may take so long.
    static let stepPatience = Duration.seconds(5)

    init(_ setup: PipelineSetup) {
        name = setup.name
        directory = setup.directory
        captureMode = setup.source.mode
        sinks = setup.sinks.map { SinkProgress(name: $0.name) }
        stores = setup.sinks.map { ($0.name, $0.checkpoints) }
    }

    func started(_ parts: Parts) { life.withLock { $0 = .running(parts) } }
    func ended() { life.withLock { $0 = .ended } }

    /// `nil` before the log is open, and after its end.
    var parts: Parts? {
        life.withLock { if case .running(let parts) = $0 { parts } else { nil } }
    }

    public var state: State {
        life.withLock { life in
            switch life {
            case .starting: .starting
            case .running(let parts): parts.stop.value > 0 ? .stopping : .running
            case .ended: .ended
            }
        }
    }

    /// Why changes do not arrive now, in words; empty where all goes well, and after the end.
    public func problems(at now: ContinuousClock.Instant = .now) -> [String] {
        switch state {
        case .ended: return []
        case .stopping: return ["stopping"]
        case .starting: return ["starting"]
        case .running: break
        }
        var problems: [String] = []
        if let trouble = capture.trouble.current {
            problems.append("ZooKeeper: \(trouble.text(at: now))")
        } else if capture.connection == nil {
            problems.append("ZooKeeper: not connected yet")
        }
        if let parts, parts.ingest.synchronized.value < 0 {
            problems.append("the tree is being read, \(capture.counts.nodes) nodes so far")
        }
        let end = parts?.log.tail.value
        for sink in sinks {
            if let problem = sink.problem(logEnd: end, at: now) {
                problems.append("sink \(sink.name): \(problem)")
            }
        }
        return problems
    }
}

extension SinkProgress {
    fileprivate func problem(logEnd: Int64?, at now: ContinuousClock.Instant) -> String? {
        let confirmed = confirmed.value
        if let trouble = trouble.current, confirmed < 0 || now - trouble.since >= PipelineProgress.patience {
            return trouble.text(at: now)
        }
        guard confirmed >= 0 else { return "not started yet" }
        guard let since = busySince, now - since >= PipelineProgress.stepPatience else { return nil }
        let lag = logEnd.map { ", \(max($0 - confirmed, 0)) changes behind" } ?? ""
        return "no progress for \((now - since).components.seconds) s\(lag)"
    }
}

extension Trouble.Report {
    func text(at now: ContinuousClock.Instant) -> String {
        "\(reason), for \(max((now - since).components.seconds, 0)) s"
    }
}
