import ArgumentParser

struct Offsets: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how far each sink has come, and move it.", subcommands: [Show.self, Reset.self])
}
