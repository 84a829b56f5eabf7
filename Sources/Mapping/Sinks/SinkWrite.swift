/// Raw bytes, as Redis keeps them.
public typealias Bytes = [UInt8]

/// One named value of a hash or of a stream entry.
public struct Field: Sendable, Hashable {
    public var name: Bytes
    public var value: Bytes

    public init(name: Bytes, value: Bytes) {
        self.name = name
        self.value = value
    }

    public init(name: String, value: Bytes) {
        self.init(name: Bytes(name.utf8), value: value)
    }
}

/// What a sink is asked to write for one change, in the terms of the store and without its protocol.
public enum SinkWrite: Sendable, Hashable {
    /// Appends an entry; the sink chooses its ID from the offset.
    case streamAdd(key: Bytes, fields: FieldList)
    case setString(key: Bytes, value: Bytes)
    /// Replaces the whole hash in one step (DEL and HSET together); `fields` is never empty.
    case replaceHash(key: Bytes, fields: FieldList)
    case setHashField(key: Bytes, field: Bytes, value: Bytes)
    case removeHashField(key: Bytes, field: Bytes)
    case addMember(key: Bytes, member: Bytes)
    case removeMember(key: Bytes, member: Bytes)
    /// `score` is the decimal text of a finite number.
    case addScoredMember(key: Bytes, member: Bytes, score: Bytes)
    case removeScoredMember(key: Bytes, member: Bytes)
    /// Adds a text to the sorted JSON array that the string holds.
    case addListItem(key: Bytes, item: Bytes)
    case removeListItem(key: Bytes, item: Bytes)
    case deleteKey(key: Bytes)
    /// A write of a key that the store forgets after so many milliseconds; `nil`: when it would have without the write.
    indirect case expiring(SinkWrite, milliseconds: Int64?)
    /// Removes what the znode wrote before, under a name that only the sink remembers.
    case release
    /// The change itself as one JSON line (`write: stdout`): the caller builds the envelope.
    case envelope
}

/// Why a change gives a sink nothing to write. None of these is an error.
public enum DropReason: String, Sendable, Hashable, CaseIterable {
    /// No rule matches the path.
    case noRule
    /// The first rule that matches leaves the operation out of `on`.
    case operation
    /// The rule's `to` does not name this sink, or the change is meant for another sink alone.
    case notAddressed
    /// A delete, and the sink keeps what it has (`on_delete: keep`).
    case kept
    /// `drop`, `select` or `jq` has let nothing through, and the sink has nothing to remove for it.
    case filtered
}

/// What one change becomes for one sink.
public enum MappingResult: Sendable, Hashable {
    /// In the order in which they are to be written; never empty.
    case writes([SinkWrite])
    case dropped(DropReason)
    /// The definition and the data do not fit together: this change is for the dead letters.
    case failed(MappingError)
}

/// Why a change cannot be mapped. All of it is safe to print: no data of the znode is in it.
public struct MappingError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// The data is not what `decode` says.
        case undecodable
        /// A template or a field needs a value that is not there and has no default.
        case missing
        /// A value cannot become the `type` that was asked for.
        case wrongType
        /// The decoded data has a form that the sink cannot write.
        case wrongShape
        /// A jq program has ended with an error or did not end in time.
        case jq
        /// What a rule needs is missing: no fault of the change, which has to come again.
        case unavailable
    }

    public var code: Code
    /// Index of the rule from 0, over all stages; `nil` where the definition has no transform or no rule failed.
    public var rule: Int?
    /// Line of the rule in the definition, without a transform of the sink; `nil` where it is not known.
    public var line: Int?
    /// The field of `set`, or `key`, `member`, `field`, `score` or `value` of the sink.
    public var field: String?
    /// The znode.
    public var path: String
    /// One clause, without the data.
    public var reason: String

    public init(
        code: Code, rule: Int?, line: Int?, field: String?, path: String, reason: String
    ) {
        self.code = code
        self.rule = rule
        self.line = line
        self.field = field
        self.path = path
        self.reason = reason
    }

    public var description: String {
        var place = rule.map { "rule \($0 + 1)" } ?? "sink"
        if let line { place += " (line \(line))" }
        if let field { place += ", '\(field)'" }
        return "\(place): \(reason), in znode \(path)"
    }
}
