import ChangeModel

/// The fields of a stream entry.
enum StreamEntry {
    private static let names = (
        op: Bytes("op".utf8), path: Bytes("path".utf8), data: Bytes("data".utf8), zxid: Bytes("zxid".utf8),
        version: Bytes("version".utf8), timestamp: Bytes("ts_ms".utf8)
    )

    /// `op path zxid version ts_ms`, then the fields of `set`, or without it `data`, the bytes (not for a
    /// delete). A field of `set` with one of the five names stands in that one's place.
    static func fields(of input: borrowing MappingInput, set: [Field]?) -> [Field] {
        var fields: [Field] = []
        fields.reserveCapacity(5 + (set?.count ?? 1))
        fields.append(Field(name: names.op, value: Bytes(input.change.operation.letter.utf8)))
        fields.append(Field(name: names.path, value: Bytes(input.change.path.utf8)))
        fields.append(Field(name: names.zxid, value: decimal(input.change.zxid.value)))
        fields.append(Field(name: names.version, value: decimal(Int64(input.change.version))))
        fields.append(Field(name: names.timestamp, value: decimal(input.change.timestamp)))
        guard let set else {
            if input.change.operation != .delete {
                fields.append(Field(name: names.data, value: input.change.data ?? []))
            }
            return fields
        }
        for field in set {
            if let index = fields.prefix(5).firstIndex(where: { $0.name == field.name }) {
                fields[index] = field
            } else {
                fields.append(field)
            }
        }
        return fields
    }

    private static func decimal(_ number: Int64) -> Bytes { Bytes(String(number).utf8) }
}
