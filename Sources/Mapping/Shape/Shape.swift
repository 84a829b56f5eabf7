/// What a rule does to the decoded value before its fields are built, in this order: flatten, rename, select, drop,
/// default, cast, hash, mask. Names are paths into the value, without `value` (`address.host`).
public struct Shape: Sendable, Hashable {
    /// Nested objects become members of the outermost, their names joined by this; `nil`: they stay.
    public var flatten: String?
    public var rename: [Renaming] = []
    /// The members to keep; `nil`: all.
    public var select: [[String]]?
    public var drop: [[String]] = []
    public var defaults: [Default] = []
    public var casts: [Cast] = []
    /// Members that are replaced by their digest.
    public var hash: [[String]] = []
    /// Makes the digest one that nobody without the key can look up; `nil`: a plain SHA-256.
    public var hashKey: String?
    /// Members that are replaced by stars.
    public var mask: [[String]] = []

    public struct Renaming: Sendable, Hashable {
        public var from: [String]
        public var to: [String]

        public init(from: [String], to: [String]) {
            self.from = from
            self.to = to
        }
    }

    public struct Default: Sendable, Hashable {
        public var name: [String]
        public var text: String

        public init(name: [String], text: String) {
            self.name = name
            self.text = text
        }
    }

    public struct Cast: Sendable, Hashable {
        public var name: [String]
        public var type: FieldType

        public init(name: [String], type: FieldType) {
            self.name = name
            self.type = type
        }
    }

    public init() {}

    public var isEmpty: Bool { self == Shape() }
}

extension Shape {
    /// Null, which is a node without data, stays null.
    func apply(to value: Value) throws(MappingFault) -> Value {
        if value == .null { return value }
        guard case .object = value else {
            throw .wrongShape(
                "select, drop, rename and the like need an object, but the data is \(value.kind)")
        }
        var value = value
        if let flatten { value = try value.flattened(flatten) }
        for renaming in rename {
            guard let member = value.member(at: renaming.from[...]) else { continue }
            value.set(nil, at: renaming.from[...])
            value.set(member, at: renaming.to[...])
        }
        if let select {
            var kept = Value.object(ObjectValue())
            for name in select {
                if let member = value.member(at: name[...]) { kept.set(member, at: name[...]) }
            }
            value = kept
        }
        for name in drop { value.set(nil, at: name[...]) }
        for entry in defaults {
            let member = value.member(at: entry.name[...])
            if member == nil || member == .null { value.set(.text(entry.text), at: entry.name[...]) }
        }
        for cast in casts {
            guard let member = value.member(at: cast.name[...]), member != .null else { continue }
            guard let converted = cast.type.convert(member) else {
                throw .wrongType(
                    "\(cast.name.joined(separator: ".")) is \(member.kind) that cannot become \(cast.type.article)"
                )
            }
            value.set(converted, at: cast.name[...])
        }
        hide(in: &value)
        return value
    }

    private func hide(in value: inout Value) {
        for name in hash {
            guard let member = value.member(at: name[...]), member != .null else { continue }
            let digest = DigestAlgorithm.sha256.hexadecimal(
                of: member.textBytes, key: hashKey.map { Bytes($0.utf8) })
            value.set(.text(digest), at: name[...])
        }
        for name in mask {
            guard let member = value.member(at: name[...]), member != .null else { continue }
            value.set(.text("********"), at: name[...])
        }
    }
}

extension Value {
    /// Sets or, with `nil`, removes a member, or an item of an array by its number; objects on the way are made. Steps
    /// into anything else change nothing. A name with dots of its own is found as `member(at:)` finds it.
    mutating func set(_ value: Value?, at steps: ArraySlice<String>) {
        switch self {
        case .object(let members): setMember(of: members, value, at: steps)
        case .array(let items): setItem(of: items, value, at: steps)
        default: break
        }
    }

    private mutating func setItem(of items: [Value], _ value: Value?, at steps: ArraySlice<String>) {
        guard let index = steps.first.flatMap({ Int($0) }), items.indices.contains(index) else { return }
        var items = items
        self = .null
        defer { self = .array(items) }
        if steps.count > 1 {
            items[index].set(value, at: steps.dropFirst())
        } else if let value {
            items[index] = value
        } else {
            items.remove(at: index)
        }
    }

    private mutating func setMember(of members: ObjectValue, _ value: Value?, at steps: ArraySlice<String>) {
        guard let step = steps.first else { return }
        var members = members
        self = .null
        defer { self = .object(members) }
        if steps.count == 1 {
            members[step] = value
            return
        }
        let joined = steps.joined(separator: ".")
        if members[step] == nil, members[joined] != nil {
            members[joined] = value
        } else if var inner = members[step] ?? (value == nil ? nil : .object(ObjectValue())) {
            inner.set(value, at: steps.dropFirst())
            members[step] = inner
        }
    }

    /// Names that are nested deeply are repeated for each member below: more bytes of them are refused.
    private static let maximumNameBytes = 16 << 20

    /// Arrays stay as they are.
    fileprivate func flattened(_ separator: String) throws(MappingFault) -> Value {
        guard case .object(let members) = self else { return self }
        var flat: [ObjectValue.Member] = []
        var bytes = 0
        func add(_ members: ObjectValue, _ prefix: String) throws(MappingFault) {
            for member in members.members {
                let name = prefix + member.name
                bytes += name.utf8.count
                guard bytes <= Value.maximumNameBytes else {
                    throw .wrongShape("flatten would give names of more than \(Value.maximumNameBytes) bytes")
                }
                if case .object(let inner) = member.value, !inner.members.isEmpty {
                    try add(inner, name + separator)
                } else {
                    flat.append(.init(name: name, value: member.value))
                }
            }
        }
        try add(members, "")
        return .object(ObjectValue(flat))
    }
}
