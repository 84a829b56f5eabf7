import ChangeModel
import Mapping
import PipelineDefinition
import SystemPackage

/// The file of a definition: it ends in a definition or in errors, each with its place.
func fuzzYAML(_ bytes: [UInt8], _ directory: FilePath) throws(FuzzFailure) {
    let file = directory.appending("fuzz.yaml")
    try write(bytes, to: file)
    guard
        let result = try? PipelineDefinition.load(
            file: file.string, environment: ["REDIS": "redis://h:1/0", "E": ""])
    else { throw FuzzFailure(description: "a file that is there can be read") }
    try FuzzFailure.unless(
        (result.definition == nil) == !result.errors.isEmpty, "there is a definition or an error: \(result)")
    for diagnostic in result.diagnostics {
        try FuzzFailure.unless(diagnostic.line >= 1 && diagnostic.column >= 1, "\(diagnostic) has a place")
    }
    if let definition = result.definition { map(definition) }
}

/// What a definition is read for.
private func map(_ definition: PipelineDefinition) {
    let mapper = Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification))
    for path in ["/", "/services/orders/i-1", "/a/b"] {
        let change = Change(
            operation: .update, path: path, data: Array(#"{"address":"h","port":1}"#.utf8), zxid: Zxid(1),
            timestamp: 0)
        for sink in definition.sinks.indices { _ = mapper.map(change, offset: 0, sink: sink) }
    }
}
