import ChangeModel

/// A sink, and what only the whole definition tells of it.
struct TransformSink: Sendable {
    let specification: SinkSpecification
    let remembersAddresses: Bool

    init(_ specification: SinkSpecification, transform: TransformSpecification) {
        self.specification = specification
        remembersAddresses = specification.remembersAddresses(transform)
    }
}

/// A sink ready to be written to by one rule. A class, as `CompiledRule` is.
final class CompiledSink: Sendable {
    private let write: WriteKind
    private let onDelete: DeletePolicy
    private let key: CompiledTemplate
    private let member: CompiledTemplate
    private let field: CompiledTemplate?
    private let value: CompiledTemplate?
    private let score: CompiledTemplate?
    private let ttl: CompiledTemplate?
    private let envelope: String?
    private let removesFiltered: Bool
    /// The store knows what a znode has written; here it is not known.
    private let remembersAddresses: Bool
    /// A hash of data with members has them as fields; of all other data the one field `data`.
    private let expectsObject: Bool

    /// Which template a fault comes from, and the fault.
    struct Failure: Error {
        var field: String?
        var fault: MappingFault
    }

    init(_ context: TransformSink, expectsObject: Bool, captureNames: [String], ttl: Template?) {
        func compile(_ template: Template) -> CompiledTemplate {
            CompiledTemplate(template, captureNames: captureNames)
        }
        let sink = context.specification
        let empty = CompiledTemplate(literal: [])
        write = sink.write
        onDelete = sink.onDelete
        removesFiltered = sink.removesFiltered && sink.holdsState
        remembersAddresses = context.remembersAddresses
        key = sink.key.map(compile) ?? empty
        member = sink.member.map(compile) ?? empty
        field = sink.field.map(compile)
        value = sink.value.map(compile)
        score = sink.score.map(compile)
        self.ttl = (ttl ?? sink.ttl).map(compile)
        envelope = sink.envelope
        self.expectsObject = expectsObject
    }

    /// What its templates draw from; `nil` where it writes the data whole.
    ///
    /// - Parameter hasSet: whether the rule makes fields.
    func references(hasSet: Bool) -> [BoundReference]? {
        let isWhole =
            switch write {
            case .string: value == nil
            case .hash: field == nil ? !hasSet : value == nil
            case .stdout, .stream, .set, .sortedSet, .children: false
            }
        if isWhole { return nil }
        return [key, member, field, value, score, ttl].compactMap { $0 }.flatMap(\.references)
    }

    func result(of record: borrowing Record) throws(Failure) -> MappingResult {
        if record.isFiltered {
            guard removesFiltered else { return .dropped(.filtered) }
            return .writes([try removal(record.input, tombstone: false)])
        }
        guard record.input.change.operation == .delete else {
            return .writes([try expiring(try upsert(record.input, set: record.fields), record.input)])
        }
        switch write {
        case .stdout: return .writes([.envelope])
        case .stream:
            let key = try render(key, "key", record.input)
            return .writes([.streamAdd(key: key, fields: entry(record.input, record.fields))])
        case .string, .hash, .set, .sortedSet, .children:
            if onDelete == .keep { return .dropped(.kept) }
            return .writes([try removal(record.input, tombstone: onDelete == .tombstone)])
        }
    }

    /// What a change that is no delete becomes. `set`: the fields of the rule; `nil` where it has none.
    private func upsert(_ input: borrowing MappingInput, set: FieldList?) throws(Failure) -> SinkWrite {
        if case .stdout = write { return .envelope }
        let key = try render(key, "key", input)
        switch write {
        case .stdout:
            return .envelope
        case .stream:
            return .streamAdd(key: key, fields: entry(input, set))
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
        case .children:
            return .addListItem(key: key, item: try render(member, "member", input))
        }
    }

    /// What takes away (or marks as deleted) what the znode wrote.
    private func removal(_ input: borrowing MappingInput, tombstone: Bool) throws(Failure) -> SinkWrite {
        if remembersAddresses { return .release }
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
        case .children, .stream, .stdout:
            return .removeListItem(key: key, item: try render(member, "member", input))
        }
    }

    private func expiring(_ write: SinkWrite, _ input: borrowing MappingInput) throws(Failure) -> SinkWrite {
        guard let ttl else { return write }
        if case .deleteKey = write { return write }
        let text = String(decoding: try render(ttl, "ttl", input), as: UTF8.self)
        guard let milliseconds = TimeSpan.milliseconds(text), milliseconds > 0, milliseconds < 1 << 50 else {
            throw Failure(
                field: "ttl", fault: .wrongType("the ttl is no duration (a number and ms, s, m, h or d)"))
        }
        return .expiring(write, milliseconds: milliseconds)
    }

    private func entry(_ input: borrowing MappingInput, _ set: FieldList?) -> FieldList {
        StreamEntry.fields(of: input, set: set, envelope: envelope)
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
    private func hashFields(_ input: borrowing MappingInput) throws(Failure) -> FieldList {
        switch input.value {
        case nil, .null?:
            return []
        case .object(let members)?:
            var fields = FieldList()
            for member in members.members where member.value != .null {
                fields.append(Bytes(member.name.utf8)) { member.value.appendText(to: &$0) }
            }
            return fields
        case .some(let value) where expectsObject:
            let reason = "a hash without set: is made of an object's members, but the data is \(value.kind)"
            throw Failure(field: nil, fault: .wrongShape(reason))
        case .some(let value):
            return [Field(name: "data", value: value.textBytes)]
        }
    }
}
