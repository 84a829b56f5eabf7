import ChangeModel
public import Mapping

/// Which changes of the log a replay delivers, and under which keys.
public struct ReplaySelection: Sendable {
    public var offsets: Range<Int64>
    public var filter: ChangeFilter
    /// Put before every key.
    public var keyPrefix: Bytes
    /// Changes handed out at once, where fewer than usual.
    var portionChanges: Int64?
    /// By path the newest change of the stretch; `nil`: each counts.
    var newest: [String: Int64]?

    public init(
        _ offsets: Range<Int64>, filter: ChangeFilter = ChangeFilter(match: []), keyPrefix: Bytes = []
    ) {
        self.offsets = offsets
        self.filter = filter
        self.keyPrefix = keyPrefix
    }

    func contains(_ change: Change, offset: Int64) -> Bool {
        guard filter.takes(change) else { return false }
        guard let newest else { return true }
        return newest[change.path] == offset
    }

    func prefixed(_ writes: [SinkWrite]) -> [SinkWrite] {
        keyPrefix.isEmpty ? writes : writes.map { $0.prefixed(by: keyPrefix) }
    }
}

extension SinkWrite {
    fileprivate func prefixed(by prefix: Bytes) -> SinkWrite {
        switch self {
        case .streamAdd(let key, let fields): .streamAdd(key: prefix + key, fields: fields)
        case .setString(let key, let value): .setString(key: prefix + key, value: value)
        case .replaceHash(let key, let fields): .replaceHash(key: prefix + key, fields: fields)
        case .setHashField(let key, let field, let value):
            .setHashField(key: prefix + key, field: field, value: value)
        case .removeHashField(let key, let field): .removeHashField(key: prefix + key, field: field)
        case .addMember(let key, let member): .addMember(key: prefix + key, member: member)
        case .removeMember(let key, let member): .removeMember(key: prefix + key, member: member)
        case .addScoredMember(let key, let member, let score):
            .addScoredMember(key: prefix + key, member: member, score: score)
        case .removeScoredMember(let key, let member): .removeScoredMember(key: prefix + key, member: member)
        case .addListItem(let key, let item): .addListItem(key: prefix + key, item: item)
        case .removeListItem(let key, let item): .removeListItem(key: prefix + key, item: item)
        case .deleteKey(let key): .deleteKey(key: prefix + key)
        case .expiring(let write, let milliseconds):
            .expiring(write.prefixed(by: prefix), milliseconds: milliseconds)
        case .release, .envelope: self
        }
    }
}
