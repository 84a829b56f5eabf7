/// Moves the checkpoints of sinks by hand.
///
/// The pipeline has to be stopped: the log's lock is taken, and the sinks are taken over.
public struct OffsetReset: Sendable {
    private static let stepTimeout = Duration.seconds(30)

    private let setup: PipelineSetup

    /// The setup's source is not used.
    public init(_ setup: PipelineSetup) {
        self.setup = setup
    }

    /// By sink the next offset to deliver.
    ///
    /// Throws `PipelineError`; sinks before the one that failed, in the order of the definition, stay moved.
    public func execute(_ targets: [String: Int64]) async throws {
        let log = try PipelineLog(directory: setup.directory, configuration: setup.log, initialGeneration: 0)
        do {
            for (index, sink) in setup.sinks.enumerated() {
                guard let offset = targets[sink.name] else { continue }
                do {
                    try await move(sink, index, to: offset, log)
                } catch {
                    await sink.sink.close()
                    throw error
                }
                await sink.sink.close()
            }
        } catch {
            try? await log.close()
            throw error
        }
        try await log.close()
    }

    private func move(_ sink: SinkSetup, _ index: Int, to offset: Int64, _ log: PipelineLog) async throws {
        let feed = DeliveryFeed(
            directory: setup.directory, mapper: setup.mapper, sinkIndex: index, sinkName: sink.name)
        var context = SinkContext(log, sink: sink.name, takeOver: false, feed)
        // Where it is to begin is being said here: nothing is missed.
        context.repeatSnapshot = {}
        let start = context
        try await within(
            OffsetReset.stepTimeout,
            {
                _ = try await sink.sink.start(start)
                try await sink.sink.reset(to: offset)
            },
            else: .unavailable(
                "sink \(sink.name) did not take it within \(OffsetReset.stepTimeout); give the command again")
        )
    }
}
