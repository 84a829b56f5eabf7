import Glibc
import SegmentLog
import SystemPackage

/// Tells how a running pipeline is, to whoever asks and however often: files are looked at once a second at most, and
/// servers are asked by `run` alone, one reading at a time.
public actor PipelineWatch {
    private let executor = BlockingExecutor(label: "millrace.watch")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    public nonisolated let progress: PipelineProgress

    private struct Files {
        var at: ContinuousClock.Instant
        var bytes: Int64 = 0
        var segments = 0
        /// By sink.
        var timeLags: [Int64?] = []
    }

    private var files: Files?
    private var offsets: OffsetReport?
    private var offsetsExpire = ContinuousClock.now
    /// Readings that were asked for, and those that are done.
    private var asked: Int64 = 0
    private let asks = Watermark(0)
    private let readings = Watermark(0)

    private static let filesAge = Duration.seconds(1)
    private static let offsetsAge = Duration.seconds(1)
    /// Where reading takes long it is done seldom: at most a fifth of the time goes into it.
    private static let restFactor = 4
    private static let readTimeout = Duration.milliseconds(1500)
    /// An answer waits so long for a reading; then it has the one before.
    private static let answerTimeout = Duration.seconds(2)

    public init(_ progress: PipelineProgress) {
        self.progress = progress
    }

    /// Reads checkpoints whenever they are asked for, until cancelled.
    public func run() async throws {
        while true {
            try await asks.wait(until: readings.value + 1)
            let target = asked
            let begin = ContinuousClock.now
            let found = await OffsetReport.look(
                pipeline: progress.name, directory: progress.directory, stores: progress.stores,
                timeout: PipelineWatch.readTimeout)
            try Task.checkCancellation()
            if let found { offsets = found }
            let took = ContinuousClock.now - begin
            offsetsExpire = .now + max(PipelineWatch.offsetsAge, took * PipelineWatch.restFactor)
            readings.set(target)
        }
    }

    /// - Parameter asksServers: with the checkpoints as they are stored, about a second old; `nil` as long as they have
    ///   never been read.
    /// - Throws: `CancellationError`.
    public func status(asksServers: Bool) async throws -> PipelineStatus {
        if asksServers { try await readOffsets() }
        var status = PipelineStatus(progress, at: .now)
        if asksServers { status.offsets = offsets }
        guard status.log != nil else { return status }
        let files = look(at: status)
        status.log?.bytes = files.bytes
        status.log?.segments = files.segments
        for (index, timeLag) in files.timeLags.enumerated() where index < status.sinks.count {
            status.sinks[index].timeLagMilliseconds = status.sinks[index].lag.flatMap {
                $0 == 0 ? 0 : timeLag
            }
        }
        return status
    }

    private func readOffsets() async throws {
        guard offsetsExpire <= .now else { return }
        if asked == readings.value {
            asked += 1
            asks.set(asked)
        }
        _ = try await readings.wait(until: asked, timeout: PipelineWatch.answerTimeout)
    }

    private func look(at status: PipelineStatus) -> Files {
        if let files, .now - files.at < PipelineWatch.filesAge { return files }
        var found = Files(at: .now)
        let directory = progress.directory
        // What cannot be read now (retention was quicker) is told the next time.
        for name in (try? AtomicFile.names(in: directory)) ?? [] where name.hasSuffix(".lz4") {
            var facts = stat()
            guard directory.appending(name).withPlatformString({ stat($0, &facts) }) == 0 else { continue }
            found.segments += 1
            found.bytes += Int64(facts.st_size)
        }
        let now = wallClockMilliseconds()
        found.timeLags = status.sinks.map { sink in
            guard let current = sink.current, let lag = sink.lag, let log = status.log else { return nil }
            if lag == 0 { return 0 }
            return try? OffsetReport.timeLag(directory, at: max(current, log.startOffset), now: now)
        }
        files = found
        return found
    }
}
