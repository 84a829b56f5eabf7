public import ChangeModel

/// What the definition says about the way from a change to its fields: stages, in order. Without any,
/// every change goes to every sink as it is.
public struct TransformSpecification: Sendable, Hashable {
    public var stages: [Stage]

    public enum Stage: Sendable, Hashable {
        /// The first rule that matches decides, and with `continues` the next one, too; what none matches is dropped.
        case rules([Rule])
    }

    public init(stages: [Stage] = []) {
        self.stages = stages
    }

    /// The rules of all stages; `nil` where there is no transform.
    public var rules: [Rule]? {
        guard !stages.isEmpty else { return nil }
        return stages.flatMap { stage in
            switch stage {
            case .rules(let rules): rules
            }
        }
    }
}

/// One rule, carried out in this order: match, decompress, decode, set.
public struct Rule: Sendable, Hashable {
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
    /// gzip or an LZ4 frame where the data begins like one, and as it is otherwise.
    case auto
}

/// One field of `set`.
public struct FieldDefinition: Sendable, Hashable {
    public var name: String
    public var source: Source
    public var line: Int

    public enum Source: Sendable, Hashable {
        case template(Template)
        /// One reference, cast to a type, with the text to use where it is missing.
        case cast(from: Reference, type: FieldType, default: String?)
    }

    public init(name: String, source: Source, line: Int = 0) {
        self.name = name
        self.source = source
        self.line = line
    }

    /// Whether it needs the decoded data: a delete leaves such a field out.
    public var needsValue: Bool {
        switch source {
        case .template(let template): template.needsValue
        case .cast(let reference, _, _): reference.needsValue
        }
    }
}

/// What `type:` of a field may ask for.
public enum FieldType: String, Sendable, Hashable, CaseIterable {
    case string, integer, number, boolean
}

/// What a sink writes, and under which names.
public struct SinkSpecification: Sendable, Hashable {
    public var name: String
    public var write: WriteKind
    /// `nil` only for `stdout`.
    public var key: Template?
    /// The member of a set or sorted set.
    public var member: Template?
    /// The one field of a hash to write; `nil`: the whole hash.
    public var field: Template?
    /// What a string (or the one field of a hash) holds; `nil`: `value`.
    public var value: Template?
    /// The score in a sorted set.
    public var score: Template?
    public var onDelete: DeletePolicy
    /// Where the sink stands in the definition, for error messages; 0 where it is in none.
    public var line: Int

    public init(
        name: String, write: WriteKind, key: Template? = nil, member: Template? = nil, field: Template? = nil,
        value: Template? = nil, score: Template? = nil, onDelete: DeletePolicy = .delete, line: Int = 0
    ) {
        self.name = name
        self.write = write
        self.key = key
        self.member = member
        self.field = field
        self.value = value
        self.score = score
        self.onDelete = onDelete
        self.line = line
    }

    /// The templates that say which thing is written: one that changes leaves the old thing behind.
    public var addressTemplates: [(name: String, template: Template)] {
        [("key", key), ("member", member), ("field", field)].compactMap { name, template in
            template.map { (name, $0) }
        }
    }

    /// Whether the key, member or field name depends on the data. A delete has none, so that such a sink
    /// has to remember which key belongs to which path.
    public var keyNeedsValue: Bool { addressTemplates.contains { $0.template.needsValue } }

    /// Whether what is written stands for the node's present state, and goes when the node goes.
    public var holdsState: Bool {
        switch write {
        case .string, .hash, .set, .sortedSet: true
        case .stream, .stdout: false
        }
    }
}

/// The form of what is written.
public enum WriteKind: Sendable, Hashable {
    case stream(StreamOptions)
    case string, hash, set, sortedSet
    /// JSON lines on standard output.
    case stdout
}

/// What becomes of a key when its znode is deleted.
public enum DeletePolicy: String, Sendable, Hashable, CaseIterable {
    /// It is removed: the key, the hash field or the member.
    case delete
    /// It stays and says so: an empty string (or hash field), a hash with the one field `deleted` = `1`.
    case tombstone
    /// Nothing is written.
    case keep
}

/// How a stream numbers and trims its entries.
public struct StreamOptions: Sendable, Hashable {
    public var id: EntryID
    /// `nil`: never trimmed.
    public var trim: Trim?

    public enum EntryID: String, Sendable, Hashable, CaseIterable {
        /// From the log's offset: an entry that is sent again is recognised.
        case offset
        /// Given by Redis (`*`): no protection against duplicates.
        case auto
    }

    public enum Trim: Sendable, Hashable {
        /// Entries to keep; `approximate` (`~`) lets Redis keep somewhat more, which is much cheaper.
        case length(Int64, approximate: Bool)
        /// Milliseconds for which an entry is kept.
        case age(milliseconds: Int64)
    }

    public init(id: EntryID = .offset, trim: Trim? = nil) {
        self.id = id
        self.trim = trim
    }
}
