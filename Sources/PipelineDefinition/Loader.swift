import ChangeModel
import Foundation
import Mapping

extension PipelineDefinition {
    /// A definition is a page of text; whatever is longer than a MiB is something else.
    public static let maximumFileBytes = 1 << 20

    /// Reads and checks a definition file, without touching any server.
    ///
    /// - Parameter environment: what `${VAR}` is looked up in.
    /// - Throws: `DefinitionFileError` where there is no such file or it cannot be read. All that is wrong
    ///   inside it is among the diagnostics.
    public static func load(
        file: String, environment: [String: String]
    ) throws(DefinitionFileError) -> LoadResult {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: file, isDirectory: &isDirectory) else {
            throw DefinitionFileError(code: .notFound, file: file)
        }
        if isDirectory.boolValue { throw DefinitionFileError(code: .notAFile, file: file) }
        guard let handle = FileHandle(forReadingAtPath: file) else {
            throw DefinitionFileError(code: .notReadable, file: file)
        }
        defer { try? handle.close() }
        guard let data = try? handle.read(upToCount: maximumFileBytes + 1) ?? Data() else {
            throw DefinitionFileError(code: .notReadable, file: file)
        }
        let context = LoadContext(file: file, environment: environment)
        let start = Position(line: 1, column: 1)
        if data.count > maximumFileBytes {
            context.error(start, "the file is longer than \(maximumFileBytes) bytes")
        } else if let text = String(validating: data, as: UTF8.self) {
            return parse(text, file: file, environment: environment)
        } else {
            context.error(start, "the file is not valid UTF-8")
        }
        return LoadResult(diagnostics: context.diagnostics)
    }

    /// Checks the text of a definition; `file` is what the diagnostics call it.
    public static func parse(_ text: String, file: String, environment: [String: String]) -> LoadResult {
        let context = LoadContext(file: file, environment: environment)
        var result = LoadResult(diagnostics: [])
        if let root = YAMLReader.read(text, context: context) {
            DefinitionReader(context: context).read(root, into: &result)
        }
        result.diagnostics = context.diagnostics.enumerated().sorted { left, right in
            (left.element.line, left.element.column, left.offset)
                < (right.element.line, right.element.column, right.offset)
        }.map(\.element)
        return result
    }
}

/// Reads a whole definition, part by part, and then checks the parts against each other.
struct DefinitionReader {
    let context: LoadContext

    private static let keys = ["name", "source", "log", "transform", "sinks", "on_error", "tests"]

    func read(_ node: Node, into result: inout LoadResult) {
        guard let root = Section(node, "", keys: DefinitionReader.keys, context: context) else { return }
        let name = name(root)
        let source = SourceReader(context: context).read(root)
        let log = LogReader(context: context).read(root)
        let stages = TransformReader(context: context).read(root)
        let sinks = SinkReader(context: context).read(root)
        let onError =
            root.choice("on_error", default: PipelineDefinition.ErrorPolicy.deadLetter) ?? .deadLetter
        result.tests = TestReader(context: context, sinks: sinks).read(root)
        RoutingChecks(
            context: context, stages: stages, sinks: sinks, paths: source?.paths ?? [],
            excluded: source?.exclude ?? [],
            isObserved: source.map { $0.capture == .observer }
        ).run()
        guard let name, let source, !context.hasErrors else { return }
        let transform = TransformSpecification(stages: stages.compactMap(\.specification))
        var definitions = sinks.compactMap(\.definition)
        for index in definitions.indices where definitions[index].specification.envelope != nil {
            definitions[index].specification.envelope = name
        }
        result.definition = PipelineDefinition(
            name: name, file: context.file, source: source, log: log, transform: transform,
            sinks: definitions, onError: onError,
            transformFingerprint: Fingerprint.of(transform, definitions.map(\.specification)))
    }

    private func name(_ root: Section) -> String? {
        guard let node = root.required("name", example: "my-pipeline"),
            let text = context.text(node, "name")
        else { return nil }
        guard Name.isPipelineName(text.value) else {
            context.error(text.position, "'\(text.value)' is no pipeline name", fix: Name.pipelineRule)
            return nil
        }
        return text.value
    }
}
