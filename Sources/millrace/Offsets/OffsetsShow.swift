import ArgumentParser
import ChangeModel
import Engine
import Glibc
import PipelineDefinition

extension Offsets {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Per sink: where the log begins and ends, the next offset to deliver, the lag.",
            discussion:
                "Reads the log's files and the sinks' checkpoints; runs beside the pipeline or without it.")

        @Argument(
            help: "Pipeline definition files, or directories of them.",
            completion: .file(extensions: ["yaml"]))
        var files: [String]

        @Flag(help: "Print one JSON document: of several files an object with an array 'pipelines'.")
        var json = false

        @Flag(help: "Print the table again every two seconds, until interrupted.")
        var watch = false

        private static let watchInterval = Duration.seconds(2)

        func validate() throws {
            if watch, json { throw ValidationError("--watch shows a table; leave --json out.") }
        }

        func run() async throws {
            try await reportingFailures {
                let definitions = try loadDefinitions(try definitionFiles(files))
                while true {
                    var reports: [OffsetReport] = []
                    for definition in definitions { reports.append(try await OffsetReport.read(definition)) }
                    if watch, isatty(STDOUT_FILENO) == 1 { print("\u{1B}[H\u{1B}[2J", terminator: "") }
                    print(json ? document(reports) : Show.table(reports))
                    fflush(nil)
                    guard watch else { return }
                    try await Task.sleep(for: Show.watchInterval)
                }
            }
        }

        private func document(_ reports: [OffsetReport]) -> String {
            if files.count == 1, reports.count == 1 { return Show.document(reports[0]) }
            return "{\"pipelines\":[" + reports.map(Show.document).joined(separator: ",") + "]}"
        }

        private static func table(_ reports: [OffsetReport]) -> String {
            let header = [
                "PIPELINE", "SINK", "LOG-START-OFFSET", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "TIME-LAG",
                "ZXID", "CHECKPOINT", "AGE",
            ]
            return alignedTable([header] + reports.flatMap(rows))
        }

        private static func rows(_ report: OffsetReport) -> [[String]] {
            func text(_ number: Int64?) -> String { number.map { String($0) } ?? "-" }
            func duration(_ number: Int64?) -> String { number.map { readable(milliseconds: $0) } ?? "-" }
            var rows: [[String]] = []
            for sink in report.sinks {
                rows.append([
                    report.pipeline, sink.name, text(report.logStart), text(sink.current),
                    text(report.logEnd),
                    text(sink.lag), duration(sink.timeLagMilliseconds),
                    sink.checkpoint?.settled.hexadecimal ?? "-", sink.place, duration(sink.ageMilliseconds),
                ])
                for node in sink.nodes {
                    rows.append([
                        "", "  on \(node.name)", "", text(node.current), "", text(node.lag), "",
                        node.checkpoint?.settled.hexadecimal ?? "-", "slots \(node.slots)",
                        duration(node.ageMilliseconds),
                    ])
                }
            }
            return rows
        }

        private static func document(_ report: OffsetReport) -> String {
            var json = JSONBytes()
            json.open()
            json.field("pipeline", report.pipeline)
            json.openArray("sinks")
            for sink in report.sinks {
                json.open()
                json.field("name", sink.name)
                json.field("log_start_offset", report.logStart)
                json.field("current_offset", sink.current)
                json.field("log_end_offset", report.logEnd)
                json.field("lag", sink.lag)
                json.field("time_lag_ms", sink.timeLagMilliseconds)
                json.field("zxid", sink.checkpoint?.settled.value)
                json.open("checkpoint")
                json.field("place", sink.place)
                if let checkpoint = sink.checkpoint {
                    json.field("epoch", checkpoint.epoch)
                    json.field("sent", checkpoint.sent)
                    json.field("generation", Int64(checkpoint.generation))
                    json.field("log_id", checkpoint.logID)
                    json.field("owner", checkpoint.owner)
                    json.field("age_ms", sink.ageMilliseconds)
                }
                json.close()
                if !sink.nodes.isEmpty {
                    json.openArray("nodes")
                    for node in sink.nodes {
                        json.open()
                        json.field("node", node.name)
                        json.field("slots", node.slots)
                        json.field("current_offset", node.current)
                        json.field("lag", node.lag)
                        json.field("zxid", node.checkpoint?.settled.value)
                        json.field("age_ms", node.ageMilliseconds)
                        json.close()
                    }
                    json.closeArray()
                }
                json.close()
            }
            json.closeArray()
            json.close()
            return json.text
        }
    }
}
