import ChangeModel
import JQ

/// A change on its way through the stages.
struct Record {
    var input: MappingInput
    /// Index of the rule that it has come from; -1: none.
    var rule = -1
    /// What `set` of the last rule has built; `nil`: the value is what goes to the sinks.
    var fields: FieldList?
    /// Somebody looks at what becomes of it: all of the data is decoded.
    var isShown = false
    /// It has come to a filter that let nothing through: what it wrote before goes.
    var isFiltered = false

    mutating func filter() {
        isFiltered = true
        input.value = nil
        fields = nil
    }

    /// The next stage has captures of its own.
    mutating func inheritCaptures(names: [String]) {
        input.inherited.insert(.init(names: names, captures: input.captures), at: 0)
    }
}

/// A rule ready to be applied. A class, since a copy of so many parts would retain each of them, for every change.
final class CompiledRule: Sendable {
    private let pattern: PathPattern
    private let excluded: [PathPattern]
    /// Whether later rules may match, too.
    let continues: Bool
    let line: Int?
    let operations: Set<Operation>
    private let compression: Compression
    private let from: CompiledTemplate?
    private let decode: Decoding
    /// Of the decoded data.
    private let wanted: WantedMembers
    private let jq: JQProgram?
    private let shape: Shape?
    private let set: [CompiledField]?
    /// Whether a later stage goes on with what `set` builds.
    private let isSetForStages: Bool
    private let addresses: [Bool]
    /// For each sink; empty where a later stage has rules.
    let targets: [CompiledSink]

    init(_ rule: Rule, sinks: [TransformSink], isLast: Bool, isFollowed: Bool) {
        let names = rule.match.captureNames
        pattern = rule.match
        excluded = rule.exclude
        continues = rule.continues
        line = rule.line > 0 ? rule.line : nil
        operations = rule.operations
        compression = rule.compression
        from = rule.from.map { CompiledTemplate($0, captureNames: names) }
        decode = rule.decode
        jq = rule.jq
        shape = rule.shape.isEmpty ? nil : rule.shape
        set = rule.set.map { $0.map { CompiledField($0, captureNames: names) } }
        isSetForStages = isFollowed
        addresses = sinks.map { rule.to?.contains($0.specification.name) ?? true }
        let expectsObject = rule.decode.givesMembers || rule.jq != nil
        targets =
            isLast
            ? sinks.map {
                CompiledSink($0, expectsObject: expectsObject, captureNames: names, ttl: rule.ttl)
            } : []
        let isLookedThrough = rule.jq != nil || shape != nil || isFollowed || !isLast
        let hasSet = rule.set != nil
        let drawn = targets.map { $0.references(hasSet: hasSet) }
        let isWhole = isLookedThrough || drawn.contains { $0 == nil }
        wanted =
            isWhole
            ? .all : WantedMembers((set ?? []).flatMap(\.references) + drawn.compactMap { $0 }.joined())
    }

    /// The captures of a path that the pattern matches; `nil` where the rule excludes it.
    func captures(in path: String) -> [Substring]? {
        if !excluded.isEmpty, excluded.contains(where: { $0.matchesPathOrAncestor(path) }) { return nil }
        if pattern.captureNames.isEmpty { return [] }
        return pattern.captures(in: path)
    }

    var captureNames: [String] { pattern.captureNames }

    func addresses(_ sink: Int) -> Bool { addresses[sink] }

    /// What the rule makes of a record that it matches: one, or where `jq` has several outputs several.
    func apply(_ record: inout Record) throws(CompiledSink.Failure) -> [Record]? {
        do {
            try decode(&record)
        } catch {
            throw CompiledSink.Failure(field: nil, fault: error)
        }
        if let jq, let value = record.input.value {
            let outputs: [Value]
            do {
                outputs = try jq.outputs(of: value)
            } catch {
                throw CompiledSink.Failure(field: "jq", fault: error)
            }
            if outputs.count != 1 {
                if outputs.isEmpty {
                    record.filter()
                    return nil
                }
                var records: [Record] = []
                for output in outputs {
                    var next = record
                    next.input.value = output
                    try finish(&next)
                    records.append(next)
                }
                return records
            }
            record.input.value = outputs[0]
        }
        try finish(&record)
        return nil
    }

    private func decode(_ record: inout Record) throws(MappingFault) {
        let wanted = record.isShown ? .all : wanted
        if let from {
            record.input.value = try decode.value(of: try from.render(record.input), wanted)
        } else if decode != .none || compression != .none, let data = record.input.value?.textBytes {
            let plain = compression == .none ? data : try compression.decompressed(data)
            record.input.value = try decode.value(of: plain, wanted)
        }
    }

    private func finish(_ record: inout Record) throws(CompiledSink.Failure) {
        if let shape, let value = record.input.value {
            do {
                record.input.value = try shape.apply(to: value)
            } catch {
                throw CompiledSink.Failure(field: nil, fault: error)
            }
        }
        guard let set else { return record.fields = nil }
        if isSetForStages, record.input.value != nil {
            record.input.value = try members(set, record)
            record.fields = nil
        } else {
            record.fields = try fields(set, record)
        }
    }

    private func fields(_ set: [CompiledField], _ record: borrowing Record) throws(CompiledSink.Failure)
        -> FieldList
    {
        var fields = FieldList()
        fields.reserveCapacity(fields: set.count, bytes: 32 * set.count)
        let hasNoValue = record.input.value == nil
        for field in set where !(hasNoValue && field.needsValue) {
            do {
                try field.append(to: &fields, from: record.input)
            } catch {
                // Of a deleted node not even {ephemeral} may be known.
                if hasNoValue, case .missing = error { continue }
                throw CompiledSink.Failure(field: field.name, fault: error)
            }
        }
        return fields
    }

    private func members(_ set: [CompiledField], _ record: borrowing Record) throws(CompiledSink.Failure)
        -> Value
    {
        var members: [ObjectValue.Member] = []
        for field in set {
            do {
                members.append(.init(name: field.name, value: try field.evaluate(record.input)))
            } catch {
                throw CompiledSink.Failure(field: field.name, fault: error)
            }
        }
        return .object(ObjectValue(members))
    }
}
