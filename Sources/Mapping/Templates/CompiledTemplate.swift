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
            guard let value = input.value?.member(at: steps[...]) else { return nil }
            if case .null = value { return nil }
            return value
        }
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

/// A template ready to be filled in for one rule. A class, as `CompiledRule` is.
final class CompiledTemplate: Sendable {
    /// Numbers alone: whoever goes through them counts no references.
    private enum Part: Sendable {
        /// A piece of `literals`.
        case literal(Range<Int>)
        case capture(Int)
        case path
        /// One of `inserted`.
        case inserted(Int)
    }

    /// What is not simply copied from the path.
    private final class Inserted: Sendable {
        let reference: BoundReference
        private let filters: [TemplateFilter]

        init(_ reference: BoundReference, _ filters: [TemplateFilter]) {
            self.reference = reference
            self.filters = filters
        }

        func append(to bytes: inout Bytes, from input: borrowing MappingInput) throws(MappingFault) {
            guard filters.isEmpty else {
                return bytes.append(copying: try filtered(input))
            }
            guard let value = reference.resolve(in: input) else {
                throw .missing("\(reference.name) is missing")
            }
            value.appendText(to: &bytes)
        }

        private func filtered(_ input: borrowing MappingInput) throws(MappingFault) -> String {
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

    private let parts: [Part]
    private let literals: Bytes
    private let inserted: [Inserted]
    /// All that it draws from.
    let references: [BoundReference]
    /// Where the template is one reference and nothing else.
    private let sole: BoundReference?

    init(_ template: Template, captureNames: [String]) {
        var parts: [Part] = []
        var literals: Bytes = []
        var inserted: [Inserted] = []
        var references: [BoundReference] = []
        for piece in template.pieces {
            switch piece {
            case .literal(let bytes):
                parts.append(.literal(literals.count..<literals.count + bytes.count))
                literals += bytes
            case .reference(let reference, let filters):
                let bound = BoundReference(reference, captureNames: captureNames)
                references.append(bound)
                switch bound {
                case .capture(let index, _) where filters.isEmpty: parts.append(.capture(index))
                case .metadata(.path) where filters.isEmpty: parts.append(.path)
                default:
                    parts.append(.inserted(inserted.count))
                    inserted.append(Inserted(bound, filters))
                }
            }
        }
        self.parts = parts
        self.literals = literals
        self.inserted = inserted
        self.references = references
        sole = template.soleReference.map { BoundReference($0, captureNames: captureNames) }
    }

    init(literal: Bytes) {
        parts = [.literal(literal.indices)]
        literals = literal
        inserted = []
        references = []
        sole = nil
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
            case .literal(let range):
                literals.withUnsafeBytes {
                    bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: $0[range]))
                }
            case .capture(let index):
                guard input.captures.indices.contains(index) else { throw .missing("a capture is missing") }
                bytes.append(copying: input.captures[index])
            case .path:
                bytes.append(copying: input.change.path)
            case .inserted(let index):
                try inserted[index].append(to: &bytes, from: input)
            }
        }
    }

    /// The value itself where the template is a lone reference, text otherwise.
    func evaluate(_ input: borrowing MappingInput) throws(MappingFault) -> Value {
        guard let sole else { return .bytes(try render(input)) }
        guard let value = sole.resolve(in: input) else { throw .missing("\(sole.name) is missing") }
        return value
    }
}
