/// A field of `set` ready to be filled in for one rule.
struct CompiledField: Sendable {
    let name: String
    let nameBytes: Bytes
    /// A delete leaves such a field out.
    let needsValue: Bool
    private let source: Source

    private enum Source: Sendable {
        case template(CompiledTemplate)
        case cast(BoundReference, FieldType, default: Value?)
    }

    init(_ field: FieldDefinition, captureNames: [String]) {
        name = field.name
        nameBytes = Bytes(field.name.utf8)
        needsValue = field.needsValue
        switch field.source {
        case .template(let template):
            source = .template(CompiledTemplate(template, captureNames: captureNames))
        case .cast(let reference, let type, let text):
            let bound = BoundReference(reference, captureNames: captureNames)
            source = .cast(bound, type, default: text.map { type.convert(.text($0)) ?? .text($0) })
        }
    }

    var references: [BoundReference] {
        switch source {
        case .template(let template): template.references
        case .cast(let reference, _, _): [reference]
        }
    }

    /// Appends its text; where it throws, a part of it may be there.
    func append(to bytes: inout Bytes, from input: borrowing MappingInput) throws(MappingFault) {
        switch source {
        case .template(let template): try template.append(to: &bytes, from: input)
        case .cast(let reference, let type, let fallback):
            try cast(input, reference, type, fallback).appendText(to: &bytes)
        }
    }

    /// Its value: numbers, objects and the like stay what they are.
    func evaluate(_ input: borrowing MappingInput) throws(MappingFault) -> Value {
        switch source {
        case .template(let template): try template.evaluate(input)
        case .cast(let reference, let type, let fallback): try cast(input, reference, type, fallback)
        }
    }

    private func cast(
        _ input: borrowing MappingInput, _ reference: BoundReference, _ type: FieldType, _ fallback: Value?
    ) throws(MappingFault) -> Value {
        guard let value = reference.resolve(in: input) else {
            guard let fallback else { throw .missing("\(reference.name) is missing") }
            return fallback
        }
        guard let converted = type.convert(value) else {
            throw .wrongType("\(reference.name) is \(value.kind) that cannot become \(type.article)")
        }
        return converted
    }
}
