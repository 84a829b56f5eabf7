import ArgumentParser
import ChangeModel
import Engine
import Foundation
import Logging
import PipelineDefinition
import SegmentLog
import SystemPackage

extension Offsets {
    struct Reset: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move the next offset to deliver; without --execute only show what would be.",
            discussion: """
                With --execute the pipeline has to be stopped: the log's lock and the sinks' epochs are taken. Backwards, \
                changes are delivered again: keys pass through older values, entries that a stream has are left as \
                they are. Forwards, what lies between is never delivered.
                """)

        @Argument(help: "A pipeline definition file.", completion: .file(extensions: ["yaml"]))
        var file: String

        @Option(help: "Only this sink; may be given several times.")
        var sink: [String] = []

        @Flag(help: "All sinks of the definition.")
        var allSinks = false

        @Flag(help: "To the log's start.")
        var toEarliest = false

        @Flag(help: "To the log's end.")
        var toLatest = false

        @Flag(help: "To where it is: for --export.")
        var toCurrent = false

        @Option(help: "To this offset.")
        var toOffset: Int64?

        @Option(help: "To the first change captured at this RFC 3339 time or later.")
        var toDatetime: String?

        @Option(
            parsing: .unconditional, help: "To the first change captured so long ago or later: 2h, 30m, 7d.")
        var byDuration: String?

        @Option(
            parsing: .unconditional,
            help: "So many offsets on, or back with a minus; at most to the log's ends.")
        var shiftBy: Int64?

        @Option(help: "To the offsets of a CSV file as --export prints it.", completion: .file())
        var fromFile: String?

        @Flag(help: "Do it.")
        var execute = false

        @Flag(help: "Print the new offsets as CSV: pipeline,sink,offset.")
        var export = false

        @Flag(help: "Print one JSON document.")
        var json = false

        /// One sink's offset before and after.
        private struct Move {
            var sink: String
            var before: Int64?
            var after: Int64
        }

        func validate() throws {
            let ways = [
                toEarliest, toLatest, toCurrent, toOffset != nil, toDatetime != nil, byDuration != nil,
                shiftBy != nil, fromFile != nil,
            ]
            guard ways.count(where: { $0 }) == 1 else {
                throw ValidationError(
                    "Say where to, once: --to-earliest, --to-latest, --to-offset, --to-datetime, --by-duration, --shift-by, "
                        + "--to-current or --from-file.")
            }
            if fromFile == nil, sink.isEmpty != allSinks {
                throw ValidationError("Name the sinks with --sink, or give --all-sinks.")
            }
            if export, json { throw ValidationError("--export prints CSV; leave --json out.") }
        }

        func run() async throws {
            try await reportingFailures {
                guard let definition = try loadDefinitions([file]).first else { throw ExitCode.definition }
                let report = try await OffsetReport.read(definition)
                guard report.logEnd > 0 else {
                    throw PipelineError.unavailable(
                        "\(Assembly(definition: definition).directory): the log is empty, there is nothing to move over"
                    )
                }
                let moves = try moves(definition, report)
                if execute { try await perform(moves, definition) }
                if export {
                    for move in moves { print("\(report.pipeline),\(move.sink),\(move.after)") }
                } else {
                    print(json ? document(moves, report) : table(moves, report))
                    if !execute { complain("nothing was moved (dry run); --execute does it") }
                }
            }
        }

        private func perform(_ moves: [Move], _ definition: PipelineDefinition) async throws {
            LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
            var logger = Logger(label: "millrace")
            logger.logLevel = .warning
            var options = RunOptions()
            options.startsAtEarliest = true
            let setup = try Assembly(definition: definition, options: options).setup(logger: logger)
            try await OffsetReset(setup).execute(
                Dictionary(uniqueKeysWithValues: moves.map { ($0.sink, $0.after) }))
        }

        // MARK: Where to

        private func moves(_ definition: PipelineDefinition, _ report: OffsetReport) throws -> [Move] {
            let names = definition.sinks.map(\.name)
            func check(_ name: String) throws {
                guard names.contains(name) else {
                    throw ValidationError(
                        "there is no sink '\(name)' in \(file); it has \(names.joined(separator: ", "))")
                }
            }
            if let fromFile {
                return try OffsetsFile.read(fromFile, pipeline: definition.name).map { entry in
                    try check(entry.sink)
                    return Move(
                        sink: entry.sink, before: current(entry.sink, report),
                        after: try inLog(entry.offset, report))
                }
            }
            try sink.forEach(check)
            let target = try target(Assembly(definition: definition).directory, report)
            return try report.sinks.filter { allSinks || sink.contains($0.name) }.map { sink in
                Move(sink: sink.name, before: sink.current, after: try target(sink))
            }
        }

        private func current(_ sink: String, _ report: OffsetReport) -> Int64? {
            report.sinks.first { $0.name == sink }?.current
        }

        /// Of a sink its new offset.
        private func target(
            _ directory: FilePath, _ report: OffsetReport
        ) throws -> (OffsetReport.Sink) throws -> Int64 {
            if toEarliest { return { _ in report.logStart } }
            if toLatest { return { _ in report.logEnd } }
            if let toOffset {
                let offset = try inLog(toOffset, report)
                return { _ in offset }
            }
            if let text = toDatetime ?? byDuration.map({ $0.hasPrefix("-") ? $0 : "-" + $0 }) {
                guard let position = LogPosition(argument: text), position.isTime else {
                    throw ValidationError(
                        toDatetime == nil
                            ? "--by-duration takes 30s, 5m, 2h or 7d, not '\(byDuration ?? "")'"
                            : "--to-datetime takes a time like 2026-01-31T12:00:00Z, not '\(text)'")
                }
                let offset = try position.offset(in: directory)
                return { _ in offset }
            }
            return { sink in
                guard let current = sink.current else {
                    throw PipelineError.failed(
                        "sink \(sink.name) has no checkpoint of this log to count from; use --to-offset")
                }
                let (sum, isOver) = current.addingReportingOverflow(shiftBy ?? 0)
                let wanted = isOver ? (current < 0 ? Int64.min : Int64.max) : sum
                return min(max(wanted, report.logStart), report.logEnd)
            }
        }

        private func inLog(_ offset: Int64, _ report: OffsetReport) throws -> Int64 {
            guard offset >= report.logStart, offset <= report.logEnd else {
                throw PipelineError.failed(
                    "the log holds offsets \(report.logStart) to \(report.logEnd) (next to be written); \(offset) is none of "
                        + "them")
            }
            return offset
        }

        // MARK: Output

        private func table(_ moves: [Move], _ report: OffsetReport) -> String {
            let header = [
                "PIPELINE", "SINK", "LOG-START-OFFSET", "LOG-END-OFFSET",
                execute ? "OLD-OFFSET" : "CURRENT-OFFSET",
                "NEW-OFFSET", "NEW-LAG",
            ]
            let rows = moves.map { move in
                [
                    report.pipeline, move.sink, "\(report.logStart)", "\(report.logEnd)",
                    move.before.map { "\($0)" } ?? "-", "\(move.after)", "\(report.logEnd - move.after)",
                ]
            }
            return alignedTable([header] + rows)
        }

        private func document(_ moves: [Move], _ report: OffsetReport) -> String {
            var json = JSONBytes()
            json.open()
            json.field("pipeline", report.pipeline)
            json.field("executed", execute)
            json.openArray("sinks")
            for move in moves {
                json.open()
                json.field("name", move.sink)
                json.field("log_start_offset", report.logStart)
                json.field("log_end_offset", report.logEnd)
                json.field("old_offset", move.before)
                json.field("new_offset", move.after)
                json.close()
            }
            json.closeArray()
            json.close()
            return json.text
        }
    }
}

/// What `offsets reset --export` prints: `pipeline,sink,offset` lines. Empty ones and such that begin with # are passed over.
enum OffsetsFile {
    /// The lines of one pipeline. Throws `PipelineError`, with the line.
    static func read(_ file: String, pipeline: String) throws(PipelineError) -> [(
        sink: String, offset: Int64
    )] {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw .unavailable("\(file): cannot be read")
        }
        var entries: [(sink: String, offset: Int64)] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") { continue }
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            guard fields.count == 3, let offset = Int64(fields[2]), offset >= 0 else {
                throw .failed("\(file):\(index + 1): not pipeline,sink,offset: '\(line)'")
            }
            guard fields[0] == pipeline else { continue }
            guard !entries.contains(where: { $0.sink == fields[1] }) else {
                throw .failed("\(file):\(index + 1): sink \(fields[1]) is there twice; keep one line")
            }
            entries.append((String(fields[1]), offset))
        }
        if entries.isEmpty { throw .failed("\(file): no line for pipeline \(pipeline)") }
        return entries
    }
}
