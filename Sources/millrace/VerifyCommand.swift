import ArgumentParser
import Engine
import Glibc
import Logging
import Mapping
import PipelineDefinition
import Synchronization
import SystemPackage
import ZooKeeperSource

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Compare ZooKeeper, through the transforms, with what Redis holds.",
        discussion: """
            Sinks that hold state are compared: what is missing, what is there besides (as far as a key tells the path \
            that it comes from, or the sink remembers it), and what is different. Stream sinks are named as skipped. The \
            pipeline may run meanwhile: what differs is looked at again when the sinks have caught up.

            --repair needs the pipeline stopped. It takes the log's lock and the sinks as a run does, writes what is missing \
            or different, and deletes what is there besides and nothing else; look at the list without --repair first.

            Exit code 1: something differs (with --repair: still differs); 3: a server is missing, or the pipeline runs.
            """)

    @Argument(help: "A pipeline definition file.", completion: .file(extensions: ["yaml"]))
    var file: String

    @Option(help: "Only these sinks.")
    var sink: [String] = []

    @Flag(help: "Write what differs anew, and delete what is there besides.")
    var repair = false

    @Option(help: "How many differences to print; all are counted.")
    var limit = 1000

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        guard limit >= 0 else { throw ValidationError("--limit is 0 or more.") }
    }

    func run() async throws {
        try await reportingFailures {
            guard let definition = try loadDefinitions([file]).first else { return }
            for name in sink where !definition.sinks.contains(where: { $0.name == name }) {
                throw ValidationError("there is no sink '\(name)' in \(file)")
            }
            LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
            var logger = Logger(label: "millrace")
            logger.logLevel = .warning
            let chosen = definition.sinks.filter { sink.isEmpty || sink.contains($0.name) }
            let report = try await compare(definition, Set(chosen.map(\.name)), logger)
            let text = VerifyText(report, definition, chosen, isRepair: repair)
            print(json ? text.document : text.lines)
            if report.sinks.contains(where: { $0.remaining > 0 }) { throw ExitCode.failed }
        }
    }

    private func compare(
        _ definition: PipelineDefinition, _ chosen: Set<String>, _ logger: Logger
    ) async throws -> VerifyReport {
        let assembly = Assembly(definition: definition)
        let setup = try assembly.setup(logger: logger)
        var targets: [VerifyTarget] = []
        var readers: [any SinkReader] = []
        for sink in definition.sinks {
            guard let reader = try assembly.sinkReader(sink, logger: logger) else { continue }
            readers.append(reader)
            targets.append(
                VerifyTarget(
                    sink.specification, reader: reader,
                    mayLackNodes: definition.source.snapshot == .never || sink.onMissingCheckpoint == .latest,
                    isCompared: chosen.contains(sink.name)))
        }
        var options = VerifyOptions(scope: definition.source.scope)
        options.limit = limit
        options.repairs = repair
        let progress = ProgressLine()
        options.onProgress = { count in progress.show("\(count) nodes compared") }
        defer { progress.clear() }
        do {
            let report = try await ZooKeeperTree.with(try assembly.sourceConfiguration(), logger: logger) {
                [targets, options] tree in
                try await Verification(
                    setup, transform: definition.transform, targets: targets, tree: tree, options: options
                ).run()
            }
            for reader in readers { await reader.close() }
            return report
        } catch {
            for reader in readers { await reader.close() }
            throw error
        }
    }
}
