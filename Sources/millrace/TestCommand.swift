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
                guard let found = try TestCommand.results(file) else {
                    isWrong = true
                    continue
                }
                if found.isEmpty { complain("\(file): no tests") }
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

    /// `nil`, and reported, where the definition is wrong.
    private static func results(_ file: String) throws -> [TestResult]? {
        var results: [TestResult] = []
        guard let definition = try load(file, [:]) ?? load(file, environment()) else {
            try PipelineDefinition.load(file: file, environment: environment()).diagnostics.forEach {
                complain("\($0)")
            }
            return nil
        }
        for test in definition.tests {
            let result = try PipelineDefinition.load(file: file, environment: test.environment)
            let differences =
                result.definition.map(test.differences)
                ?? ["with the test's environment the definition is wrong:"]
                + result.errors.map { "  \($0)" }
            results.append(
                TestResult(file: file, line: test.line, name: test.name, differences: differences))
        }
        return results
    }

    private static func load(_ file: String, _ environment: [String: String]) throws -> PipelineDefinition? {
        try PipelineDefinition.load(file: file, environment: environment).definition
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
