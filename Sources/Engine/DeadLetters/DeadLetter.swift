public import ChangeModel

/// The stage that refused a change.
public enum RefusingStage: UInt8, Sendable, Hashable, CaseIterable {
    case transform = 1
    case delivery = 2

    public var text: String { self == .transform ? "transform" : "delivery" }
}

/// One change that a sink did not get, as the dead-letter log holds it.
public struct DeadLetter: Sendable, Hashable {
    /// Its place in the dead-letter log, for ever.
    public var number: Int64
    /// When it was refused, in milliseconds since 1970.
    public var refused: Int64
    public var stage: RefusingStage
    /// The change's place in the pipeline's log.
    public var offset: Int64
    public var sink: String
    public var reason: String
    public var change: Change

    public init(
        number: Int64, refused: Int64, stage: RefusingStage, offset: Int64, sink: String, reason: String,
        change: Change
    ) {
        self.number = number
        self.refused = refused
        self.stage = stage
        self.offset = offset
        self.sink = sink
        self.reason = reason
        self.change = change
    }
}

/// How a dead letter was dealt with.
public enum DeadLetterOutcome: UInt8, Sendable, Hashable, CaseIterable {
    /// The sink has it.
    case delivered = 1
    /// A later change of the same node, key, field or member is in the log: that one counts.
    case superseded = 2
    /// The definition of that day gives the sink nothing to write for it.
    case dropped = 3

    public var text: String {
        switch self {
        case .delivered: "delivered"
        case .superseded: "superseded"
        case .dropped: "dropped"
        }
    }
}

/// The note that a dead letter was dealt with.
public struct DeadLetterResolution: Sendable, Hashable {
    public var number: Int64
    public var outcome: DeadLetterOutcome
    /// In milliseconds since 1970.
    public var time: Int64

    public init(number: Int64, outcome: DeadLetterOutcome, time: Int64) {
        self.number = number
        self.outcome = outcome
        self.time = time
    }
}
