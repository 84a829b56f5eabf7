/// A dead letter that a replay has written into a sink.
public struct ReplayedLetter: Sendable, Hashable {
    public var number: Int64
    /// The change's place in the pipeline's log.
    public var offset: Int64

    public init(number: Int64, offset: Int64) {
        self.number = number
        self.offset = offset
    }
}

extension ChangeSink {
    /// A sink that keeps no account of replays.
    public func replayedLetters() async throws -> [ReplayedLetter] { [] }
}
