public import ChangeModel
public import Mapping
import SegmentLog
public import SystemPackage

/// What a replay would write, without doing it.
public actor ReplayPreview {
    private let executor = BlockingExecutor(label: "millrace.preview")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// One change for one sink.
    public struct Item: Sendable {
        public var sink: String
        public var offset: Int64
        public var operation: ChangeModel.Operation
        public var path: String
        public var writes: [SinkWrite]
        /// Why there are none.
        public var refusal: String?
    }

    private let directory: FilePath
    private let mapper: Mapper
    private let selection: ReplaySelection
    private let folds: Bool
    private var sinks: ArraySlice<(index: Int, name: String)>
    private var feed: DeliveryFeed?

    /// - Parameter sinks: with their positions in the mapper.
    public init(
        directory: FilePath, mapper: Mapper, sinks: [(index: Int, name: String)], selection: ReplaySelection,
        folds: Bool
    ) {
        self.directory = directory
        self.mapper = mapper
        self.sinks = sinks[...]
        self.selection = selection
        self.folds = folds
    }

    /// The next of them, sink by sink; `nil` at the end. Throws `PipelineError` and `LogError`.
    public func next() async throws -> [Item]? {
        while let sink = sinks.first {
            let feed: DeliveryFeed
            if let open = self.feed { feed = open } else { feed = try await begin(sink.index, sink.name) }
            if let portion = try await feed.next(below: selection.offsets.upperBound, isLast: true) {
                guard portion.gap == nil else {
                    throw PipelineError.failed(
                        "retention has removed a part of it meanwhile; begin with a later --from")
                }
                return items(portion, sink.name)
            }
            self.feed = nil
            sinks.removeFirst()
        }
        return nil
    }

    private func begin(_ index: Int, _ name: String) async throws -> DeliveryFeed {
        var selection = selection
        if folds {
            selection.newest =
                try NewestChanges(directory, selection, mapper: mapper, sink: index, name: name).offsets
        }
        let feed = DeliveryFeed(
            directory: directory, mapper: mapper, sinkIndex: index, sinkName: name,
            stateful: folds ? [] : mapper.stateful, selection: selection)
        try await feed.seek(to: selection.offsets.lowerBound)
        self.feed = feed
        return feed
    }

    private func items(_ portion: DeliveryFeed.Portion, _ sink: String) -> [Item] {
        let written = portion.batch.changes.map { change in
            Item(
                sink: sink, offset: change.offset, operation: change.change.operation,
                path: change.change.path, writes: change.writes)
        }
        let refused = portion.failures.map { failure in
            Item(
                sink: sink, offset: failure.offset, operation: failure.change.operation,
                path: failure.change.path, writes: [], refusal: failure.reason)
        }
        return (written + refused).sorted { $0.offset < $1.offset }
    }
}
