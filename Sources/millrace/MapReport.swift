import ChangeModel
import Mapping
import PipelineDefinition

/// What changes become, for a person or as JSON.
struct MapReport {
    private let definition: PipelineDefinition
    private let mapper: Mapper
    private let sinks: [Int]
    private let json: Bool

    init(_ definition: PipelineDefinition, sink: String?, json: Bool) {
        self.definition = definition
        self.json = json
        mapper = Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification))
        sinks = definition.sinks.indices.filter { sink == nil || definition.sinks[$0].name == sink }
    }

    func text(of change: Change, offset: Int64) -> String {
        let isCaptured = definition.source.scope.contains(change.path)
        return json
            ? document(change, offset, isCaptured)
            : lines(change, offset, isCaptured).joined(separator: "\n")
    }

    private func lines(_ change: Change, _ offset: Int64, _ isCaptured: Bool) -> [String] {
        var lines = ["\(change.operation.letter) \(change.path)"]
        if !isCaptured { lines.append("  (not among the paths that this definition captures)") }
        for sink in sinks {
            let (steps, result) = mapper.explain(change, offset: offset, sink: sink)
            lines.append("  \(definition.sinks[sink].name)")
            for step in steps { lines += MapReport.lines(step).map { "    " + $0 } }
            lines += MapReport.lines(result).map { "    => " + $0 }
        }
        return lines
    }

    private static func lines(_ step: MappingStep) -> [String] {
        var place = "stage \(step.stage + 1)"
        if let line = step.line { place += ", line \(line)" }
        switch step.event {
        case .noRule: return ["\(place): no rule matches"]
        case .excluded: return ["\(place): matches, but exclude takes the path out"]
        case .operation: return ["\(place): matches, but 'on' leaves the operation out"]
        case .notAddressed: return ["\(place): matches, but 'to' leaves this sink out"]
        case .filtered: return ["\(place): lets nothing through"]
        case .applied: break
        }
        var lines = [place + (step.captures.isEmpty ? "" : ": \(list(step.captures))")]
        if let fields = step.fields {
            lines.append("  fields \(list(fields))")
        } else if let value = step.value {
            lines.append("  value \(shown(value))")
        }
        return lines
    }

    private static func lines(_ result: MappingResult) -> [String] {
        if case .dropped(let reason) = result { return ["nothing (\(words(reason)))"] }
        return WriteForm.list(result).map(\.description)
    }

    private static func words(_ reason: DropReason) -> String {
        switch reason {
        case .noRule: "no rule matches"
        case .operation: "the rule leaves the operation out"
        case .notAddressed: "no rule that matches writes to this sink"
        case .kept: "on_delete: keep"
        case .filtered: "it was filtered out"
        }
    }

    private static func list(_ fields: [Field]) -> String {
        fields.map { "\(String(decoding: $0.name, as: UTF8.self))=\(shown($0.value))" }
            .joined(separator: " ")
    }

    /// Enough of it to see what it is.
    private static func shown(_ bytes: Bytes) -> String {
        let text = String(decoding: bytes.prefix(500), as: UTF8.self).replacing("\n", with: "\\n")
        return bytes.count > 500 ? text + "…" : text
    }

    private func document(_ change: Change, _ offset: Int64, _ isCaptured: Bool) -> String {
        var document = JSONBytes()
        document.open()
        document.field("op", change.operation.letter)
        document.field("path", change.path)
        document.field("captured", isCaptured)
        document.openArray("sinks")
        for sink in sinks {
            document.open()
            document.field("name", definition.sinks[sink].name)
            let result = mapper.map(change, offset: offset, sink: sink)
            switch result {
            case .dropped(let reason): document.field("dropped", MapReport.words(reason))
            case .failed(let error): document.field("failed", "\(error)")
            case .writes:
                document.openArray("writes")
                for form in WriteForm.list(result) { MapReport.add(form, to: &document) }
                document.closeArray()
            }
            document.close()
        }
        document.closeArray()
        document.close()
        return document.text
    }

    static func add(_ form: WriteForm, to document: inout JSONBytes) {
        func text(_ bytes: Bytes) -> String { String(decoding: bytes, as: UTF8.self) }
        document.open()
        if let key = form.key { document.field("key", text(key)) }
        switch form.kind {
        case .hash, .entry, .setField:
            document.open(form.kind.rawValue)
            for field in form.fields { document.field(text(field.name), text(field.value)) }
            document.close()
        case .delete, .release, .envelope:
            document.field(form.kind.rawValue, true)
        case .string, .add, .remove, .removeField, .addItem, .removeItem, .failed:
            document.field(form.kind.rawValue, text(form.text))
        }
        if let score = form.score { document.field("score", text(score)) }
        if let ttl = form.ttlMilliseconds { document.field("ttl_ms", ttl) }
        document.close()
    }
}
