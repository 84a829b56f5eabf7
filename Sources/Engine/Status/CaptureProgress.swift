public import ChangeModel
import Synchronization

/// What the capture has done so far. The source writes it, at most once for each batch of events.
public final class CaptureProgress: Sendable {
    /// Counted by the source since its start.
    public struct Counts: Sendable, Hashable {
        /// Live nodes within the scope.
        public var nodes = 0
        /// Nodes that may not be read.
        public var hidden = 0
        /// The tree is being read as a whole.
        public var isReadingTree = false
        /// The last transaction that was heard of.
        public var seen = Zxid.none
        /// Values that were overwritten before they could be read.
        public var missedValues = 0
        /// How often the tree was compared with what the log knows.
        public var resyncs = 0
        /// How often transactions were gone before they could be had, and only their outcome is told.
        public var historyGaps = 0

        public init() {}
    }

    public struct Connection: Sendable, Hashable {
        /// host:port
        public var server: String
        public var session: Int64
    }

    private struct State {
        var counts = Counts()
        var connection: Connection?
        var connections: Int64 = 0
    }

    private let state = Mutex(State())
    /// Why there is no connection.
    public let trouble = Trouble()

    public init() {}

    public func connected(server: String, session: Int64) {
        state.withLock { state in
            state.connection = Connection(server: server, session: session)
            state.connections += 1
        }
        trouble.passed()
    }

    public func disconnected(_ reason: String) {
        state.withLock { $0.connection = nil }
        trouble.met(reason)
    }

    public func note(_ counts: Counts) {
        state.withLock { $0.counts = counts }
    }

    public var counts: Counts { state.withLock { $0.counts } }
    /// `nil` while there is none.
    public var connection: Connection? { state.withLock { $0.connection } }
    /// Connections after the first.
    public var reconnects: Int64 { state.withLock { max($0.connections - 1, 0) } }
}
