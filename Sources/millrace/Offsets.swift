import ArgumentParser
import ChangeModel
import Engine
import PipelineDefinition

struct Offsets: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how far each sink has come.", subcommands: [Show.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Per sink: where the log begins and ends, the next offset to deliver, the lag.",
            discussion:
                "Reads the log's files and the sinks' checkpoints; runs beside the pipeline or without it.")

        @Argument(help: "A pipeline definition file.", completion: .file(extensions: ["yaml"]))
        var file: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await reportingFailures {
                for definition in try loadDefinitions([file]) {
                    let assembly = Assembly(definition: definition)
                    let report = try await OffsetReport.read(
                        pipeline: definition.name, directory: assembly.directory,
                        stores: try assembly.checkpointStores())
                    print(json ? Show.document(report) : Show.table(report))
                }
            }
        }

        private static func table(_ report: OffsetReport) -> String {
            let header = [
                "PIPELINE", "SINK", "LOG-START-OFFSET", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "TIME-LAG",
                "ZXID", "CHECKPOINT", "AGE",
            ]
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
            return alignedTable([header] + rows)
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
