import Foundation
import PipelineDefinition
import Testing

/// `Documentation/pipeline.schema.json`, by which editors complete definitions, has the keys that are read.
@Suite struct SchemaTests {
    private static var schema: [String: Any] {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Documentation/pipeline.schema.json")
        let data = (try? Data(contentsOf: file)) ?? Data()
        return (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
    }

    /// Where in the schema, and a definition with an unknown key in that place.
    private static let places: [(String, String)] = [
        ("", "{UNKNOWN: 1}"),
        ("properties/source", "{source: {UNKNOWN: 1}}"),
        ("$defs/zookeeper", "{source: {zookeeper: {UNKNOWN: 1}}}"),
        ("$defs/zookeeper/properties/auth", "{source: {zookeeper: {auth: {UNKNOWN: 1}}}}"),
        ("$defs/log", "{log: {UNKNOWN: 1}}"),
        ("$defs/log/properties/retain", "{log: {retain: {UNKNOWN: 1}}}"),
        ("$defs/log/properties/fsync/oneOf/1", "{log: {fsync: {UNKNOWN: 1}}}"),
        ("$defs/rule", "{transform: [{rules: [{UNKNOWN: 1}]}]}"),
        ("$defs/rule/properties/hash/oneOf/1", "{transform: [{rules: [{match: /a, hash: {UNKNOWN: 1}}]}]}"),
        ("$defs/field/oneOf/1", "{transform: [{rules: [{match: /a, set: {a: {UNKNOWN: 1}}}]}]}"),
        ("$defs/filter/oneOf/2", "{transform: [{drop: {UNKNOWN: 1}}]}"),
        ("$defs/sink", "{sinks: {a: {UNKNOWN: 1}}}"),
        ("$defs/sink/properties/wait", "{sinks: {a: {write: string, wait: {UNKNOWN: 1}}}}"),
        ("$defs/test", "{tests: [{UNKNOWN: 1}]}"),
        ("$defs/input", "{tests: [{name: a, input: [{UNKNOWN: 1}]}]}"),
        ("$defs/write", "{sinks: {a: {}}, tests: [{name: a, output: {a: [{UNKNOWN: 1}]}}]}"),
    ]

    @Test(arguments: places) func keysAreTheOnesThatAreRead(place: String, text: String) throws {
        let known = try knownKeys(text)
        let properties = try #require(SchemaTests.node(place)["properties"] as? [String: Any])
        #expect(properties.keys.sorted() == known.sorted())
        #expect(SchemaTests.node(place)["additionalProperties"] as? Bool == false)
    }

    @Test func stagesAreTheOnesThatAreRead() throws {
        let known = try knownKeys("{transform: [{UNKNOWN: 1}]}")
        let stages = try #require(SchemaTests.node("$defs/stage")["oneOf"] as? [[String: Any]])
        let keys = stages.compactMap { ($0["properties"] as? [String: Any])?.keys.first }
        #expect(keys.sorted() == known.sorted())
    }

    /// What the message about an unknown key names.
    private func knownKeys(_ text: String) throws -> [String] {
        let definition = text.replacing("UNKNOWN", with: "qqqqqqqqqqqq")
        let result = PipelineDefinition.parse(definition, file: "t.yaml", environment: [:])
        let message = try #require(
            result.errors.first { $0.message.hasPrefix("unknown key 'qqqqqqqqqqqq'") }, "\(result.errors)")
        let fix = try #require(message.fix)
        let prefix = "known keys: "
        try #require(fix.hasPrefix(prefix))
        return fix.dropFirst(prefix.count).split(separator: ",").map { $0.filter { $0 != " " } }
    }

    private static func node(_ place: String) -> [String: Any] {
        var node: Any = schema
        for step in place.split(separator: "/") {
            if let object = node as? [String: Any] {
                node = object[String(step)] ?? [:]
            } else if let list = node as? [Any], let index = Int(step), list.indices.contains(index) {
                node = list[index]
            } else {
                return [:]
            }
        }
        return node as? [String: Any] ?? [:]
    }
}
