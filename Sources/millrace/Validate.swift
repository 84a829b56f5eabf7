import ArgumentParser
import ChangeModel
import PipelineDefinition

struct Validate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check pipeline definitions; every problem with file, line and column.")

    @Argument(help: "Pipeline definition files.", completion: .file(extensions: ["yaml"]))
    var files: [String]

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await reportingFailures {
            var diagnostics: [Diagnostic] = []
            for file in files {
                let result = try PipelineDefinition.load(file: file, environment: environment())
                diagnostics += result.diagnostics
                if !json {
                    for diagnostic in result.diagnostics { print(diagnostic) }
                    if result.errors.isEmpty { print("\(file): ok") }
                }
            }
            if json { print(Validate.document(diagnostics)) }
            if diagnostics.contains(where: { $0.severity == .error }) { throw ExitCode.definition }
        }
    }

    private static func document(_ diagnostics: [Diagnostic]) -> String {
        var json = JSONBytes()
        json.open()
        json.openArray("diagnostics")
        for diagnostic in diagnostics {
            json.open()
            json.field("file", diagnostic.file)
            json.field("line", Int64(diagnostic.line))
            json.field("column", Int64(diagnostic.column))
            json.field("severity", diagnostic.severity.rawValue)
            json.field("message", diagnostic.message)
            if let fix = diagnostic.fix { json.field("fix", fix) }
            json.close()
        }
        json.closeArray()
        json.close()
        return json.text
    }
}
