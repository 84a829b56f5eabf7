import ArgumentParser
import Glibc
import PipelineDefinition

/// Reads definition files for commands that need them right; ends with exit code 2 where one is not.
func loadDefinitions(_ files: [String]) throws -> [PipelineDefinition] {
    var definitions: [PipelineDefinition] = []
    var isWrong = false
    for file in files {
        let result = try PipelineDefinition.load(file: file, environment: environment())
        for diagnostic in result.diagnostics { complain("\(diagnostic)") }
        if let definition = result.definition { definitions.append(definition) } else { isWrong = true }
    }
    for (index, definition) in definitions.enumerated() {
        if let other = definitions[..<index].first(where: { $0.name == definition.name }) {
            complain(
                "\(definition.file): the pipeline is named \(definition.name), as in \(other.file); "
                    + "a name stands for one log and one set of checkpoints")
            isWrong = true
        }
    }
    if isWrong { throw ExitCode.definition }
    return definitions
}

/// The variables of this process, for `${VAR}` in definitions.
func environment() -> [String: String] {
    var variables: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
        let text = String(cString: entry)
        if let equals = text.firstIndex(of: "=") {
            variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
        }
        next = next.advanced(by: 1)
    }
    return variables
}
