public import ChangeModel
import JQ

/// Turns changes into writes. Made once from a definition; pure, and safe to share.
///
/// A change is mapped for every sink alike: a rule whose data cannot be decoded or whose `set` cannot be
/// filled fails for all the sinks that it addresses, so that they never disagree about what was refused.
public struct Mapper: Sendable {
    /// For delivery: what is mapped goes through these before a sink gets it.
    public let stateful: [StatefulStage]
    private let stages: [CompiledStage]
    /// Those of all stages.
    private let rules: [CompiledRule]
    private let sinkNames: [String]
    private let sinkLines: [Int]
    /// How many writes a sink has room for of one change; `nil`: any number.
    private let writeLimits: [Int?]
    /// For what comes out of a transform without rules.
    private let plainTargets: [CompiledSink]

    public init(transform: TransformSpecification, sinks: [SinkSpecification]) {
        stateful = transform.stages.compactMap(StatefulStage.init)
        sinkNames = sinks.map(\.name)
        sinkLines = sinks.map(\.line)
        writeLimits = sinks.map(\.writeLimit)
        let contexts = sinks.map { TransformSink($0, transform: transform) }
        let lastRules = transform.stages.lastIndex { $0.rules != nil }
        let lastMaker = transform.stages.lastIndex(where: \.makesValues)
        var rules: [CompiledRule] = []
        stages = transform.stages.enumerated().compactMap { index, stage in
            let first = rules.count
            for rule in stage.rules ?? [] {
                rules.append(
                    CompiledRule(
                        rule, sinks: contexts, isLast: index == lastRules,
                        isFollowed: index < lastMaker ?? -1))
            }
            return CompiledStage(stage, firstRule: first)
        }
        self.rules = rules
        plainTargets = contexts.map {
            CompiledSink($0, expectsObject: lastMaker != nil, captureNames: [], ttl: nil)
        }
    }

    /// What a change becomes for one sink.
    ///
    /// - Parameters:
    ///   - offset: the change's position in the log.
    ///   - sink: index of the sink in the list that the mapper was made with.
    public func map(_ change: Change, offset: Int64, sink: Int) -> MappingResult {
        var flow = Flow(sink: sink)
        run(change, offset, &flow)
        return flow.result
    }

    /// As `map`, and what happened on the way.
    public func explain(
        _ change: Change, offset: Int64, sink: Int
    ) -> (steps: [MappingStep], result: MappingResult) {
        var flow = Flow(sink: sink)
        flow.steps = []
        run(change, offset, &flow)
        return (flow.steps ?? [], flow.result)
    }

    private func run(_ change: Change, _ offset: Int64, _ flow: inout Flow) {
        guard sinkNames.indices.contains(flow.sink) else { return flow.result = .dropped(.notAddressed) }
        if let only = change.onlyFor, only != sinkNames[flow.sink] {
            return flow.result = .dropped(.notAddressed)
        }
        var record = Record(input: MappingInput(change: change, offset: offset))
        record.isShown = flow.steps != nil
        if change.operation != .delete { record.input.value = .bytes(change.data ?? []) }
        run(&record, from: 0, &flow)
        guard let limit = writeLimits[flow.sink], case .writes(let writes) = flow.result, writes.count > limit
        else { return }
        flow.result = .failed(
            MappingError(
                code: .wrongShape, rule: nil, line: sinkLines[flow.sink], field: nil, path: change.path,
                reason: "it becomes \(writes.count) entries; 'id: zxid' has room for \(limit) of a change"))
    }

    /// Where the records of one change go, and what has become of them.
    private struct Flow {
        let sink: Int
        var result = MappingResult.dropped(.noRule)
        /// `nil`: nobody wants to know.
        var steps: [MappingStep]?

        mutating func note(
            _ stage: Int, line: Int? = nil, _ record: borrowing Record, _ event: MappingStep.Event
        ) {
            guard steps != nil else { return }
            steps?.append(MappingStep(stage: stage, line: line, record, event))
        }
    }

    // A record is changed in place on its way, since a copy of it retains each of its parts.

    private func run(_ record: inout Record, from stage: Int, _ flow: inout Flow) {
        guard stage < stages.count else { return deliver(record, &flow) }
        switch stages[stage] {
        case .rules(let first, let matcher):
            apply(rulesFrom: first, matcher, &record, stage, &flow)
        case .filter(let filter):
            let verdict = filter.verdict(record.input.change)
            if verdict != .goesOn { flow.note(stage, record, .filtered) }
            if verdict == .dropped { return flow.result.add(.dropped(.filtered)) }
            if verdict == .filtered { record.filter() }
            run(&record, from: stage + 1, &flow)
        case .jq(let program, let line):
            apply(program, line, &record, stage, &flow)
        }
    }

