import ArgumentParser

/// The command line. Exit codes: 0 done; 1 failed while running, a difference or damage; 2 the definition is
/// wrong; 3 a server, a file or a permission is missing; 64 wrong usage.
@main
struct Millrace: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "millrace",
        abstract: "Carries every change of a ZooKeeper tree into Redis, in order, none lost.",
        version: version,
        subcommands: [
            Run.self, Validate.self, TestCommand.self, MapCommand.self, ReplayCommand.self, Offsets.self,
            Log.self, DeadLettersCommand.self, Create.self,
        ])
}
