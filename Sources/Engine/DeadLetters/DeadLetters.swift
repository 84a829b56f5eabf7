import Logging
import SegmentLog
import SystemPackage

/// What becomes of a change that cannot be delivered.
public enum ErrorPolicy: Sendable, Hashable {
    /// It is kept, with the reason, in a durable log of its own.
    case deadLetter
    /// The pipeline stops.
    case stop
    /// It is counted and logged.
    case skip
}

/// The pipeline's refused changes: a segment log in `dead-letters/` beside the pipeline's own.
actor DeadLetters {
    private let executor = BlockingExecutor(label: "millrace.dead-letters")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let logDirectory: FilePath
    private let policy: ErrorPolicy
    private let logger: Logger
    private var writer: LogWriter?

    init(logDirectory: FilePath, policy: ErrorPolicy, logger: Logger) {
        self.logDirectory = logDirectory
        self.policy = policy
        self.logger = logger
    }

    /// Deals with what was refused of one batch; when it returns, kept changes are durable.
    ///
    /// Throws `PipelineError` under the policy `stop`, or where the dead letters cannot be written.
    func take(_ unmapped: [Rejection], _ refused: [Rejection], sink: String) throws(PipelineError) {
        guard !unmapped.isEmpty || !refused.isEmpty else { return }
        let all =
            unmapped.map { (RefusingStage.transform, $0) } + refused.map { (RefusingStage.delivery, $0) }
        for (stage, rejection) in all {
            logger.log(
                level: policy == .stop ? .error : .warning, "a change was refused",
                metadata: [
                    "sink": "\(sink)", "offset": "\(rejection.offset)", "stage": "\(stage.text)",
                    "reason": "\(rejection.reason)",
                ])
        }
        switch policy {
        case .skip:
            return
        case .stop:
            let first = all[0].1
            throw .failed("sink \(sink), offset \(first.offset): \(first.reason) (on_error: stop)")
        case .deadLetter:
            do {
                try append(all, sink: sink)
            } catch {
                throw PipelineError(log: error)
            }
        }
    }

    private func append(_ all: [(RefusingStage, Rejection)], sink: String) throws(LogError) {
        var builder = RecordBatchBuilder()
        for (stage, rejection) in all.sorted(by: { $0.1.offset < $1.1.offset }) {
            builder.append(type: DeadLetterCodec.letterType) { bytes in
                DeadLetterCodec.encode(
                    stage: stage, offset: rejection.offset, sink: sink, reason: rejection.reason,
                    change: rejection.change, into: &bytes)
            }
        }
        let writer = try open()
        _ = try writer.append(builder, position: [], timestampMilliseconds: wallClockMilliseconds())
    }

    private func open() throws(LogError) -> LogWriter {
        if let writer { return writer }
        let opened = try LogWriter.open(
            DeadLetterReader.directory(of: logDirectory), configuration: LogConfiguration(),
            initialGeneration: 0)
        writer = opened
        return opened
    }

    func close() {
        do {
            try writer?.close()
        } catch {
            logger.error("closing the dead letters failed", metadata: ["error": "\(error)"])
        }
        writer = nil
    }
}
