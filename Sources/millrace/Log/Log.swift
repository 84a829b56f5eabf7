import ArgumentParser

struct Log: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look into a pipeline's log, and mend it.",
        subcommands: [Stat.self, Dump.self, Verify.self, Repair.self, Export.self, Import.self])
}
