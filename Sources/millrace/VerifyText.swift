import ChangeModel
import Engine
import Mapping
import PipelineDefinition

/// What a comparison has found, for a person or as JSON.
struct VerifyText {
    private let report: VerifyReport
    private let pipeline: String
    private let isRepair: Bool
    /// Sinks that hold no state, and how they write.
    private let skipped: [(name: String, form: String)]

    init(
        _ report: VerifyReport, _ definition: PipelineDefinition, _ sinks: [SinkDefinition], isRepair: Bool
    ) {
        self.report = report
        pipeline = definition.name
        self.isRepair = isRepair
        skipped = sinks.filter { !$0.specification.holdsState }.map { sink in
            let isStream = if case .stream = sink.specification.write { true } else { false }
            return (sink.name, isStream ? "stream" : "stdout")
        }
    }

    private var differenceCount: Int { report.sinks.reduce(0) { $0 + $1.differenceCount } }

    // MARK: For people

    var lines: String {
        var lines = report.differences.map(VerifyText.line)
        let left = differenceCount - report.differences.count
        if left > 0 { lines.append("… and \(left) more (--limit)") }
        if !report.sinks.isEmpty { lines.append(table) }
        for sink in skipped {
            lines.append(
                "sink \(sink.name): skipped (\(sink.form): what it has written is history, not state)")
        }
        for sink in report.sinks {
            if sink.unmapped > 0 {
                lines.append(
                    "sink \(sink.name): \(sink.unmapped) nodes cannot be mapped and were not compared")
            }
            if sink.changing > 0 {
                lines.append("sink \(sink.name): \(sink.changing) things change too often to be compared")
            }
            if sink.behind > 0, sink.differenceCount > 0 {
                lines.append(
                    "sink \(sink.name): \(sink.behind) changes of the log are still to be delivered, and may be all "
                        + "that differs")
            }
            if let blindness = sink.blindness {
                lines.append("sink \(sink.name): not all that is extra can be found: \(blindness)")
            }
        }
        if report.hidden > 0 {
            lines.append("\(report.hidden) nodes may not be read; nothing below them was compared")
        }
        lines.append(summary)
        return lines.joined(separator: "\n")
    }

    private var table: String {
        let kinds = Difference.Kind.allCases
        var header = ["SINK", "COMPARED"] + kinds.map { $0.rawValue.uppercased() }
        if isRepair { header.append("REPAIRED") }
        let rows = report.sinks.map { sink in
            [sink.name, "\(sink.compared)"] + kinds.map { "\(sink.differences[$0] ?? 0)" }
                + (isRepair ? ["\(sink.repaired)"] : [])
        }
        return alignedTable([header] + rows)
    }

    private var summary: String {
        let nodes = "\(report.nodes) nodes"
        let remaining = report.sinks.reduce(0) { $0 + $1.remaining }
        if differenceCount == 0 { return "\(nodes), no difference" }
        let counted = "\(nodes), \(differenceCount) \(differenceCount == 1 ? "difference" : "differences")"
        if !isRepair { return counted }
        return counted + (remaining == 0 ? ", all repaired" : ", \(remaining) not repaired")
    }

    private static func line(_ difference: Difference) -> String {
        var line = "\(difference.kind.rawValue) \(difference.sink) \(difference.item.key.printable)"
        if let part = partName(difference.item.kind) { line += " \(part) \(difference.item.part.printable)" }
        line += " (\(difference.path.utf8.printable))"
        line += " expected \(difference.expected ?? "nothing") found \(difference.found ?? "nothing")"
        switch difference.repair {
        case nil: break
        case .done?: line += ": repaired"
        case .failed(let reason)?: line += ": not repaired: \(reason)"
        }
        return line
    }

    private static func partName(_ kind: SinkItem.Kind) -> String? {
        switch kind {
        case .string, .hash: nil
        case .hashField: "field"
        case .member, .scoredMember: "member"
        case .listItem: "item"
        }
    }

    // MARK: JSON

    var document: String {
        var json = JSONBytes()
        json.open()
        json.field("pipeline", pipeline)
        json.field("nodes", Int64(report.nodes))
        json.field("hidden", Int64(report.hidden))
        json.openArray("sinks")
        for sink in report.sinks {
            json.open()
            json.field("name", sink.name)
            json.field("compared", Int64(sink.compared))
            for kind in Difference.Kind.allCases {
                json.field(kind.rawValue, Int64(sink.differences[kind] ?? 0))
            }
            if isRepair { json.field("repaired", Int64(sink.repaired)) }
            json.field("unmapped", Int64(sink.unmapped))
            json.field("changing", Int64(sink.changing))
            json.field("behind", sink.behind)
            if let blindness = sink.blindness { json.field("extra_not_found", blindness) }
            json.close()
        }
        for sink in skipped {
            json.open()
            json.field("name", sink.name)
            json.field("skipped", sink.form)
            json.close()
        }
        json.closeArray()
        json.openArray("differences")
        for difference in report.differences { VerifyText.add(difference, to: &json) }
        json.closeArray()
        json.field("not_listed", Int64(differenceCount - report.differences.count))
        json.close()
        return json.text
    }

    private static func add(_ difference: Difference, to json: inout JSONBytes) {
        json.open()
        json.field("kind", difference.kind.rawValue)
        json.field("sink", difference.sink)
        json.field("key", difference.item.key.printable)
        if let part = partName(difference.item.kind) { json.field(part, difference.item.part.printable) }
        json.field("path", difference.path)
        if let expected = difference.expected { json.field("expected", expected) }
        if let found = difference.found { json.field("found", found) }
        switch difference.repair {
        case nil: break
        case .done?: json.field("repaired", true)
        case .failed(let reason)?:
            json.field("repaired", false)
            json.field("reason", reason)
        }
        json.close()
    }
}
