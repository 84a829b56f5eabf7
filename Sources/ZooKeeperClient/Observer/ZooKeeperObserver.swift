public import Logging
public import NIOCore
public import NIOPosix

/// Follows an ensemble as a learner without a vote: every committed transaction in the order of zxids, as the ensemble's
/// own servers see them, and before that the whole tree where transactions are not to be had any more.
///
/// It connects to quorum ports, opens none, never votes, and acknowledges no transaction; the ensemble does not depend on
/// it. It sees past the access control lists of nodes.
///
///     let observer = ZooKeeperObserver(configuration: configuration, logger: logger)
///     async let running: Void = observer.run()
///     for try await event in observer { … }
///
/// Who does not fetch events stops the reading, and after `stallLimit` the connection; nothing is lost by that as long
/// as the ensemble keeps the transactions.
public struct ZooKeeperObserver: Sendable, AsyncSequence {
    let core: ObserverCore

    public init(
        configuration: ObserverConfiguration,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger
    ) {
        core = ObserverCore(configuration, eventLoopGroup.next(), logger)
    }

    /// Everything that has happened since the last call; waits until something does.
    ///
    /// - Parameter timeout: How long to wait; `nil` waits for ever.
    /// - Returns: Events in their order; none when the time is over.
    /// - Throws: `CancellationError` when the task is cancelled. `ZooKeeperError`: what `run()` threw, or `.closed` when it
    ///   was cancelled, once all events are fetched; `.badArguments` when another task waits already.
    public func nextEvents(timeout: Duration?) async throws -> [ObserverEvent] {
        try await core.nextEvents(timeout: timeout)
    }

    // MARK: As a sequence

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(core: core) }

    /// Ends with an error as `nextEvents` does; it never just ends.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let core: ObserverCore
        private var fetched: ArraySlice<ObserverEvent> = []

        init(core: ObserverCore) { self.core = core }

        public mutating func next() async throws -> ObserverEvent? {
            while true {
                if let event = fetched.popFirst() { return event }
                fetched = try await core.nextEvents(timeout: nil)[...]
            }
        }
    }
}
