import ArgumentParser
import ChangeModel
import Engine
import Mapping
import PipelineDefinition
import SystemPackage

extension DeadLettersCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The dead letters that nobody has dealt with yet.",
            discussion: "Reads files only; runs beside the pipeline or without it.")

        @Argument(help: "A pipeline definition file.", completion: .file(extensions: ["yaml"]))
        var file: String

        @Option(help: "Only those of this sink.")
        var sink: String?

        @Option(
            help: "Only those that this stage refused: transform or delivery.", transform: RefusingStage.parse
        )
        var stage: RefusingStage?

        @Flag(help: "Those that a replay has dealt with too.")
        var allStates = false

        @Flag(help: "Only those that a replay has dealt with.")
        var resolved = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            if allStates, resolved {
                throw ValidationError("--all-states and --resolved exclude each other.")
            }
        }

        func run() async throws {
            try await reportingFailures {
                for definition in try loadDefinitions([file]) {
                    let reader = try DeadLetterReader(
                        logDirectory: Assembly(definition: definition).directory)
                    if json { try printDocument(reader) } else { try printTable(reader) }
                }
            }
        }

        private func forEach(
            _ reader: DeadLetterReader?, _ body: (DeadLetter, DeadLetterResolution?) -> Void
        ) throws {
            guard var reader else { return }
            let selection = DeadLetterSelection(
                sink: sink, stage: stage, isOpen: allStates ? nil : !resolved)
            while let letters = try reader.next() {
                for letter in letters {
                    let resolution = reader.resolutions[letter.number]
                    if selection.contains(letter, resolution) { body(letter, resolution) }
                }
            }
        }

        private func printTable(_ reader: DeadLetterReader?) throws {
            let showsState = allStates || resolved
            var table = GrowingTable(DeadLetter.columns + (showsState ? ["STATE"] : []))
            var count = 0
            try forEach(reader) { letter, resolution in
                table.add(letter.row + (showsState ? [resolution?.outcome.text ?? "open"] : []))
                count += 1
            }
            table.flush()
            print(count == 0 ? "no dead letters" : counted(count))
        }

        private func printDocument(_ reader: DeadLetterReader?) throws {
            var separator = "["
            try forEach(reader) { letter, resolution in
                var object = JSONBytes()
                object.open()
                letter.writeSummary(resolution, to: &object)
                object.close()
                print(separator + object.text, terminator: "")
                separator = ","
            }
            print(separator == "[" ? "[]" : "]")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One dead letter in full, with its change as Debezium's envelope.",
            discussion: """
                A number that is not there (purged, or never written) ends with exit code 3: the command is used \
                rightly, what it needs is missing.
                """)

        @Argument(help: "A pipeline definition file.", completion: .file(extensions: ["yaml"]))
        var file: String

        @Argument(help: "The dead letter's number, as list shows it.")
        var number: Int64

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await reportingFailures {
                for definition in try loadDefinitions([file]) {
                    let (letter, resolution) = try find(Assembly(definition: definition).directory)
                    let rule = Show.rule(for: letter, in: definition)
                    let envelope = ChangeEnvelope.json(
                        of: letter.change, offset: letter.offset, source: definition.name)
                    print(
                        json
                            ? Show.document(letter, resolution, rule, envelope)
                            : Show.text(letter, resolution, rule, envelope))
                }
            }
        }

        private func find(_ directory: FilePath) throws -> (DeadLetter, DeadLetterResolution?) {
            if var reader = try DeadLetterReader(logDirectory: directory) {
                while let letters = try reader.next() {
                    if let letter = letters.first(where: { $0.number == number }) {
                        return (letter, reader.resolutions[number])
                    }
                }
            }
            throw PipelineError.unavailable(
                "there is no dead letter \(number): it was purged, or never written")
        }

        /// The rule that a replay would apply: number from 1, line of the definition.
        private static func rule(
            for letter: DeadLetter, in definition: PipelineDefinition
        ) -> (number: Int, line: Int)? {
            guard let rules = definition.transform.rules,
                let index = rules.firstIndex(where: { $0.match.matches(letter.change.path) })
            else { return nil }
            return (index + 1, rules[index].line)
        }

        private static func text(
            _ letter: DeadLetter, _ resolution: DeadLetterResolution?, _ rule: (number: Int, line: Int)?,
            _ envelope: [UInt8]
        ) -> String {
            let state = resolution.map { "\($0.outcome.text) \(readable(time: $0.time))" } ?? "open"
            return """
                number  \(letter.number)
                time    \(readable(time: letter.refused))
                state   \(state)
                sink    \(letter.sink)
                stage   \(letter.stage.text)
                offset  \(letter.offset)
                op      \(letter.change.operation.letter)
                path    \(letter.change.path)
                rule    \(rule.map { "\($0.number) (line \($0.line))" } ?? "none") of the definition as it is now
                reason  \(letter.reason)
                change  \(String(decoding: envelope, as: UTF8.self))
                """
        }

        private static func document(
            _ letter: DeadLetter, _ resolution: DeadLetterResolution?, _ rule: (number: Int, line: Int)?,
            _ envelope: [UInt8]
        ) -> String {
            var json = JSONBytes()
            json.open()
            letter.writeSummary(resolution, to: &json)
            if let rule {
                json.open("rule")
                json.field("number", Int64(rule.number))
                json.field("line", Int64(rule.line))
                json.close()
            } else {
                json.null("rule")
            }
            json.field("change", json: envelope)
            json.close()
            return json.text
        }
    }
}
