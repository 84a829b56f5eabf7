/// One field of `set`.
public struct FieldDefinition: Sendable, Hashable {
    public var name: String
    public var source: Source
    public var line: Int

    public enum Source: Sendable, Hashable {
        case template(Template)
        /// One reference, cast to a type, with the text to use where it is missing.
        case cast(from: Reference, type: FieldType, default: String?)
    }

    public init(name: String, source: Source, line: Int = 0) {
        self.name = name
        self.source = source
        self.line = line
    }

    /// Whether it needs the decoded data: a delete leaves such a field out.
    public var needsValue: Bool {
        switch source {
        case .template(let template): template.needsValue
        case .cast(let reference, _, _): reference.needsValue
        }
    }
}