    private func apply(
        rulesFrom first: Int, _ matcher: PathMatcher, _ record: inout Record, _ stage: Int,
        _ flow: inout Flow
    ) {
        if record.rule >= 0 { record.inheritCaptures(names: rules[record.rule].captureNames) }
        let path = record.input.change.path
        let operation = record.input.change.operation
        var isMatched = false
        matcher.forEachMatch(path) { offset in
            let index = first + offset
            let rule = rules[index]
            guard let captures = rule.captures(in: path) else {
                flow.note(stage, line: rule.line, record, .excluded)
                return true
            }
            isMatched = true
            if !rule.addresses(flow.sink) {
                flow.note(stage, line: rule.line, record, .notAddressed)
                flow.result.add(.dropped(.notAddressed))
            } else if !rule.operations.contains(operation) {
                flow.note(stage, line: rule.line, record, .operation)
                flow.result.add(.dropped(.operation))
            } else if rule.continues {
                var copy = record
                apply(rule: index, captures, &copy, stage, &flow)
            } else {
                apply(rule: index, captures, &record, stage, &flow)
            }
            return rule.continues
        }
        if !isMatched { flow.note(stage, record, .noRule) }
    }

    private func apply(
        rule index: Int, _ captures: [Substring], _ record: inout Record, _ stage: Int, _ flow: inout Flow
    ) {
        record.input.captures = captures
        record.rule = index
        let rule = rules[index]
        func note(_ record: borrowing Record) {
            guard flow.steps != nil else { return }
            let event = record.isFiltered ? MappingStep.Event.filtered : .applied(rule.captureNames)
            flow.note(stage, line: rule.line, record, event)
        }
        do {
            let several = try rule.apply(&record)
            guard let several else {
                note(record)
                return run(&record, from: stage + 1, &flow)
            }
            for var one in several {
                note(one)
                run(&one, from: stage + 1, &flow)
            }
        } catch {
            flow.result = .failed(describe(error, record, flow))
        }
    }

    private func apply(
        _ program: JQProgram, _ line: Int, _ record: inout Record, _ stage: Int, _ flow: inout Flow
    ) {
        guard let value = record.input.value else { return run(&record, from: stage + 1, &flow) }
        do {
            let outputs = try program.outputs(of: value)
            if outputs.isEmpty {
                flow.note(stage, line: line, record, .filtered)
                record.filter()
                run(&record, from: stage + 1, &flow)
            }
            for output in outputs {
                var one = record
                one.input.value = output
                one.fields = nil
                flow.note(stage, line: line, one, .applied([]))
                run(&one, from: stage + 1, &flow)
            }
        } catch {
            flow.result = .failed(describe(.init(field: "jq", fault: error), record, flow, line: line))
        }
    }

    private func deliver(_ record: borrowing Record, _ flow: inout Flow) {
        let isRules = record.rule >= 0 && !rules[record.rule].targets.isEmpty
        do {
            flow.result.add(
                isRules
                    ? try rules[record.rule].targets[flow.sink].result(of: record)
                    : try plainTargets[flow.sink].result(of: record))
        } catch {
            flow.result = .failed(describe(error, record, flow))
        }
    }

    private func describe(
        _ failure: CompiledSink.Failure, _ record: borrowing Record, _ flow: Flow, line: Int? = nil
    ) -> MappingError {
        let (code, reason): (MappingError.Code, String) =
            switch failure.fault {
            case .undecodable(let reason): (.undecodable, reason)
            case .missing(let reason): (.missing, reason)
            case .wrongType(let reason): (.wrongType, reason)
            case .wrongShape(let reason): (.wrongShape, reason)
            case .jq(let reason): (.jq, reason)
            case .unavailable(let reason): (.unavailable, reason)
            }
        let rule = record.rule >= 0 && line == nil ? record.rule : nil
        let sinkLine = sinkLines[flow.sink] > 0 ? sinkLines[flow.sink] : nil
        return MappingError(
            code: code, rule: rule, line: line ?? (rule.map { rules[$0].line } ?? sinkLine),
            field: failure.field,
            path: record.input.change.path, reason: reason)
    }
}

extension MappingResult {
    /// What a further rule or output makes of the same change. One that fails fails for all of them.
    fileprivate mutating func add(_ other: consuming MappingResult) {
        switch self {
        case .dropped: self = other
        case .failed: break
        case .writes(let writes):
            switch other {
            case .dropped: break
            case .writes(let more): self = .writes(writes + more)
            case .failed: self = other
            }
        }
    }
}
