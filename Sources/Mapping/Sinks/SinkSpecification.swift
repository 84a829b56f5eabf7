public import ChangeModel

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
    /// How long it is kept from each write on, for example `30s`; `nil`: for ever.
    public var ttl: Template?
    /// Of a stream: the name that Debezium's envelope of each change gives as its source; `nil`: no envelope.
    public var envelope: String?
    public var onDelete: DeletePolicy
    /// Whether a change that a filter has let nothing through of removes what its znode wrote before.
    public var removesFiltered = true
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

    /// Whether two changes of one znode may write to different keys, members or fields, or one that is filtered out may
    /// find there what another znode has written: the store has to remember what belongs to which path.
    public func remembersAddresses(_ transform: TransformSpecification) -> Bool {
        guard holdsState else { return false }
        let references = addressTemplates.flatMap(\.template.references)
        guard let rules = transform.rules else { return references.contains { !$0.isPathDetermined } }
        // Behind the rules a filter takes the value away, and jq makes another.
        let isLast = transform.stages.last { StatefulStage($0) == nil }?.rules != nil
        return rules.contains { rule in
            guard rule.to?.contains(name) ?? true else { return false }
            // What is decoded from the path is as the path.
            let isOfPath = isLast && rule.from != nil && rule.jq == nil
            return references.contains { $0.needsValue ? !isOfPath : !$0.isPathDetermined }
                || (removesFiltered && transform.filters(rule) && !undistinguished(rule.match).isEmpty)
        }
    }

    /// What tells znodes apart that a pattern matches, and is in no address: they write the same thing.
    public func undistinguished(_ pattern: PathPattern) -> [String] {
        let references = addressTemplates.flatMap(\.template.references)
        if references.contains(.metadata(.path)) { return [] }
        let unused = pattern.captureNames.filter { !references.contains(.capture($0)) }.map { "{\($0)}" }
        return unused + (pattern.text.contains("*") ? ["*"] : [])
    }

    /// Whether what is written stands for the node's present state, and goes when the node goes.
    public var holdsState: Bool {
        switch write {
        case .string, .hash, .set, .sortedSet, .children: true
        case .stream, .stdout: false
        }
    }
}

/// The form of what is written.
public enum WriteKind: Sendable, Hashable {
    case stream(StreamOptions)
    case string, hash, set, sortedSet
    /// A string that holds the members as a sorted JSON array of texts.
    case children
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

extension SinkSpecification {
    /// How many writes one change may become; `nil`: any number.
    var writeLimit: Int? {
        if case .stream(let options) = write, options.id == .zxid {
            StreamOptions.entriesPerChange
        } else {
            nil
        }
    }
}

/// How a stream numbers and trims its entries.
public struct StreamOptions: Sendable, Hashable {
    public var id: EntryID
    /// `nil`: never trimmed.
    public var trim: Trim?

    public enum EntryID: String, Sendable, Hashable, CaseIterable {
        /// From the log's offset: an entry that is sent again is recognised.
        case offset
        /// From the transaction's zxid and the change's place in it: the same for every log of an ensemble (observer only).
        case zxid
        /// Given by Redis (`*`): no protection against duplicates.
        case auto
    }

    public enum Trim: Sendable, Hashable {
        /// Entries to keep; `approximate` (`~`) lets Redis keep somewhat more, which is much cheaper.
        case length(Int64, approximate: Bool)
        /// Milliseconds for which an entry is kept.
        case age(milliseconds: Int64)
    }

    /// IDs that `zxid` has for one change in one stream.
    public static let entriesPerChange = 1024

    public init(id: EntryID = .offset, trim: Trim? = nil) {
        self.id = id
        self.trim = trim
    }
}
