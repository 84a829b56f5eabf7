/// A field of `set` ready to be filled in for one rule.
struct CompiledField: Sendable {
    let name: String
    let nameBytes: Bytes
    /// A delete leaves such a field out.
    let needsValue: Bool
    private let source: Source

    private enum Source: Sendable {
        case template(CompiledTemplate)
        case cast(BoundReference, FieldType, default: Bytes?)
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
            source = .cast(bound, type, default: text.map { type.text(of: .text($0)) ?? Bytes($0.utf8) })
        }
    }

    func render(_ input: borrowing MappingInput) throws(MappingFault) -> Bytes {
        switch source {
        case .template(let template):
            return try template.render(input)
        case .cast(let reference, let type, let fallback):
            guard let value = reference.resolve(in: input) else {
                guard let fallback else { throw .missing("\(reference.name) is missing") }
                return fallback
            }
            guard let text = type.text(of: value) else {
                throw .wrongType("\(reference.name) is \(value.kind) that cannot become \(type.article)")
            }
            return text
        }
    }
}

extension FieldType {
    /// The text of a value as this type; `nil` where it is none. Nothing is rounded: `9.5` is no integer.
    func text(of value: borrowing Value) -> Bytes? {
        switch self {
        case .string: value.textBytes
        case .integer: integer(value).map { Bytes(String($0).utf8) }
        case .number: number(value)?.textBytes
        case .boolean: boolean(value).map { Bytes(($0 ? "true" : "false").utf8) }
        }
    }

    /// Whether a text (a `default:`) is of this type.
    public func accepts(_ text: String) -> Bool {
        self.text(of: .text(text)) != nil
    }

    private func integer(_ value: borrowing Value) -> Int64? {
        switch value {
        case .integer(let number): number
        case .number(let text): Double(text).flatMap(Int64.init(exactly:))
        case .text(let text): Int64(text)
        case .bytes(let raw): Int64(String(decoding: raw, as: UTF8.self))
        case .null, .boolean, .array, .object: nil
        }
    }

    private func number(_ value: borrowing Value) -> Value? {
        switch value {
        case .integer(let number): .integer(number)
        case .number(let text): .number(text)
        case .text(let text): Value.number(parsing: text)
        case .bytes(let raw): Value.number(parsing: String(decoding: raw, as: UTF8.self))
        case .null, .boolean, .array, .object: nil
        }
    }

    /// `true` and `false`, also as text, and 1 and 0.
    private func boolean(_ value: borrowing Value) -> Bool? {
        switch value {
        case .boolean(let flag): flag
        case .integer(1): true
        case .integer(0): false
        case .text(let text): boolean(text)
        case .bytes(let raw): boolean(String(decoding: raw, as: UTF8.self))
        case .null, .integer, .number, .array, .object: nil
        }
    }

    private func boolean(_ text: String) -> Bool? {
        switch text {
        case "true", "1": true
        case "false", "0": false
        default: nil
        }
    }

    var article: String { self == .integer ? "an integer" : "a \(rawValue)" }
}
