import ArgumentParser
import Engine
import Foundation
import PipelineDefinition
import SystemPackage

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

/// The files themselves; of a directory the definitions that lie directly in it.
///
/// Throws `PipelineError.unavailable` where a directory holds none or cannot be read.
func definitionFiles(_ paths: [String]) throws -> [String] {
    var files: [String] = []
    for path in paths {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue
        else {
            files.append(path)
            continue
        }
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
            throw PipelineError.unavailable("\(path): the directory cannot be read")
        }
        let found = names.filter { $0.hasSuffix(".yaml") || $0.hasSuffix(".yml") }.sorted()
        if found.isEmpty { throw PipelineError.unavailable("\(path): no definition (*.yaml) lies in it") }
        files += found.map { FilePath(path).appending($0).string }
    }
    return files
}

extension OffsetReport {
    /// How far the sinks of a definition have come.
    static func read(_ definition: PipelineDefinition) async throws -> OffsetReport {
        let assembly = Assembly(definition: definition)
        return try await read(
            pipeline: definition.name, directory: assembly.directory, stores: try assembly.checkpointStores())
    }
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
