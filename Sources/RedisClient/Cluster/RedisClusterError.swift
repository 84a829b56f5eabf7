/// Why commands for a slot have not got their replies.
///
/// Safe to print: no data is in it, except what a server quotes in an error of its own.
public struct RedisClusterError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        // The node answered so. A command or transaction that is answered so has not been executed.

        /// Another node serves the slot from now on. The map of slots has been told already.
        case moved(to: RedisEndpoint.Address)
        /// Keys of the slot are on their way to another node, and these are there, or nowhere: the same goes
        /// to that node as `ClusterBatch.Target.asking`. The slot's owner stays.
        case ask(to: RedisEndpoint.Address)
        /// Some of the keys are on their way to another node. Also a redirection to a node without an address.
        case tryAgain
        /// The cluster has lost nodes, or nobody serves the slot; healthy nodes say so too.
        case clusterDown
        /// The node is reading its data.
        case loading
        /// The node is a replica that has lost its master.
        case masterDown
        /// The node has become a replica.
        case readOnly
        /// The keys are not of one slot, or not of the slot that was given. The same will always fail.
        case crossSlot

        // Nothing was sent.

        /// Nobody is known to serve the slot.
        case notCovered
        /// No connection came about: to the node, or where no map of the slots is there yet, to any node.
        case unreachable(RedisError.Code)
        /// The slot's owner, or the connection to it, is not the one that `ClusterBatch.connection` wants.
        case connectionChanged
        /// Too much is outstanding on the connection to the node.
        case limitExceeded
        /// `close()` was called.
        case closed

        // Whether, or how much of it, was executed is unknown.

        /// The connection ended before all was answered.
        case connectionLost(RedisError.Code)
        /// The deadline passed before it was answered.
        case timeout
        /// The task was cancelled.
        case cancelled
    }

    public var code: Code
    public var message: String
    /// The node that was asked.
    public var node: RedisEndpoint.Address?

    public init(code: Code, message: String, node: RedisEndpoint.Address? = nil) {
        self.code = code
        self.message = message
        self.node = node
    }

    public var description: String {
        node.map { "\($0): \(message)" } ?? message
    }
}
