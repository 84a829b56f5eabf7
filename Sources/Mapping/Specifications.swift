public import ChangeModel
public import JQ

/// What the definition says about the way from a change to its fields: stages, in order. Without any,
/// every change goes to every sink as it is.
public struct TransformSpecification: Sendable {
    public var stages: [Stage]

    public enum Stage: Sendable {
        /// The first rule that matches decides, and with `continues` the next one, too; what none matches is dropped.
        case rules([Rule])
        /// What matches goes no further.
        case drop(ChangeFilter)
        /// Only what matches goes on.
        case select(ChangeFilter)
        /// The value becomes what the program makes of it; without output the change goes no further.
        case jq(JQProgram, line: Int)
        /// A change that would write what its znode wrote last goes no further.
        case dedupe
        /// Of the changes of one znode at most one in so many milliseconds goes on: the newest.
        case throttle(milliseconds: Int64)

        public var rules: [Rule]? { if case .rules(let rules) = self { rules } else { nil } }

        /// Whether what comes out is not what went in.
        var makesValues: Bool {
            switch self {
            case .rules, .jq: true
            case .drop, .select, .dedupe, .throttle: false
            }
        }
    }

    public init(stages: [Stage] = []) {
        self.stages = stages
    }

    /// The rules of all stages; `nil` where no stage has any.
    public var rules: [Rule]? {
        let lists = stages.compactMap(\.rules)
        return lists.isEmpty ? nil : lists.flatMap { $0 }
    }
}

extension TransformSpecification {
    /// Whether some change of a node that the rule matches may be let through, and another one filtered out.
    func filters(_ rule: Rule) -> Bool {
        rule.jq != nil
            || stages.contains { stage in
                switch stage {
                case .jq: true
                case .rules(let rules): rules.contains { $0.jq != nil }
                case .drop(let filter), .select(let filter):
                    filter.operations.count < Operation.allCases.count
                case .dedupe, .throttle: false
                }
            }
    }
}

/// What a `drop` or `select` stage looks at.
public struct ChangeFilter: Sendable, Hashable {
    /// Any of them; none: every path.
    public var match: [PathPattern]
    public var operations: Set<Operation>

    public init(match: [PathPattern], operations: Set<Operation> = Set(Operation.allCases)) {
        self.match = match
        self.operations = operations
    }

    public func takes(_ change: Change) -> Bool {
        operations.contains(change.operation) && takes(change.path)
    }

    public func takes(_ path: String) -> Bool { match.isEmpty || match.contains { $0.matches(path) } }
}

/// One rule, carried out in this order: match, decompress, decode, jq, shape, set.
public struct Rule: Sendable {
    public var match: PathPattern
    /// Patterns whose matches, with all below them, the rule does not match.
    public var exclude: [PathPattern]
    /// Whether the rules behind it are looked at, too.
    public var continues: Bool
    /// The operations it lets through. Others are dropped: they do not fall through to a later rule.
    public var operations: Set<Operation>
    public var compression: Compression
    /// What is decoded instead of the data: text of the path, so that a delete has a value, too.
    public var from: Template?
    public var decode: Decoding
    public var jq: JQProgram?
    public var shape = Shape()
    /// How long what it writes is kept; `nil`: as the sink says.
    public var ttl: Template?
    /// The fields to build; `nil`: the fields are the decoded data itself.
    public var set: [FieldDefinition]?
    /// The sinks it writes to; `nil`: all of them.
    public var to: [String]?
    /// Where the rule stands in the definition, for error messages; 0 where it is in none.
    public var line: Int

    public init(
        match: PathPattern, exclude: [PathPattern] = [], continues: Bool = false,
        operations: Set<Operation> = Set(Operation.allCases), compression: Compression = .none,
        from: Template? = nil, decode: Decoding = .none, set: [FieldDefinition]? = nil, to: [String]? = nil,
        line: Int = 0
    ) {
        self.match = match
        self.exclude = exclude
        self.continues = continues
        self.operations = operations
        self.compression = compression
        self.from = from
        self.decode = decode
        self.set = set
        self.to = to
        self.line = line
    }
}

/// How the bytes of a znode (or the text of `from`) become `value`.
public enum Decoding: String, Sendable, Hashable, CaseIterable {
    case json
    /// One YAML document, without aliases and merge keys.
    case yaml
    /// A Java properties file in UTF-8: an object of texts.
    case properties
    /// A URL: an object of its parts (`scheme`, `user`, `password`, `host`, `port`, `path`, `fragment`), with the
    /// parameters in `query`.
    case url
    /// Valid UTF-8, as it stands.
    case text
    /// A decimal integer of 64 bits; white space around it is ignored.
    case integer
    /// A decimal number; white space around it is ignored.
    case number
    /// The bytes that base64 text stands for.
    case base64
    /// The bytes as they are.
    case none

    /// Whether the value has members that templates can name.
    public var givesMembers: Bool {
        switch self {
        case .json, .yaml, .properties, .url: true
        case .text, .integer, .number, .base64, .none: false
        }
    }
}

/// How data is compressed, before it is decoded.
public enum Compression: String, Sendable, Hashable, CaseIterable {
    case none
    /// gzip, or zlib.
    case gzip
    /// One LZ4 frame.
    case lz4
    /// Frames of zstd.
    case zstd
    /// One of these where the data begins like it, and as it is otherwise.
    case auto
}
