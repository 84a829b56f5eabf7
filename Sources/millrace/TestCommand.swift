import ArgumentParser
import Foundation
import PipelineDefinition

struct TestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Run the tests in pipeline definitions, without any server.",
        discussion: """
            Each test maps its changes and compares what would be written. A definition is read with the variables \
            that the test itself names under environment:, and no others.
            """)

    @Argument(help: "Pipeline definition files.", completion: .file(extensions: ["yaml"]))
    var files: [String]

    @Option(help: "Also write the results to this file, in JUnit's XML.")
    var junit: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await reportingFailures {
            var results: [TestResult] = []
            var isWrong = false
            for file in files {
                let found = try TestCommand.run(file, isWrong: &isWrong)
                results += found
                if !json { found.forEach { print($0.text) } }
            }
            let failed = results.count { !$0.differences.isEmpty }
            if let junit { try TestCommand.write(TestReport.junit(results), to: junit) }
            print(json ? TestReport.json(results) : "\(results.count - failed) passed, \(failed) failed")
            if isWrong { throw ExitCode.definition }
            if failed > 0 { throw ExitCode.failed }
        }
    }

    /// Errors of the definition are reported, each once.
    private static func run(_ file: String, isWrong: inout Bool) throws -> [TestResult] {
        let tests = try PipelineDefinition.load(file: file, environment: [:]).tests
        var errors: [Diagnostic] = []
        if tests.isEmpty {
            errors = try PipelineDefinition.load(file: file, environment: environment()).errors
            if errors.isEmpty { complain("\(file): no tests") }
        }
        let results = try tests.map { test in
            let result = try PipelineDefinition.load(file: file, environment: test.environment)
            errors += result.errors.filter { !errors.contains($0) }
            let differences =
                result.definition.map(test.differences)
                ?? ["the definition is wrong when it is read with the test's environment"]
            return TestResult(file: file, line: test.line, name: test.name, differences: differences)
        }
        for error in errors { complain("\(error)") }
        isWrong = isWrong || !errors.isEmpty
        return results
    }

    private static func write(_ text: String, to file: String) throws {
        do {
            try Data(text.utf8).write(to: URL(filePath: file))
        } catch {
            complain("millrace: \(file): \(error.localizedDescription)")
            throw ExitCode.unavailable
        }
    }
}
