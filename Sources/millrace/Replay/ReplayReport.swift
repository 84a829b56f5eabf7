import ChangeModel
import Engine
import Mapping
import PipelineDefinition

/// What a replay has done, or would do.
struct ReplayReport {
    private let pipeline: String
    private let offsets: Range<Int64>
    private let results: [LogReplay.Result]
    private let duration: Duration

    init(_ pipeline: String, _ offsets: Range<Int64>, _ results: [LogReplay.Result], _ duration: Duration) {
        self.pipeline = pipeline
        self.offsets = offsets
        self.results = results
        self.duration = duration
    }

    var text: String {
        let header = ["SINK", "FROM", "TO", "CHANGES", "REFUSED", "SECONDS", "CHANGES/S"]
        let rows = results.map { result in
            [
                result.sink, "\(offsets.lowerBound)", "\(offsets.upperBound)", "\(result.delivered)",
                "\(result.refused)", ReplayReport.seconds(result.duration),
                "\(Int64(Double(result.delivered) / max(result.duration / .seconds(1), 0.001)))",
            ]
        }
        return alignedTable([header] + rows)
    }

    var document: String {
        var json = JSONBytes()
        json.open()
        json.field("pipeline", pipeline)
        json.field("from_offset", offsets.lowerBound)
        json.field("to_offset", offsets.upperBound)
        json.field("duration_ms", Int64(duration / .milliseconds(1)))
        json.openArray("sinks")
        for result in results {
            json.open()
            json.field("name", result.sink)
            json.field("delivered", result.delivered)
            json.field("refused", result.refused)
            json.field("duration_ms", Int64(result.duration / .milliseconds(1)))
            json.openArray("refusals")
            for (offset, path, reason) in result.reasons {
                json.open()
                json.field("offset", offset)
                json.field("path", path)
                json.field("reason", reason)
                json.close()
            }
            json.closeArray()
            json.close()
        }
        json.closeArray()
        json.close()
        return json.text
    }

    /// Of the first refusals of each sink.
    var reasons: [String] {
        results.flatMap { result in
            result.reasons.map { "sink \(result.sink), offset \($0.offset), \($0.path): \($0.reason)" }
                + (result.refused > result.reasons.count
                    ? ["sink \(result.sink): and \(result.refused - Int64(result.reasons.count)) more"] : [])
        }
    }

    private static func seconds(_ duration: Duration) -> String {
        "\(((duration / .seconds(1)) * 100).rounded() / 100)"
    }

    // MARK: Dry run

    static func text(of item: ReplayPreview.Item) -> String {
        let place = "\(item.offset) \(item.operation.letter) \(item.path) \(item.sink)"
        if let refusal = item.refusal { return "\(place) => refused: \(refusal)" }
        return item.writes.map { "\(place) => \(WriteForm($0))" }.joined(separator: "\n")
    }

    static func document(of item: ReplayPreview.Item) -> String {
        var json = JSONBytes()
        json.open()
        json.field("offset", item.offset)
        json.field("op", item.operation.letter)
        json.field("path", item.path)
        json.field("sink", item.sink)
        if let refusal = item.refusal { json.field("failed", refusal) }
        json.openArray("writes")
        for write in item.writes { MapReport.add(WriteForm(write), to: &json) }
        json.closeArray()
        json.close()
        return json.text
    }
}
