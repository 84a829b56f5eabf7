public import ChangeModel

/// The fields of a stream entry.
public enum StreamEntry {
    private static let names = (
        op: Bytes("op".utf8), path: Bytes("path".utf8), data: Bytes("data".utf8), zxid: Bytes("zxid".utf8),
        version: Bytes("version".utf8), timestamp: Bytes("ts_ms".utf8), envelope: Bytes("envelope".utf8)
    )

    /// `op path zxid version ts_ms`, then the fields of `set`, or without it `data`, the bytes (not for a
    /// delete). A field of `set` with one of the five names stands in that one's place.
    ///
    /// - Parameter envelope: the name of the source in Debezium's envelope, which is a further field; `nil`: there is none.
    static func fields(of input: borrowing MappingInput, set: [Field]?, envelope: String?) -> [Field] {
        var fields = facts(of: input.change)
        fields.reserveCapacity(fields.count + (set?.count ?? 1) + 1)
        if let set {
            for field in set {
                if let index = fields.prefix(5).firstIndex(where: { $0.name == field.name }) {
                    fields[index] = field
                } else {
                    fields.append(field)
                }
            }
        } else if input.change.operation != .delete {
            fields.append(Field(name: names.data, value: input.change.data ?? []))
        }
        if let envelope {
            let json = ChangeEnvelope.json(of: input.change, offset: input.offset, source: envelope)
            fields.append(Field(name: names.envelope, value: json))
        }
        return fields
    }

    private static func facts(of change: Change) -> [Field] {
        [
            Field(name: names.op, value: Bytes(change.operation.letter.utf8)),
            Field(name: names.path, value: Bytes(change.path.utf8)),
            Field(name: names.zxid, value: decimal(change.zxid.value)),
            Field(name: names.version, value: decimal(Int64(change.version))),
            Field(name: names.timestamp, value: decimal(change.timestamp)),
        ]
    }

    /// Of an entry's fields those that tell what the change says, not which one it was: neither its facts, as far as `set`
    /// has put nothing else in their place, nor its envelope (of which the data is one part that does).
    public static func content(_ fields: [Field], of change: Change) -> [Field] {
        let facts = facts(of: change)
        return fields.compactMap { field in
            if field.name == names.envelope { return Field(name: names.data, value: change.data ?? []) }
            return facts.contains(field) && field.name != names.path ? nil : field
        }
    }

    private static func decimal(_ number: Int64) -> Bytes { Bytes(String(number).utf8) }
}
