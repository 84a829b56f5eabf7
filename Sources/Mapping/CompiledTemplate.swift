import ChangeModel

/// What templates and fields of one change draw from.
struct MappingInput {
    let change: Change
    let offset: Int64
    let captures: [Substring]
    /// `nil` for a delete.
    var value: Value?
}

/// A reference whose capture is bound to its place in the rule's pattern.
enum BoundReference: Sendable {
    case capture(Int, name: String)
    /// The rule's pattern has no such capture; `validate` refuses that, so this is for callers without it.
    case unbound(String)
    case metadata(Reference.Metadata)
    case value([String])

    init(_ reference: Reference, captureNames: [String]) {
        switch reference {
        case .capture(let name):
            self = captureNames.firstIndex(of: name).map { .capture($0, name: name) } ?? .unbound(name)
        case .metadata(let metadata): self = .metadata(metadata)
        case .value(let steps): self = .value(steps)
        }
    }

    /// What it stands for; `nil` where that is missing or null.
    func resolve(in input: borrowing MappingInput) -> Value? {
        switch self {
        case .unbound:
            return nil
        case .capture(let index, _):
            return input.captures.indices.contains(index) ? .bytes(Bytes(input.captures[index].utf8)) : nil
        case .metadata(let metadata):
            return metadata.value(in: input)
        case .value(let steps):
            guard let value = input.value?.member(at: steps[...]), value != .null else { return nil }
            return value
        }
    }

    /// Appends its text. Returns `false`, with nothing appended, where it is missing or null.
    func append(to bytes: inout Bytes, from input: borrowing MappingInput) -> Bool {
        switch self {
        case .capture(let index, _) where input.captures.indices.contains(index):
            bytes.append(contentsOf: input.captures[index].utf8)
        case .metadata(.path):
            bytes.append(contentsOf: input.change.path.utf8)
        default:
            guard let value = resolve(in: input) else { return false }
            value.appendText(to: &bytes)
        }
        return true
    }

    var name: String {
        switch self {
        case .capture(_, let name): name
        case .unbound(let name): name
        case .metadata(let metadata): metadata.rawValue
        case .value(let steps): Reference.value(steps).description
        }
    }
}

extension Reference.Metadata {
    func value(in input: borrowing MappingInput) -> Value? {
        switch self {
        case .path: .text(input.change.path)
        case .op: .text(input.change.operation.letter)
        case .zxid: .integer(input.change.zxid.value)
        case .version: .integer(Int64(input.change.version))
        case .timestamp: .integer(input.change.timestamp)
        case .offset: .integer(input.offset)
        case .ephemeral: input.change.stat.map { .boolean($0.isEphemeral) }
        }
    }
}

/// A template ready to be filled in for one rule.
struct CompiledTemplate: Sendable {
    private enum Part: Sendable {
        case literal(Bytes)
        case reference(BoundReference)
    }

    private let parts: [Part]

    init(_ template: Template, captureNames: [String]) {
        parts = template.pieces.map { piece in
            switch piece {
            case .literal(let bytes): .literal(bytes)
            case .reference(let reference): .reference(BoundReference(reference, captureNames: captureNames))
            }
        }
    }

    init(literal: Bytes) {
        parts = [.literal(literal)]
    }

    func render(_ input: borrowing MappingInput) throws(MappingFault) -> Bytes {
        var bytes: Bytes = []
        for part in parts {
            switch part {
            case .literal(let literal):
                bytes.append(contentsOf: literal)
            case .reference(let reference):
                guard reference.append(to: &bytes, from: input) else {
                    throw .missing("\(reference.name) is missing")
                }
            }
        }
        return bytes
    }
}
