import PipelineDefinition
import Testing

/// A definition that is right, for tests to spoil: `source`, `rest` replace or add lines.
func definition(
    name: String = "test", source: String = "", log: String = "", transform: String = "",
    sinks: String = "  out: {redis: \"redis://h\", write: stream, key: s}", rest: String = ""
) -> String {
    """
    name: \(name)
    source:
      zookeeper:
        connect: "127.0.0.1:2181"
        paths: [/]
    \(source.isEmpty ? "" : "    " + source)
    \(log.isEmpty ? "" : "log: {" + log + "}")
    \(transform)
    sinks:
    \(sinks)
    \(rest)
    """
}

func parse(_ text: String, environment: [String: String] = [:]) -> LoadResult {
    PipelineDefinition.parse(text, file: "f.yaml", environment: environment)
}

/// The definition that a text gives; every diagnostic is a failure of the test.
func valid(
    _ text: String, environment: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
) throws -> PipelineDefinition {
    let result = parse(text, environment: environment)
    #expect(result.diagnostics.map(\.description) == [], sourceLocation: sourceLocation)
    return try #require(result.definition, sourceLocation: sourceLocation)
}

/// `line:column severity: message (fix)` of all that is found.
func problems(_ text: String, environment: [String: String] = [:]) -> [String] {
    parse(text, environment: environment).diagnostics.map { diagnostic in
        "\(diagnostic.line):\(diagnostic.column) \(diagnostic.severity.rawValue): \(diagnostic.message)"
            + (diagnostic.fix.map { " (\($0))" } ?? "")
    }
}

/// The messages alone, without places.
func messages(_ text: String, environment: [String: String] = [:]) -> [String] {
    parse(text, environment: environment).diagnostics.map(\.message)
}
