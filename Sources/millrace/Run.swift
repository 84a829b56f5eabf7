import AdminServer
import ArgumentParser
import Engine
import Glibc
import Logging
import PipelineDefinition
import UnixSignals

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run pipelines until SIGTERM or SIGINT.",
        discussion: """
            The first signal stops the capture, delivers what the log holds, writes the checkpoints and ends with 0. \
            A second one ends at once; nothing is lost by it.
            """)

    @Argument(help: "Pipeline definition files.", completion: .file(extensions: ["yaml"]))
    var files: [String]

    @Flag(help: "End once the snapshot of this start is delivered to every sink.")
    var untilCaughtUp = false

    @Flag(help: "Take sinks over whose checkpoint belongs to another log.")
    var takeOver = false

    @Flag(help: "Wait for ZooKeeper for ever instead of 10 seconds.")
    var wait = false

    @Flag(
        help: "The ensemble is another one, or was restored from a backup: take any difference as a change.")
    var newEnsemble = false

    @Flag(help: "Delete what has left the scope by an edit of paths or exclude, instead of forgetting it.")
    var scopeDeletes = false

    @Option(
        help: ArgumentHelp(
            "Tell over HTTP how it goes: /metrics, /live, /ready, /status and a page. Without a host, to this machine alone.",
            valueName: "host:port"),
        transform: { text in
            guard let address = HTTPAddress(text) else {
                throw ValidationError("'\(text)' is no address; --http 8080, --http host:8080")
            }
            return address
        })
    var http: HTTPAddress?

    @Flag(name: .customLong("unsafe-no-resync"), help: .private)
    var skipsResync = false

    @Flag(name: .customLong("unsafe-no-fence"), help: .private)
    var skipsFence = false

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: LogLevel = .info

    func run() async throws {
        try await reportingFailures {
            let definitions = try loadDefinitions(files)
            LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
            var logger = Logger(label: "millrace")
            logger.logLevel = logLevel.level
            let options = RunOptions(
                stopsWhenCaughtUp: untilCaughtUp, takesOver: takeOver, waitsForServers: wait,
                isNewEnsemble: newEnsemble, deletesWhatLeftTheScope: scopeDeletes, resyncs: !skipsResync,
                isFenced: !skipsFence)
            let pipelines = try definitions.map { definition in
                Pipeline(try Assembly(definition: definition, options: options).setup(logger: logger))
            }
            guard let http else { return try await run(pipelines, logger) }
            let server = AdminServer(
                version: Millrace.version, pipelines: pipelines.map(\.progress), logger: logger)
            try await server.serve(http) { [logger] in try await run(pipelines, logger) }
        }
    }

    private func run(_ pipelines: [Pipeline], _ logger: Logger) async throws {
        let shutdown = Watermark(0)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await signal in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
                    if shutdown.value > 0 { Glibc.exit(ExitCode.failed.rawValue) }
                    logger.info("stopping", metadata: ["signal": "\(signal)"])
                    shutdown.set(1)
                }
                return false
            }
            for pipeline in pipelines {
                group.addTask {
                    try await pipeline.run(shutdown: shutdown)
                    return true
                }
            }
            var running = pipelines.count
            while running > 0, let isPipeline = try await group.next() {
                if isPipeline { running -= 1 }
            }
            group.cancelAll()
        }
    }
}

enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error, critical

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}
