/// What a stage did with a change, for people who try rules out.
public struct MappingStep: Sendable, Hashable {
    /// From 0.
    public var stage: Int
    /// Of the rule or stage, where it is known.
    public var line: Int?
    public var event: Event
    /// The captures of the rule, by name.
    public var captures: [Field] = []
    /// What has become of the data, as text; `nil` where there is none (any more).
    public var value: Bytes?
    /// The fields that `set` has built.
    public var fields: [Field]?

    public enum Event: Sendable, Hashable {
        /// The rule, or the stage's jq, was carried out; these are the names of the rule's captures.
        case applied([String])
        /// The rule's pattern matches, but `exclude` takes the path out.
        case excluded
        /// The rule matches, and its `on` leaves the operation out.
        case operation
        /// The rule matches, and its `to` leaves the sink out.
        case notAddressed
        /// No rule of the stage matches.
        case noRule
        /// `drop`, `select` or jq has let nothing through.
        case filtered
    }

    init(stage: Int, line: Int?, _ record: borrowing Record, _ event: Event) {
        self.stage = stage
        self.line = line
        self.event = event
        guard case .applied(let names) = event else { return }
        captures = zip(names, record.input.captures).map { Field(name: $0, value: Bytes($1.utf8)) }
        value = record.input.value?.textBytes
        fields = record.fields?.fields
    }
}
