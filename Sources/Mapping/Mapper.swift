public import ChangeModel

/// Turns changes into writes. Made once from a definition; pure, and safe to share.
///
/// A change is mapped for every sink alike: a rule whose data cannot be decoded or whose `set` cannot be
/// filled fails for all the sinks that it addresses, so that they never disagree about what was refused.
public struct Mapper: Sendable {
    private let rules: [CompiledRule]
    private let sinkNames: [String]

    public init(transform: TransformSpecification, sinks: [SinkSpecification]) {
        sinkNames = sinks.map(\.name)
        if let specifications = transform.rules {
            rules = specifications.enumerated().map { CompiledRule($1, index: $0, sinks: sinks) }
        } else {
            rules = [CompiledRule(everythingTo: sinks)]
        }
    }

    /// What a change becomes for one sink.
    ///
    /// - Parameters:
    ///   - offset: the change's position in the log.
    ///   - sink: index of the sink in the list that the mapper was made with.
    public func map(_ change: Change, offset: Int64, sink: Int) -> MappingResult {
        guard sinkNames.indices.contains(sink) else { return .dropped(.notAddressed) }
        if let only = change.onlyFor, only != sinkNames[sink] { return .dropped(.notAddressed) }
        // By index: a rule is large, and iterating would copy each.
        for index in rules.indices {
            if let captures = rules[index].captures(in: change.path) {
                return rules[index].map(change, offset: offset, sink: sink, captures: captures)
            }
        }
        return .dropped(.noRule)
    }
}

/// A rule ready to be applied, with one entry for each sink.
struct CompiledRule: Sendable {
    /// `nil`: there is no transform, and every path matches.
    private let pattern: PathPattern?
    private let index: Int?
    private let line: Int?
    private let operations: Set<Operation>
    private let decode: Decoding
    private let set: [CompiledField]?
    /// `nil` for a sink that the rule does not write to.
    private let sinks: [CompiledSink?]
    /// Lines of the sinks, for errors where there is no rule to name.
    private let sinkLines: [Int]

    init(_ rule: Rule, index: Int, sinks: [SinkSpecification]) {
        let names = rule.match.captureNames
        pattern = rule.match
        self.index = index
        line = rule.line > 0 ? rule.line : nil
        operations = rule.operations
        decode = rule.decode
        set = rule.set.map { $0.map { CompiledField($0, captureNames: names) } }
        self.sinks = sinks.map { sink in
            rule.to?.contains(sink.name) == false
                ? nil : CompiledSink(sink, decode: rule.decode, captureNames: names)
        }
        sinkLines = sinks.map(\.line)
    }

    init(everythingTo sinks: [SinkSpecification]) {
        pattern = nil
        index = nil
        line = nil
        operations = Set(Operation.allCases)
        decode = .none
        set = nil
        self.sinks = sinks.map { CompiledSink($0, decode: .none, captureNames: []) }
        sinkLines = sinks.map(\.line)
    }

    func captures(in path: String) -> [Substring]? {
        guard let pattern else { return [] }
        return pattern.captures(in: path)
    }

    func map(_ change: Change, offset: Int64, sink: Int, captures: [Substring]) -> MappingResult {
        guard let target = sinks[sink] else { return .dropped(.notAddressed) }
        guard operations.contains(change.operation) else { return .dropped(.operation) }
        do {
            let isDelete = change.operation == .delete
            let input = MappingInput(
                change: change, offset: offset, captures: captures,
                value: isDelete ? nil : try decoded(change.data ?? []))
            let fields = try setFields(input)
            guard isDelete else { return .writes([try target.upsert(input, set: fields)]) }
            guard let write = try target.delete(input, set: fields) else { return .dropped(.kept) }
            return .writes([write])
        } catch {
            return .failed(describe(error, change: change, sink: sink))
        }
    }

    private func decoded(_ data: Bytes) throws(CompiledSink.Failure) -> Value {
        do {
            return try decode.value(of: data)
        } catch {
            throw CompiledSink.Failure(field: nil, fault: error)
        }
    }

    private func setFields(_ input: borrowing MappingInput) throws(CompiledSink.Failure) -> [Field]? {
        guard let set else { return nil }
        let isDelete = input.change.operation == .delete
        var fields: [Field] = []
        fields.reserveCapacity(set.count)
        for field in set where !(isDelete && field.needsValue) {
            do {
                fields.append(Field(name: field.nameBytes, value: try field.render(input)))
            } catch {
                // Of a deleted node not even {ephemeral} may be known.
                if isDelete, case .missing = error { continue }
                throw CompiledSink.Failure(field: field.name, fault: error)
            }
        }
        return fields
    }

    private func describe(_ failure: CompiledSink.Failure, change: Change, sink: Int) -> MappingError {
        let (code, reason): (MappingError.Code, String) =
            switch failure.fault {
            case .undecodable(let reason): (.undecodable, reason)
            case .missing(let reason): (.missing, reason)
            case .wrongType(let reason): (.wrongType, reason)
            case .wrongShape(let reason): (.wrongShape, reason)
            }
        let sinkLine = index == nil && sinkLines[sink] > 0 ? sinkLines[sink] : nil
        return MappingError(
            code: code, rule: index, line: line ?? sinkLine, field: failure.field, path: change.path,
            reason: reason)
    }
}
