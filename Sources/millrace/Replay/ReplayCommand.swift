import ArgumentParser
import ChangeModel
import Engine
import Logging
import Mapping
import PipelineDefinition
import RedisClient
import SegmentLog
import SystemPackage
import UnixSignals

struct ReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Deliver a part of the log again, through the transforms as they are now.",
        discussion: """
            Into another Redis or under other keys (--into, --key-prefix) the pipeline may run meanwhile; a replay that \
            was broken off goes on when the same command is given again. Into the sinks' own keys only with --state, \
            which needs the pipeline stopped. The pipeline's own checkpoints stay as they are. Entries of a stream keep \
            the IDs that they had; where a stream has later ones already they get IDs behind those. Exit code 1: \
            something was refused.
            """)

    @Argument(help: "A pipeline definition.", completion: .file(extensions: ["yaml"]))
    var file: String

    @Option(
        parsing: .unconditional,
        help: "First change: \(LogPosition.forms).")
    var from: LogPosition?

    @Option(parsing: .unconditional, help: "Stop before: the same forms; the log's end without it.")
    var to: LogPosition?

    @Option(help: "Only this sink; may be given several times.")
    var sink: [String] = []

    @Option(help: "Another Redis, as a URL of the same forms as in a definition.")
    var into: String?

    @Option(help: "Put before every key.")
    var keyPrefix = ""

    @OptionGroup var changes: ChangeSelection

    @Option(help: "Changes a second at most.")
    var rate: Int?

    @Flag(
        help:
            "Only the newest change of each path: rebuilds an empty Redis. From earliest unless --from says else."
    )
    var state = false

    @Flag(help: "Print what would be written; nothing is locked, written or connected to.")
    var dryRun = false

    @Flag(help: "Print one JSON document; with --dry-run one line for each change.")
    var json = false

    func validate() throws {
        if from == nil, !state { throw ValidationError("Say where to begin: --from earliest, for example.") }
        if let rate, rate < 1 { throw ValidationError("--rate is a number of changes a second, 1 or more.") }
    }

    func run() async throws {
        try await reportingFailures {
            guard let definition = try loadDefinitions([file]).first else { throw ExitCode.definition }
            let plan = try ReplayTargets(
                definition, sinks: sink, into: into, keyPrefix: keyPrefix, isState: state,
                isOpenEnded: to == nil)
            for note in plan.notes { complain(note) }
            let directory = Assembly(definition: definition).directory
            let selection = try selection(directory)
            if dryRun { return try await preview(definition, plan, selection) }
            try await replay(definition, plan, selection)
        }
    }

    // MARK: What was asked for

    private func selection(_ directory: FilePath) throws -> ReplaySelection {
        let start = try LogDirectory.startOffset(directory)
        let end = try LogDirectory.endOffset(directory)
        let first = try (from ?? .earliest).offset(in: directory)
        let last = try to?.offset(in: directory) ?? end
        guard first >= start else {
            throw PipelineError.failed(
                "the log begins at offset \(start), not at \(first); --from earliest takes what is left")
        }
        guard last <= end else {
            throw PipelineError.failed("the log ends at offset \(end), before \(last); leave --to out")
        }
        guard first <= last else {
            throw PipelineError.failed("--from (offset \(first)) lies behind --to (offset \(last))")
        }
        return ReplaySelection(
            first..<last, filter: changes.filter,
            keyPrefix: Bytes(keyPrefix.utf8))
    }

    /// The same for the same request, so that it finds its checkpoints again.
    private var suffix: String {
        let parts = [
            "\(from ?? .earliest)", to.map { "\($0)" } ?? "", into ?? "", keyPrefix,
            changes.match.map(\.text).joined(separator: "\n"),
            (changes.op ?? []).map(\.letter).sorted().joined(), "\(state)",
        ]
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        // FNV-1a: a name, no secret.
        for byte in parts.joined(separator: "\u{0}").utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return "~replay-" + String(hash, radix: 16)
    }

    // MARK: Doing it

    private func request(_ plan: ReplayTargets, _ selection: ReplaySelection) -> LogReplay.Request {
        LogReplay.Request(
            selection, sinks: plan.sinks, folds: state, rate: rate, restores: plan.restores)
    }

    private func logger() -> Logger {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "millrace")
        logger.logLevel = .warning
        return logger
    }

    private func replay(
        _ definition: PipelineDefinition, _ plan: ReplayTargets, _ selection: ReplaySelection
    ) async throws {
        var options = RunOptions()
        options.startsAtEarliest = true
        if !plan.restores { options.replay = ReplayTarget(redisURL: into, suffix: suffix) }
        try await checkTarget(definition, plan)
        let setup = try Assembly(definition: definition, options: options).setup(logger: logger())
        let replay = LogReplay(setup, request(plan, selection))
        let begin = ContinuousClock.now
        let results = try await withThrowingTaskGroup(of: [LogReplay.Result]?.self) { group in
            group.addTask { try await replay.run() }
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) { break }
                try Task.checkCancellation()
                throw PipelineError.failed(
                    plan.restores
                        ? "interrupted; give the same command again before the pipeline runs"
                        : "interrupted; the same command goes on from here")
            }
            group.addTask {
                let bar = ReplayProgress(selection.offsets)
                while !Task.isCancelled { try await bar.show(replay.progress) }
                return nil
            }
            defer { group.cancelAll() }
            while let ended = try await group.next() { if let ended { return ended } }
            return []
        }
        let report = ReplayReport(definition.name, selection.offsets, results, .now - begin)
        // Behind the changes that a printing sink has put there it would be no line of theirs.
        if plan.prints { complain(report.text) } else { print(json ? report.document : report.text) }
        for line in report.reasons { complain(line) }
        for line in try await plan.advice(definition, end: selection.offsets.upperBound) { complain(line) }
        if results.contains(where: { $0.refused > 0 }) { throw ExitCode.failed }
    }

    /// Another name or address may lead to the Redis that the pipeline writes: its checkpoint tells.
    private func checkTarget(_ definition: PipelineDefinition, _ plan: ReplayTargets) async throws {
        guard let into, keyPrefix.isEmpty else { return }
        var options = RunOptions()
        options.replay = ReplayTarget(redisURL: into, suffix: "")
        let assembly = Assembly(definition: definition, options: options)
        let logID = try LogDirectory.logID(assembly.directory)
        for (sink, store) in try assembly.checkpointStores() where plan.sinks.contains(sink) {
            guard try await store.read(timeout: .seconds(10))?.logID == logID else { continue }
            throw ValidationError(
                "\(store.place): the pipeline itself has written there; add --key-prefix for fresh keys, or leave --into out "
                    + "and give --state to restore them")
        }
    }

    private func preview(
        _ definition: PipelineDefinition, _ plan: ReplayTargets, _ selection: ReplaySelection
    ) async throws {
        let mapper = Mapper(
            transform: definition.transform, sinks: definition.sinks.map(\.specification))
        let preview = ReplayPreview(
            directory: Assembly(definition: definition).directory, mapper: mapper,
            sinks: definition.sinks.enumerated().filter { plan.sinks.contains($0.element.name) }.map {
                ($0.offset, $0.element.name)
            }, selection: selection, folds: state)
        var count = 0
        var refused = 0
        while let items = try await preview.next() {
            for item in items {
                if item.refusal == nil { count += 1 } else { refused += 1 }
                print(json ? ReplayReport.document(of: item) : ReplayReport.text(of: item))
            }
        }
        complain("\(count) changes would be written, \(refused) refused (dry run)")
    }
}
