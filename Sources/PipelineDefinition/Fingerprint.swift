import ChangeModel
import JQ
import Mapping

/// A stable hash (64-bit FNV-1a) of all that decides what a change becomes: rules and what sinks write.
/// Lines, addresses and the order of a set do not count.
struct Fingerprint {
    private var hash: UInt64 = 0xcbf2_9ce4_8422_2325

    static func of(_ transform: TransformSpecification, _ sinks: [SinkSpecification]) -> String {
        var fingerprint = Fingerprint()
        fingerprint.add(transform.stages.isEmpty ? "none" : "rules")
        let isOneStage = transform.stages.count <= 1
        for stage in transform.stages { fingerprint.add(stage, isAlone: isOneStage) }
        for sink in sinks { fingerprint.add(sink) }
        let digits = String(fingerprint.hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private mutating func add(_ stage: TransformSpecification.Stage, isAlone: Bool) {
        switch stage {
        case .rules(let rules):
            if !isAlone { add("stage") }
            for rule in rules { add(rule) }
        case .drop(let filter): add(list: ["drop"] + parts(of: filter))
        case .select(let filter): add(list: ["select"] + parts(of: filter))
        case .jq(let program, _): add(list: ["jq", program.text])
        // They leave out writes, but change none.
        case .dedupe, .throttle: break
        }
    }

    private func parts(of filter: ChangeFilter) -> [String] {
        filter.match.map(\.text) + filter.operations.map(\.letter).sorted()
    }

    private mutating func add(_ shape: Shape) {
        guard !shape.isEmpty else { return }
        add("shape")
        add(list: shape.flatten.map { [$0] })
        add(list: shape.rename.flatMap { $0.from + ["to"] + $0.to })
        add(list: shape.select.map { $0.map { $0.joined(separator: ".") } })
        add(list: shape.drop.map { $0.joined(separator: ".") })
        add(list: shape.defaults.flatMap { [$0.name.joined(separator: "."), $0.text] })
        add(list: shape.casts.flatMap { [$0.name.joined(separator: "."), $0.type.rawValue] })
        add(list: shape.hash.map { $0.joined(separator: ".") })
        // Not the key itself: the fingerprint is no secret.
        add(shape.hashKey == nil ? "plain" : "keyed")
        add(list: shape.mask.map { $0.joined(separator: ".") })
    }

    private mutating func add(_ rule: Rule) {
        add("rule")
        add(rule.match.text)
        // What a rule does not use must not count: a version that knows more would tell of a change.
        if !rule.exclude.isEmpty { add(list: ["exclude"] + rule.exclude.map(\.text)) }
        if rule.continues { add("continue") }
        if rule.compression != .none { add(rule.compression.rawValue) }
        if let from = rule.from { add(list: ["from", from.text]) }
        if let jq = rule.jq { add(list: ["jq", jq.text]) }
        add(rule.shape)
        if let ttl = rule.ttl { add(list: ["ttl", ttl.text]) }
        add(rule.operations.map(\.letter).sorted().joined())
        add(rule.decode.rawValue)
        add(list: rule.to?.sorted())
        add(list: rule.set?.flatMap(parts))
    }

    private func parts(of field: FieldDefinition) -> [String] {
        switch field.source {
        case .template(let template):
            [field.name, "template", template.text]
        case .cast(let reference, let type, let fallback):
            [field.name, "cast", reference.description, type.rawValue, fallback.map { "=" + $0 } ?? ""]
        }
    }

    private mutating func add(_ sink: SinkSpecification) {
        add("sink")
        add(sink.name)
        switch sink.write {
        case .stream: add("stream")
        case .string: add("string")
        case .hash: add("hash")
        case .set: add("set")
        case .sortedSet: add("sorted_set")
        case .children: add("children")
        case .stdout: add("stdout")
        }
        for template in [sink.key, sink.member, sink.field, sink.value, sink.score] {
            add(list: template.map { [$0.text] })
        }
        add(sink.onDelete.rawValue)
        if let ttl = sink.ttl { add(list: ["ttl", ttl.text]) }
        if sink.envelope != nil { add("envelope") }
        if !sink.removesFiltered { add("keeps filtered") }
    }

    private mutating func add(list: [String]?) {
        guard let list else { return add("nil") }
        add(String(list.count))
        for item in list { add(item) }
    }

    /// Length first, so that no two lists of texts read the same.
    private mutating func add(_ text: String) {
        var length = UInt64(text.utf8.count)
        for _ in 0..<8 {
            add(UInt8(truncatingIfNeeded: length))
            length >>= 8
        }
        for byte in text.utf8 { add(byte) }
    }

    private mutating func add(_ byte: UInt8) {
        hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
    }
}
