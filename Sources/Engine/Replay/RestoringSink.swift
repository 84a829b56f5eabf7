import ChangeModel
import Mapping

/// A pipeline's own sink, written beside its checkpoint: what is replayed moves no position.
struct RestoringSink: ChangeSink {
    let sink: any ChangeSink
    /// Where the replay begins.
    let start: Int64

    func start(_ context: SinkContext) async throws -> Int64 {
        _ = try await sink.start(context)
        return start
    }

    func deliver(_ batch: MappedBatch) async throws -> DeliveryOutcome {
        var replayed = MappedBatch(offsets: 0..<0, changes: batch.changes, settled: .none, generation: 0)
        replayed.isReplay = true
        switch try await sink.deliver(replayed) {
        case .delivered(let refused): return .delivered(refused)
        // It has lost what it had acknowledged, and so perhaps what was replayed.
        case .rewound: return .rewound(to: start)
        }
    }

    func width() async -> Int { await sink.width() }
    func confirm(_ offset: Int64) async {}
    func idle() async throws -> Int64? { nil }
    func reset(to offset: Int64) async throws {}
    func discard() async throws {}
    func replayedLetters() async throws -> [ReplayedLetter] { [] }
    func close() async { await sink.close() }
}
