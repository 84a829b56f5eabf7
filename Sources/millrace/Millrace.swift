import ArgumentParser
import Glibc
import JQ

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
            Run.self, Validate.self, TestCommand.self, MapCommand.self, VerifyCommand.self,
            ReplayCommand.self, Offsets.self, Log.self, DeadLettersCommand.self, Create.self,
        ])

    static func main() async {
        // Whoever has started us may have it ignored: then nobody learns how a child ended, and its number may be another's.
        signal(SIGCHLD, SIG_DFL)
        // No subcommand, since nobody is to call it: what this program starts itself as where a definition has jq.
        if CommandLine.arguments.dropFirst() == [JQWorker.argument] { Glibc.exit(JQWorker.serve()) }
        JQWorker.executable = "/proc/self/exe"
        await main(nil)
    }
}
