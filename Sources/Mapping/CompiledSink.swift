import ChangeModel

/// A sink ready to be written to by one rule.
struct CompiledSink: Sendable {
    private let write: WriteKind
    private let onDelete: DeletePolicy
    private let key: CompiledTemplate
    private let member: CompiledTemplate
    private let field: CompiledTemplate?
    private let value: CompiledTemplate?
    private let score: CompiledTemplate?
    /// A hash of data with members has them as fields; of all other data the one field `data`.
    private let expectsObject: Bool

    /// Which template a fault comes from, and the fault.
    struct Failure: Error {
        var field: String?
        var fault: MappingFault
    }

    init(_ sink: SinkSpecification, decode: Decoding, captureNames: [String]) {
        func compile(_ template: Template) -> CompiledTemplate {
            CompiledTemplate(template, captureNames: captureNames)
        }
        let empty = CompiledTemplate(literal: [])
        write = sink.write
        onDelete = sink.onDelete
        key = sink.key.map(compile) ?? empty
        member = sink.member.map(compile) ?? empty
        field = sink.field.map(compile)
        value = sink.value.map(compile)
        score = sink.score.map(compile)
        expectsObject = decode.givesMembers
    }

    /// What a change that is no delete becomes. `set`: the fields of the rule; `nil` where it has none.
    func upsert(_ input: borrowing MappingInput, set: [Field]?) throws(Failure) -> SinkWrite {
        if case .stdout = write { return .envelope }
        let key = try render(key, "key", input)
        switch write {
        case .stdout:
            return .envelope
        case .stream:
            return .streamAdd(key: key, fields: StreamEntry.fields(of: input, set: set))
        case .string:
            return .setString(key: key, value: try content(input))
        case .hash:
            if let field {
                let name = try render(field, "field", input)
                return .setHashField(key: key, field: name, value: try content(input))
            }
            let fields = if let set { set } else { try hashFields(input) }
            return fields.isEmpty ? .deleteKey(key: key) : .replaceHash(key: key, fields: fields)
        case .set:
            return .addMember(key: key, member: try render(member, "member", input))
        case .sortedSet:
            let member = try render(member, "member", input)
            return .addScoredMember(key: key, member: member, score: try score(input))
        }
    }

    /// What a delete becomes; `nil`: nothing.
    func delete(_ input: borrowing MappingInput, set: [Field]?) throws(Failure) -> SinkWrite? {
        if case .stdout = write { return .envelope }
        if case .stream = write {
            let key = try render(key, "key", input)
            return .streamAdd(key: key, fields: StreamEntry.fields(of: input, set: set))
        }
        if onDelete == .keep { return nil }
        let tombstone = onDelete == .tombstone
        let key = try render(key, "key", input)
        switch write {
        case .string:
            return tombstone ? .setString(key: key, value: []) : .deleteKey(key: key)
        case .hash:
            if let field {
                let name = try render(field, "field", input)
                return tombstone
                    ? .setHashField(key: key, field: name, value: [])
                    : .removeHashField(key: key, field: name)
            }
            let deleted = Field(name: "deleted", value: [UInt8(ascii: "1")])
            return tombstone ? .replaceHash(key: key, fields: [deleted]) : .deleteKey(key: key)
        case .set:
            return .removeMember(key: key, member: try render(member, "member", input))
        case .sortedSet:
            return .removeScoredMember(key: key, member: try render(member, "member", input))
        case .stream, .stdout:
            return nil
        }
    }

    private func render(
        _ template: CompiledTemplate, _ name: String, _ input: borrowing MappingInput
    ) throws(Failure) -> Bytes {
        do {
            return try template.render(input)
        } catch {
            throw Failure(field: name, fault: error)
        }
    }

    /// The template `value:`, else the decoded data; data that is null is written empty.
    private func content(_ input: borrowing MappingInput) throws(Failure) -> Bytes {
        if let value { return try render(value, "value", input) }
        return input.value?.textBytes ?? []
    }

    private func score(_ input: borrowing MappingInput) throws(Failure) -> Bytes {
        let text = try score.map { template throws(Failure) in try render(template, "score", input) } ?? []
        guard let number = Value.number(parsing: String(decoding: text, as: UTF8.self)) else {
            throw Failure(field: "score", fault: .wrongType("the score is no finite number"))
        }
        return number.textBytes
    }

    /// The members of an object in the order of their names, without those that are null.
    /// Data of other kinds: the one field `data`. None where there is no data to decode.
    private func hashFields(_ input: borrowing MappingInput) throws(Failure) -> [Field] {
        switch input.value {
        case nil, .null?:
            return []
        case .object(let members)?:
            return members.members.compactMap { member in
                member.value == .null ? nil : Field(name: member.name, value: member.value.textBytes)
            }
        case .some(let value) where expectsObject:
            let reason = "a hash without set: is made of an object's members, but the data is \(value.kind)"
            throw Failure(field: nil, fault: .wrongShape(reason))
        case .some(let value):
            return [Field(name: "data", value: value.textBytes)]
        }
    }
}

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
