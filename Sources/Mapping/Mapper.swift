public import ChangeModel

/// Turns changes into writes. Made once from a definition; pure, and safe to share.
///
/// A change is mapped for every sink alike: a rule whose data cannot be decoded or whose `set` cannot be
/// filled fails for all the sinks that it addresses, so that they never disagree about what was refused.
public struct Mapper: Sendable {
    private let rules: [CompiledRule]
    /// Of the patterns of the rules; `nil`: there is no transform, and the one rule takes every change.
    private let matcher: PathMatcher?
    private let sinkNames: [String]

    public init(transform: TransformSpecification, sinks: [SinkSpecification]) {
        sinkNames = sinks.map(\.name)
        if let specifications = transform.rules {
            rules = specifications.enumerated().map { CompiledRule($1, index: $0, sinks: sinks) }
            matcher = PathMatcher(specifications.map(\.match))
        } else {
            rules = [CompiledRule(everythingTo: sinks)]
            matcher = nil
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
        guard let matcher else { return rules[0].map(change, offset: offset, sink: sink, captures: []) }
        var result = MappingResult.dropped(.noRule)
        matcher.forEachMatch(change.path) { index in
            // By index: a rule is large, and a copy of it would be retained part by part.
            guard let captures = rules[index].captures(in: change.path) else { return true }
            result.add(rules[index].map(change, offset: offset, sink: sink, captures: captures))
            return rules[index].continues
        }
        return result
    }
}

extension MappingResult {
    /// What a further rule (`continue: true`) makes of the same change. One that fails fails for all of them.
    mutating func add(_ other: MappingResult) {
        switch (self, other) {
        case (.failed, _), (.writes, .dropped): break
        case (.writes(let writes), .writes(let more)): self = .writes(writes + more)
        case (.dropped, _), (_, .failed): self = other
        }
    }
}

/// A rule ready to be applied, with one entry for each sink.
struct CompiledRule: Sendable {
    /// `nil`: there is no transform, and every path matches.
    private let pattern: PathPattern?
    private let excluded: [PathPattern]
    /// Whether later rules may match, too.
    let continues: Bool
    private let index: Int?
    private let line: Int?
    private let operations: Set<Operation>
    private let compression: Compression
    private let from: CompiledTemplate?
    private let decode: Decoding
    private let set: [CompiledField]?
    /// `nil` for a sink that the rule does not write to.
    private let sinks: [CompiledSink?]
    /// Lines of the sinks, for errors where there is no rule to name.
    private let sinkLines: [Int]

    init(_ rule: Rule, index: Int, sinks: [SinkSpecification]) {
        let names = rule.match.captureNames
        pattern = rule.match
        excluded = rule.exclude
        continues = rule.continues
        self.index = index
        line = rule.line > 0 ? rule.line : nil
        operations = rule.operations
        compression = rule.compression
        from = rule.from.map { CompiledTemplate($0, captureNames: names) }
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
        excluded = []
        continues = false
        index = nil
        line = nil
        operations = Set(Operation.allCases)
        compression = .none
        from = nil
        decode = .none
        set = nil
        self.sinks = sinks.map { CompiledSink($0, decode: .none, captureNames: []) }
        sinkLines = sinks.map(\.line)
    }

    /// The captures of a path that the pattern matches; `nil` where the rule excludes it.
    func captures(in path: String) -> [Substring]? {
        if excluded.contains(where: { $0.matchesPathOrAncestor(path) }) { return nil }
        guard let pattern, !pattern.captureNames.isEmpty else { return [] }
        return pattern.captures(in: path)
    }

    func map(_ change: Change, offset: Int64, sink: Int, captures: [Substring]) -> MappingResult {
        guard let target = sinks[sink] else { return .dropped(.notAddressed) }
        guard operations.contains(change.operation) else { return .dropped(.operation) }
        do {
            let isDelete = change.operation == .delete
            var input = MappingInput(change: change, offset: offset, captures: captures, value: nil)
            input.value = try value(input)
            let fields = try setFields(input)
            guard isDelete else { return .writes([try target.upsert(input, set: fields)]) }
            guard let write = try target.delete(input, set: fields) else { return .dropped(.kept) }
            return .writes([write])
        } catch {
            return .failed(describe(error, change: change, sink: sink))
        }
    }

    /// The decoded data; `nil` for a delete, unless it comes from the path.
    private func value(_ input: borrowing MappingInput) throws(CompiledSink.Failure) -> Value? {
        do {
            if let from { return try decode.value(of: try from.render(input)) }
            guard input.change.operation != .delete else { return nil }
            return try decode.value(of: try compression.decompressed(input.change.data ?? []))
        } catch {
            throw CompiledSink.Failure(field: nil, fault: error)
        }
    }

    private func setFields(_ input: borrowing MappingInput) throws(CompiledSink.Failure) -> [Field]? {
        guard let set else { return nil }
        let isDelete = input.change.operation == .delete
        var fields: [Field] = []
        fields.reserveCapacity(set.count)
        for field in set where !(input.value == nil && field.needsValue) {
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
