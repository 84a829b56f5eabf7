/// The dead letters that a command is about.
public struct DeadLetterSelection: Sendable {
    /// `nil`: all.
    public var numbers: Set<Int64>?
    public var sink: String?
    public var stage: RefusingStage?
    /// Refused before this time, in milliseconds since 1970.
    public var before: Int64?
    /// Whether nobody has dealt with it; `nil`: either.
    public var isOpen: Bool?

    public init(
        numbers: Set<Int64>? = nil, sink: String? = nil, stage: RefusingStage? = nil, before: Int64? = nil,
        isOpen: Bool? = nil
    ) {
        self.numbers = numbers
        self.sink = sink
        self.stage = stage
        self.before = before
        self.isOpen = isOpen
    }

    public func contains(_ letter: DeadLetter, _ resolution: DeadLetterResolution?) -> Bool {
        if let numbers, !numbers.contains(letter.number) { return false }
        if let sink, sink != letter.sink { return false }
        if let stage, stage != letter.stage { return false }
        if let before, letter.refused >= before { return false }
        return isOpen.map { $0 == (resolution == nil) } ?? true
    }

    /// Throws `PipelineError.unavailable` where a number was asked for that is not among those found.
    func check(found: Set<Int64>) throws(PipelineError) {
        guard let missing = numbers?.subtracting(found).min() else { return }
        throw .unavailable("there is no dead letter \(missing): it was purged, or never written")
    }
}
