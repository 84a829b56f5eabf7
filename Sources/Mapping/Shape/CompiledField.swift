/// A field of `set` ready to be filled in for one rule. A class, as `CompiledRule` is.
final class CompiledField: Sendable {
    let name: String
    private let nameBytes: Bytes
    /// A delete leaves such a field out.
    let needsValue: Bool
    private let source: Source

    private enum Source: Sendable {
        case template(CompiledTemplate)
        case cast(Cast)
    }

    private final class Cast: Sendable {
        let reference: BoundReference
        let type: FieldType
        let fallback: Value?

        init(_ reference: BoundReference, _ type: FieldType, fallback: Value?) {
            self.reference = reference
            self.type = type
            self.fallback = fallback
        }

        func value(_ input: borrowing MappingInput) throws(MappingFault) -> Value {
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

    init(_ field: FieldDefinition, captureNames: [String]) {
        name = field.name
        nameBytes = Bytes(field.name.utf8)
        needsValue = field.needsValue
        switch field.source {
        case .template(let template):
            source = .template(CompiledTemplate(template, captureNames: captureNames))
        case .cast(let reference, let type, let text):
            let bound = BoundReference(reference, captureNames: captureNames)
            source = .cast(
                Cast(bound, type, fallback: text.map { type.convert(.text($0)) ?? .text($0) }))
        }
    }

    var references: [BoundReference] {
        switch source {
        case .template(let template): template.references
        case .cast(let cast): [cast.reference]
        }
    }

    /// Adds the field; where it throws, nothing is added.
    func append(to fields: inout FieldList, from input: borrowing MappingInput) throws(MappingFault) {
        let start = fields.begin(nameBytes)
        do {
            switch source {
            case .template(let template): try template.append(to: &fields.bytes, from: input)
            case .cast(let cast): try cast.value(input).appendText(to: &fields.bytes)
            }
        } catch {
            fields.cancel(start)
            throw error
        }
        fields.end(start, nameBytes)
    }

    /// Its value: numbers, objects and the like stay what they are.
    func evaluate(_ input: borrowing MappingInput) throws(MappingFault) -> Value {
        switch source {
        case .template(let template): try template.evaluate(input)
        case .cast(let cast): try cast.value(input)
        }
    }
}
