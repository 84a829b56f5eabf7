import Yams

extension Value {
    /// As deep as JSON may be.
    private static let maximumYAMLDepth = 512

    /// Parses one YAML document with the types of YAML 1.2 (`on` and `no` are text). Aliases are refused: what they
    /// stand for may grow without bound.
    ///
    /// Throws without quoting the data, which is not ours to print.
    static func yaml(_ bytes: Bytes) throws(MappingFault) -> Value {
        let invalid = MappingFault.undecodable("the data is not valid YAML")
        guard let text = String(validating: bytes, as: UTF8.self), let hidden = HiddenAliases(text),
            !hidden.hasTooManyKeys
        else { throw invalid }
        let root: Node?
        do {
            root = try Parser(yaml: hidden.text, resolver: .basic).singleRoot()
        } catch {
            throw invalid
        }
        return try root.map { root throws(MappingFault) in try convert(root, hidden, depth: 1) } ?? .null
    }

    private static func convert(
        _ node: Node, _ hidden: HiddenAliases, depth: Int
    ) throws(MappingFault) -> Value {
        guard depth <= maximumYAMLDepth else {
            throw .undecodable("the data is nested more than \(maximumYAMLDepth) deep")
        }
        switch node {
        case .scalar(let scalar):
            return try convert(scalar, hidden)
        case .sequence(let items):
            var values: [Value] = []
            for item in items { values.append(try convert(item, hidden, depth: depth + 1)) }
            return .array(values)
        case .mapping(let pairs):
            var members: [ObjectValue.Member] = []
            for (key, value) in pairs {
                guard case .scalar(let name) = key else {
                    throw .undecodable("a key of the data is no text")
                }
                if name.style == .plain, hidden.isAlias(name.string) {
                    throw .undecodable("the data has a YAML alias")
                }
                let text = hidden.restored(name.string)
                members.append(.init(name: text, value: try convert(value, hidden, depth: depth + 1)))
            }
            return .object(ObjectValue(members))
        case .alias:
            throw .undecodable("the data has a YAML alias")
        }
    }

    private static func convert(
        _ scalar: Node.Scalar, _ hidden: HiddenAliases
    ) throws(MappingFault) -> Value {
        guard scalar.style == .plain else { return .text(hidden.restored(scalar.string)) }
        if hidden.isAlias(scalar.string) { throw .undecodable("the data has a YAML alias") }
        switch scalar.string {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .boolean(true)
        case "false", "False", "FALSE": return .boolean(false)
        default: return Value.number(parsing: scalar.string) ?? .text(hidden.restored(scalar.string))
        }
    }
}
