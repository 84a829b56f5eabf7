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
            if files.count == 1, reports.count == 1 { return reports[0].json }
            return "{\"pipelines\":[" + reports.map(\.json).joined(separator: ",") + "]}"
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
    }
}
