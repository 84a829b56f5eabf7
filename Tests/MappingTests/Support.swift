import ChangeModel
import Mapping

/// A change with what a test does not care about filled in.
func change(
    _ operation: Operation, _ path: String, _ data: String? = nil, zxid: Int64 = 7, version: Int32 = 3,
    owner: Int64 = 0, onlyFor: String? = nil
) -> Change {
    let stat = NodeStat(czxid: Zxid(1), mzxid: Zxid(zxid), version: version, ephemeralOwner: owner)
    return Change(
        operation: operation, path: path, data: data.map { Bytes($0.utf8) }, zxid: Zxid(zxid),
        timestamp: 1000,
        stat: stat, onlyFor: onlyFor)
}

func rule(
    _ match: String, on operations: Set<Operation> = Set(Operation.allCases), decode: Decoding = .none,
    set: [FieldDefinition]? = nil, to: [String]? = nil, line: Int = 0
) throws -> Rule {
    Rule(
        match: try PathPattern(match), operations: operations, decode: decode, set: set, to: to, line: line)
}

func field(_ name: String, _ template: String) throws -> FieldDefinition {
    FieldDefinition(name: name, source: .template(try Template(template)))
}

func field(
    _ name: String, from: String, type: FieldType = .string, default fallback: String? = nil
) throws -> FieldDefinition {
    FieldDefinition(name: name, source: .cast(from: try Reference(from), type: type, default: fallback))
}

func sink(
    _ name: String, _ write: WriteKind, key: String = "k:{path}", member: String? = nil,
    field: String? = nil, value: String? = nil, score: String? = nil, onDelete: DeletePolicy = .delete
) throws -> SinkSpecification {
    SinkSpecification(
        name: name, write: write, key: try Template(key), member: try member.map(Template.init),
        field: try field.map(Template.init), value: try value.map(Template.init),
        score: try score.map(Template.init), onDelete: onDelete, line: 40)
}

func sink(
    _ write: WriteKind, key: String = "k:{path}", member: String? = nil, field: String? = nil,
    value: String? = nil, score: String? = nil, onDelete: DeletePolicy = .delete
) throws -> SinkSpecification {
    try sink(
        "sink", write, key: key, member: member, field: field, value: value, score: score, onDelete: onDelete)
}

func mapper(_ rules: [Rule]?, _ sinks: SinkSpecification...) -> Mapper {
    Mapper(transform: TransformSpecification(stages: rules.map { [.rules($0)] } ?? []), sinks: sinks)
}

extension Mapper {
    /// The one write that a change becomes; anything else reads differently from it.
    func write(_ change: Change, offset: Int64 = 5, sink: Int = 0) -> String {
        switch map(change, offset: offset, sink: sink) {
        case .writes(let writes): writes.map(\.text).joined(separator: "; ")
        case .dropped(let reason): "dropped \(reason)"
        case .failed(let error): "failed \(error.code): \(error)"
        }
    }
}

extension SinkWrite {
    /// As a person would type it.
    var text: String {
        switch self {
        case .streamAdd(let key, let fields): "XADD \(show(key)) \(show(fields.fields))"
        case .setString(let key, let value): "SET \(show(key)) '\(show(value))'"
        case .replaceHash(let key, let fields): "HASH \(show(key)) \(show(fields.fields))"
        case .setHashField(let key, let field, let value): "HSET \(show(key)) \(show(field))='\(show(value))'"
        case .removeHashField(let key, let field): "HDEL \(show(key)) \(show(field))"
        case .addMember(let key, let member): "SADD \(show(key)) \(show(member))"
        case .removeMember(let key, let member): "SREM \(show(key)) \(show(member))"
        case .addScoredMember(let key, let member, let score):
            "ZADD \(show(key)) \(show(score)) \(show(member))"
        case .removeScoredMember(let key, let member): "ZREM \(show(key)) \(show(member))"
        case .deleteKey(let key): "DEL \(show(key))"
        case .addListItem(let key, let item): "LIST+ \(show(key)) \(show(item))"
        case .removeListItem(let key, let item): "LIST- \(show(key)) \(show(item))"
        case .expiring(let write, let milliseconds):
            "\(write.text) PX \(milliseconds.map(String.init) ?? "kept")"
        case .release: "RELEASE"
        case .envelope: "ENVELOPE"
        }
    }
}

private func show(_ bytes: Bytes) -> String { String(decoding: bytes, as: UTF8.self) }

private func show(_ fields: [Field]) -> String {
    fields.map { "\(show($0.name))='\(show($0.value))'" }.joined(separator: " ")
}
