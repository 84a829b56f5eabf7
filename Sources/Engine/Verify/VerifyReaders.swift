public import ChangeModel
public import Mapping

/// A node as it stands.
public struct TreeNode: Sendable, Hashable {
    public var path: String
    /// Empty for a node without data.
    public var data: [UInt8]
    public var stat: NodeStat

    public init(path: String, data: [UInt8], stat: NodeStat) {
        self.path = path
        self.data = data
        self.stat = stat
    }
}

/// What a look at one path finds.
public enum NodeReading: Sendable, Hashable {
    case live(TreeNode)
    case absent
    /// The session may not read it, or one above it: nothing is known.
    case hidden
}

/// Reads a tree as it stands, without capturing it. For one task at a time.
public protocol TreeReader: Sendable {
    /// The next nodes of a walk over the whole scope, some thousands at most; none at its end.
    ///
    /// Throws `PipelineError.unavailable` where no server can be reached.
    func next() async throws -> [TreeNode]

    /// The nodes at these paths, as new as the ensemble has them, in their order.
    func read(_ paths: [String]) async throws -> [NodeReading]

    /// Nodes that the walk could not read; nothing is known of what lies below them.
    var hiddenPaths: Int { get async }
}

/// Reads what a sink's store holds, without taking part in its delivery.
///
/// All of it throws `PipelineError.unavailable` where the store cannot be read.
public protocol SinkReader: Sendable {
    /// What is there of each, in their order.
    func read(_ items: [SinkItem]) async throws -> [ItemContent]

    /// Hands over, in portions, the items of one kind under all keys that fit a glob pattern. One may come twice. Keys
    /// in which pipelines keep their own affairs are left out.
    func scan(
        _ kind: SinkItem.Kind, _ pattern: Bytes, _ body: ([SinkItem]) async throws -> Void
    ) async throws

    /// Hands over, in portions, what the sink remembers to have written for each path. `kind`: of the sink.
    func remembered(
        _ kind: SinkItem.Kind, _ body: ([(path: String, items: [SinkItem])]) async throws -> Void
    ) async throws

    func close() async
}
