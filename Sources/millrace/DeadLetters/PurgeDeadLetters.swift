import ArgumentParser
import ChangeModel
import Engine
import PipelineDefinition

extension DeadLettersCommand {
    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove dead letters for good; a dry run without --execute.",
            discussion: """
                The pipeline has to be stopped. Open letters go as well as those that were dealt with, unless --resolved \
                is given; the numbers of the others stay. A number that is not there ends with exit code 3.
                """)

        @Argument(help: "A pipeline definition file.", completion: .file(extensions: ["yaml"]))
        var file: String

        @Argument(help: "Numbers of dead letters, as list shows them.")
        var numbers: [Int64] = []

        @Flag(help: "All of them.")
        var all = false

        @Option(
            parsing: .unconditional, help: "Those that were refused before: an RFC 3339 time, or -7d.")
        var before: LogPosition?

        @Flag(help: "Of these only those that a replay has dealt with.")
        var resolved = false

        @Flag(help: "Remove them; without it they are only shown.")
        var execute = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            guard [!numbers.isEmpty, all, before != nil].count(where: { $0 }) == 1 else {
                throw ValidationError("Name dead letters by number, or give --all or --before.")
            }
            if before != nil, time == nil { throw ValidationError("--before is a time, or -7d.") }
        }

        private var time: Int64? {
            switch before {
            case .time(let time): time
            case .ago(let ago): wallClockMilliseconds() - ago
            default: nil
            }
        }

        func run() async throws {
            try await reportingFailures {
                guard let definition = try loadDefinitions([file]).first else { return }
                let purge = DeadLetterPurge(
                    logDirectory: Assembly(definition: definition).directory,
                    selection: DeadLetterSelection(
                        numbers: numbers.isEmpty ? nil : Set(numbers), before: time,
                        isOpen: resolved ? false : nil))
                if json { try printDocument(purge) } else { try printTable(purge) }
            }
        }

        private func printTable(_ purge: DeadLetterPurge) throws {
            var table = GrowingTable(DeadLetter.columns)
            let count = try purge.run(executing: execute) { table.add($0.row) }
            table.flush()
            if count == 0 {
                print("no dead letters")
            } else {
                print(
                    execute ? "\(counted(count)) removed" : "\(counted(count)) to remove: --execute does it")
            }
        }

        private func printDocument(_ purge: DeadLetterPurge) throws {
            var document = JSONBytes()
            document.open()
            document.field("executed", execute)
            document.openArray("dead_letters")
            _ = try purge.run(executing: execute) { letter in
                document.open()
                document.field("number", letter.number)
                document.field("time_ms", letter.refused)
                document.field("sink", letter.sink)
                document.field("offset", letter.offset)
                document.field("path", letter.change.path)
                document.close()
            }
            document.closeArray()
            document.close()
            print(document.text)
        }
    }
}
