import ChangeModel

/// What templates and fields of one change draw from.
struct MappingInput {
    let change: Change
    let offset: Int64
    /// Of the rule that is at work.
    var captures: [Substring] = []
    /// Of the rules of earlier stages, the latest first.
    var inherited: [NamedCaptures] = []
    /// `nil` for a delete.
    var value: Value?

    struct NamedCaptures {
        var names: [String]
        var captures: [Substring]
    }

    /// What an earlier stage has captured.
    func inheritedCapture(_ name: String) -> Substring? {
        for earlier in inherited {
            if let index = earlier.names.firstIndex(of: name), index < earlier.captures.count {
                return earlier.captures[index]
            }
        }
        return nil
    }
}

/// A reference whose capture is bound to its place in the rule's pattern.
enum BoundReference: Sendable {
    case capture(Int, name: String)
    /// The rule's pattern has no such capture: one of an earlier stage may have it.
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
        case .unbound(let name):
            return input.inheritedCapture(name).map { .bytes(Bytes($0.utf8)) }
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
        case filtered(BoundReference, [TemplateFilter])
    }

    private let parts: [Part]
    /// Where the template is one reference and nothing else.
    private let sole: BoundReference?

    init(_ template: Template, captureNames: [String]) {
        parts = template.pieces.map { piece in
            switch piece {
            case .literal(let bytes): .literal(bytes)
            case .reference(let reference, let filters):
                filters.isEmpty
                    ? .reference(BoundReference(reference, captureNames: captureNames))
                    : .filtered(BoundReference(reference, captureNames: captureNames), filters)
            }
        }
        sole = template.soleReference.map { BoundReference($0, captureNames: captureNames) }
    }

    init(literal: Bytes) {
        parts = [.literal(literal)]
        sole = nil
    }

    var references: [BoundReference] {
        parts.compactMap { part in
            switch part {
            case .literal: nil
            case .reference(let reference), .filtered(let reference, _): reference
            }
        }
    }

    func render(_ input: borrowing MappingInput) throws(MappingFault) -> Bytes {
        var bytes: Bytes = []
        try append(to: &bytes, from: input)
        return bytes
    }

    /// Appends its text; where it throws, a part of it may be there.
    func append(to bytes: inout Bytes, from input: borrowing MappingInput) throws(MappingFault) {
        for part in parts {
            switch part {
            case .literal(let literal):
                bytes.append(contentsOf: literal)
            case .reference(let reference):
                guard reference.append(to: &bytes, from: input) else {
                    throw .missing("\(reference.name) is missing")
                }
            case .filtered(let reference, let filters):
                bytes.append(contentsOf: try CompiledTemplate.filtered(reference, filters, input).utf8)
            }
        }
    }

    /// The value itself where the template is a lone reference, text otherwise.
    func evaluate(_ input: borrowing MappingInput) throws(MappingFault) -> Value {
        guard let sole else { return .bytes(try render(input)) }
        guard let value = sole.resolve(in: input) else { throw .missing("\(sole.name) is missing") }
        return value
    }

    private static func filtered(
        _ reference: BoundReference, _ filters: [TemplateFilter], _ input: borrowing MappingInput
    ) throws(MappingFault) -> String {
        var text: String?
        if let value = reference.resolve(in: input) {
            guard let known = String(validating: value.textBytes, as: UTF8.self) else {
                throw .wrongType("\(reference.name) is not valid UTF-8, which its filter needs")
            }
            text = known
        }
        for filter in filters {
            if let known = text {
                text = try filter.apply(known, reference.name)
            } else if case .fallback(let fallback) = filter {
                text = fallback
            }
        }
        guard let text else { throw .missing("\(reference.name) is missing") }
        return text
    }
}
