public import SystemPackage

/// A pipeline at one moment.
public struct PipelineStatus: Sendable {
    public struct Log: Sendable, Hashable {
        public var startOffset: Int64
        /// The next offset to be written; of what may be delivered.
        public var endOffset: Int64
        /// Changes appended by this process.
        public var captured: Int64
        /// Of the segments' files.
        public var bytes: Int64
        public var segments: Int
    }

    public struct Sink: Sendable {
        public var name: String
        public var counts: SinkProgress.Counts
        /// The next offset to deliver; `nil` before the sink has started.
        public var current: Int64?
        public var lag: Int64?
        /// Age of the oldest change not yet delivered; 0 without any.
        public var timeLagMilliseconds: Int64?
        public var trouble: String?
    }

    public var name: String
    public var directory: FilePath
    public var state: PipelineProgress.State
    /// Empty where all goes well.
    public var problems: [String]
    public var captureMode: String
    public var capture: CaptureProgress.Counts
    /// The first snapshot or resync of this start is complete.
    public var isSynchronized: Bool
    public var connection: CaptureProgress.Connection?
    public var captureTrouble: String?
    public var reconnects: Int64
    /// `nil` while the log is not open.
    public var log: Log?
    public var sinks: [Sink]
    /// The checkpoints as they are stored, where they were asked for.
    public var offsets: OffsetReport?

    public var isReady: Bool { problems.isEmpty }

    /// What is known without reading a file or asking a server.
    init(_ progress: PipelineProgress, at now: ContinuousClock.Instant) {
        name = progress.name
        directory = progress.directory
        state = progress.state
        problems = progress.problems(at: now)
        captureMode = progress.captureMode
        capture = progress.capture.counts
        isSynchronized = (progress.parts?.ingest.synchronized.value ?? -1) >= 0
        connection = progress.capture.connection
        captureTrouble = progress.capture.trouble.current?.text(at: now)
        reconnects = progress.capture.reconnects
        let open = progress.parts?.log
        // The positions before the end: a lag below zero would be seen otherwise.
        sinks = progress.sinks.map { sink in
            let confirmed = sink.confirmed.value
            return Sink(
                name: sink.name, counts: sink.counts, current: confirmed < 0 ? nil : confirmed,
                trouble: sink.trouble.current?.text(at: now))
        }
        if let open {
            let end = open.tail.value
            log = Log(
                startOffset: open.startOffset, endOffset: end, captured: open.captured.value, bytes: 0,
                segments: 0)
            for index in sinks.indices {
                guard let current = sinks[index].current else { continue }
                sinks[index].lag = max(end - current, 0)
            }
        }
    }
}
