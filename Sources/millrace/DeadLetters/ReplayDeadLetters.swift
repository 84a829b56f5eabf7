import ArgumentParser
import ChangeModel
import Engine
import Logging
import PipelineDefinition

extension DeadLettersCommand {
    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try dead letters again, through the definition as it is now.",
            discussion: """
                The pipeline has to be stopped: the log's lock and the sinks' epochs are taken. A key is written only \
                if no later change of the node, or of what it maps to, is in the log; otherwise the letter is \
                superseded. A stream gets an entry with the next free ID and the field replayed_offset. What was \
                delivered, superseded or dropped by the rules is noted and not tried again. Exit code 1: something was \
                refused again; 3: the pipeline runs, a server is missing, or a number is not there.
                """)

        @Argument(help: "A pipeline definition file.", completion: .file(extensions: ["yaml"]))
        var file: String

        @Argument(help: "Numbers of dead letters, as list shows them.")
        var numbers: [Int64] = []

        @Flag(help: "All that nobody has dealt with yet.")
        var all = false

        @Option(help: "Only those of this sink.")
        var sink: String?

        @Flag(help: "Tell what would be tried; nothing is locked, written or connected to.")
        var dryRun = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            if numbers.isEmpty != all { throw ValidationError("Name dead letters by number, or give --all.") }
        }

        func run() async throws {
            try await reportingFailures {
                guard let definition = try loadDefinitions([file]).first else { return }
                LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
                var logger = Logger(label: "millrace")
                logger.logLevel = .warning
                let setup = try Assembly(definition: definition).setup(logger: logger)
                let replay = DeadLetterReplay(
                    setup,
                    selection: DeadLetterSelection(numbers: all ? nil : Set(numbers), sink: sink))
                do {
                    try await replay.run(dry: dryRun)
                } catch {
                    // What was done until then is noted, and has to be known.
                    let results = await replay.results
                    if !results.isEmpty { print(json ? document(results) : text(results)) }
                    throw error
                }
                let results = await replay.results.sorted { $0.number < $1.number }
                print(json ? document(results) : text(results))
                if results.contains(where: \.isRefused) { throw ExitCode.failed }
            }
        }

        private static let order = ["delivered", "superseded", "dropped", "refused", "already"]

        private func counts(_ results: [ReplayResult]) -> [(name: String, count: Int)] {
            Replay.order.map { name in (name, results.count { $0.verdict.kind == name }) }
        }

        private func text(_ results: [ReplayResult]) -> String {
            if results.isEmpty { return "no dead letters" }
            let rows = results.map { result in
                [
                    "\(result.number)", result.sink, "\(result.offset)", result.operation, result.path,
                    result.verdict.text(isDryRun: dryRun), result.verdict.reason ?? "-",
                ]
            }
            let header = ["NUMBER", "SINK", "OFFSET", "OP", "PATH", "RESULT", "REASON"]
            let summary = counts(results).filter { $0.count > 0 }.map { name, count in
                switch name {
                case "refused": "\(count) refused again"
                case "already": "\(count) dealt with before"
                case "delivered": dryRun ? "\(count) to be tried" : "\(count) delivered"
                default: "\(count) \(name)"
                }
            }.joined(separator: ", ")
            return alignedTable([header] + rows) + "\n" + summary + (dryRun ? " (dry run)" : "")
        }

        private func document(_ results: [ReplayResult]) -> String {
            var json = JSONBytes()
            json.open()
            json.field("dry_run", dryRun)
            json.openArray("results")
            for result in results {
                json.open()
                json.field("number", result.number)
                json.field("sink", result.sink)
                json.field("offset", result.offset)
                json.field("op", result.operation)
                json.field("path", result.path)
                json.field("result", result.verdict.kind)
                if let reason = result.verdict.reason { json.field("reason", reason) }
                if case .before(let outcome) = result.verdict { json.field("state", outcome.text) }
                json.close()
            }
            json.closeArray()
            for (name, count) in counts(results) { json.field(name, Int64(count)) }
            json.close()
            return json.text
        }
    }
}

extension ReplayResult {
    fileprivate var isRefused: Bool { verdict.kind == "refused" }
}

extension ReplayResult.Verdict {
    /// For programs.
    fileprivate var kind: String {
        switch self {
        case .resolved(let outcome): outcome.text
        case .refused: "refused"
        case .before: "already"
        }
    }

    fileprivate func text(isDryRun: Bool) -> String {
        switch self {
        case .resolved(.delivered): isDryRun ? "to be tried" : "delivered"
        case .resolved(let outcome): outcome.text
        case .refused: "refused again"
        case .before(let outcome): "already \(outcome.text)"
        }
    }

    fileprivate var reason: String? {
        switch self {
        case .refused(let reason): reason
        case .resolved, .before: nil
        }
    }
}
