public import ChangeModel
import Mapping

/// One of a definition's `tests:`: changes, and what is to become of them.
public struct PipelineTest: Sendable {
    public var name: String
    /// Where it stands in the definition.
    public var line: Int
    /// All the variables that the definition is read with for this test.
    public var environment: [String: String]
    public var inputs: [Change]
    /// By sink, in the order of the file; a sink that is not named is not compared.
    var output: [(sink: String, writes: [ExpectedWrite])]

    /// Maps the inputs, at the offsets 0, 1, …, and compares what comes of them.
    ///
    /// - Parameter definition: read with the test's `environment`.
    /// - Returns: what differs, in lines for people; none where the test has passed.
    public func differences(_ definition: PipelineDefinition) -> [String] {
        var differences: [String] = []
        for (index, change) in inputs.enumerated() where !definition.source.scope.contains(change.path) {
            differences.append("input \(index + 1): \(change.path) is not among the paths that are captured")
        }
        let mapper = Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification))
        for (sink, expected) in output {
            guard let number = definition.sinks.firstIndex(where: { $0.name == sink }) else { continue }
            let actual = inputs.enumerated().flatMap { offset, change in
                WriteForm.list(mapper.map(change, offset: Int64(offset), sink: number))
            }
            let found = ExpectedWrite.differences(expected, actual)
            if !found.isEmpty { differences.append("\(sink):") }
            differences += found.map { "  " + $0 }
        }
        return differences
    }
}
