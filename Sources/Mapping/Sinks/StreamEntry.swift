public import ChangeModel

/// The fields of a stream entry.
public enum StreamEntry {
    private static let names = (
        op: Bytes("op".utf8), path: Bytes("path".utf8), data: Bytes("data".utf8), zxid: Bytes("zxid".utf8),
        version: Bytes("version".utf8), timestamp: Bytes("ts_ms".utf8), envelope: Bytes("envelope".utf8)
    )

    private static let factNames = [names.op, names.path, names.zxid, names.version, names.timestamp]

    /// `op path zxid version ts_ms`, then the fields of `set`, or without it `data`, the bytes (not for a
    /// delete). A field of `set` with one of the five names stands in that one's place.
    ///
    /// - Parameter envelope: the name of the source in Debezium's envelope, which is a further field; `nil`: there is none.
    static func fields(of input: borrowing MappingInput, set: FieldList?, envelope: String?) -> FieldList {
        var fields = facts(of: input.change, spare: 64 + (set?.byteCount ?? input.change.data?.count ?? 0))
        if let set {
            if hasFact(set) { fields = replacing(fields, with: set) } else { fields.append(contentsOf: set) }
        } else if input.change.operation != .delete {
            fields.append(names.data, input.change.data ?? [])
        }
        if let envelope {
            let json = ChangeEnvelope.json(of: input.change, offset: input.offset, source: envelope)
            fields.append(names.envelope, json)
        }
        return fields
    }

    /// - Parameter spare: bytes that are to follow.
    private static func facts(of change: Change, spare: Int = 0) -> FieldList {
        var fields = FieldList()
        fields.reserveCapacity(fields: 10, bytes: 80 + change.path.utf8.count + spare)
        fields.append(names.op) { $0.append(contentsOf: change.operation.letter.utf8) }
        fields.append(names.path) { $0.append(contentsOf: change.path.utf8) }
        fields.append(names.zxid) { append(change.zxid.value, to: &$0) }
        fields.append(names.version) { append(Int64(change.version), to: &$0) }
        fields.append(names.timestamp) { append(change.timestamp, to: &$0) }
        return fields
    }

    private static func hasFact(_ set: FieldList) -> Bool {
        var isFound = false
        set.forEachBytes { name, _ in
            isFound =
                isFound
                || factNames.contains { fact in
                    fact.count == name.count && fact.elementsEqual(name)
                }
        }
        return isFound
    }

    private static func replacing(_ facts: FieldList, with set: FieldList) -> FieldList {
        var fields = facts.fields
        let count = fields.count
        for field in set.fields {
            if let index = fields.prefix(count).firstIndex(where: { $0.name == field.name }) {
                fields[index] = field
            } else {
                fields.append(field)
            }
        }
        return FieldList(fields)
    }

    /// Of an entry's fields those that tell what the change says, not which one it was: neither its facts, as far as `set`
    /// has put nothing else in their place, nor its envelope (of which the data is one part that does).
    public static func content(_ fields: FieldList, of change: Change) -> [Field] {
        let facts = facts(of: change).fields
        return fields.fields.compactMap { field in
            if field.name == names.envelope { return Field(name: names.data, value: change.data ?? []) }
            return facts.contains(field) && field.name != names.path ? nil : field
        }
    }

    private static func append(_ number: Int64, to bytes: inout Bytes) {
        bytes.append(contentsOf: String(number).utf8)
    }
}
