import ChangeModel
import Foundation
import Mapping
import PipelineDefinition
import Testing

/// `tests:` of definitions: what passes, what is said where one does not, and mistakes in their own form.
@Suite struct PipelineTestTests {
    private static let head = """
        name: tested
        source: {zookeeper: {connect: "z:1", paths: ["${BASE:/t}"], exclude: [/t/hidden]}}
        transform:
          - rules:
              - match: "${BASE:/t}/{id}"
                decode: json
                set: {id: "{id}", port: "{value.port}"}
        sinks:
          nodes: {redis: "redis://r", write: hash, key: "n:{id}", ttl: 1h}
          changes: {redis: "redis://r", write: stream, key: changes}
        tests:

        """

    private func load(_ tests: String, _ environment: [String: String] = [:]) -> LoadResult {
        PipelineDefinition.parse(PipelineTestTests.head + tests, file: "t.yaml", environment: environment)
    }

    private func differences(_ tests: String) throws -> [String] {
        let test = try #require(load(tests).tests.first)
        return test.differences(
            try #require(load(tests, test.environment).definition, "with the test's environment"))
    }

    @Test func writesWithoutAPlaceHaveAFormToo() {
        #expect(WriteForm(SinkWrite.release).kind == .release)
        #expect(WriteForm(SinkWrite.envelope).kind == .envelope)
        #expect(WriteForm(SinkWrite.expiring(.release, milliseconds: 5)).ttlMilliseconds == 5)
    }

    @Test(arguments: try FileManager.default.contentsOfDirectory(atPath: pipelines.path))
    func shippedTestsPass(file: String) throws {
        guard file.hasSuffix(".yaml") else { return }
        let path = PipelineTestTests.pipelines.appending(path: file).path
        for test in try PipelineDefinition.load(file: path, environment: [:]).tests {
            let result = try PipelineDefinition.load(file: path, environment: test.environment)
            #expect(test.differences(try #require(result.definition)) == [], "\(file): \(test.name)")
        }
    }

    private static let pipelines = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Pipelines")

    @Test func exactAndPartial() throws {
        let differences = try differences(
            """
              - name: a node
                input:
                  - {path: /t/a, data: '{"port": 1}', version: 3}
                  - {op: d, path: /t/a}
                output:
                  nodes:
                    - {key: "n:a", hash: {port: 1, id: a}, ttl: 1h}
                    - {key: "n:a", delete: true}
                  changes:
                    - {key: changes, entry: {op: c, version: 3, port: 1}, partial: true}
                    - {key: changes, entry: {op: d, path: /t/a, zxid: 2, version: 0, ts_ms: 0, id: a}}
            """)
        #expect(differences == [])
    }

    @Test func whatDiffersIsSaid() throws {
        let differences = try differences(
            """
              - name: a node
                input: [{path: /t/a, data: '{"port": 1}'}, {path: /t/b, data: "no JSON"}, {path: /t/hidden/c}]
                output:
                  nodes:
                    - {key: "n:a", hash: {port: 2, host: h}, ttl: 1h}
                    - {failed: "not valid JSON"}
                    - {key: "n:c", delete: true}
                  changes: []
            """)
        #expect(differences.first == "input 3: /t/hidden/c is not among the paths that are captured")
        let text = differences.joined(separator: "\n")
        #expect(text.contains("write 1 (line 16) differs"))
        #expect(text.contains(#"port: expected "2", got "1""#))
        #expect(text.contains(#"host: expected "h", got no such field"#))
        #expect(text.contains(#"id: not expected, got "a""#))
        #expect(text.contains("write 3 (line 18) is missing\n    expected {key: \"n:c\", delete: true}"))
        #expect(text.contains("changes:\n  write 1 is one too many"))
    }

    @Test func theEnvironmentIsTheTests() throws {
        let differences = try differences(
            """
              - name: elsewhere
                environment: {BASE: /u}
                input: [{path: /u/a, data: '{"port": 1}'}]
                output: {nodes: [{key: "n:a", hash: {port: 1, id: a}, ttl: 60m}]}
            """)
        #expect(differences == [])
    }

    @Test(arguments: [
        ("- {name: a, input: [{path: /t/a}]}", "a test has no 'output'"),
        ("- {name: a, input: [{path: t}], output: {nodes: []}}", "'t' is no path of a node"),
        ("- {name: a, input: [{op: x, path: /t}], output: {nodes: []}}", "op is one of c, u, r, d, not 'x'"),
        ("- {name: a, input: [{op: d, path: /t, data: x}], output: {nodes: []}}", "a delete carries no data"),
        ("- {name: a, input: [], output: {node: []}}", "there is no sink 'node'"),
        ("- {name: a, input: [], output: {nodes: [{key: k}]}}", "does not say what is written"),
        (
            "- {name: a, input: [], output: {nodes: [{key: k, add: x, remove: x}]}}",
            "the write says add and remove"
        ),
        ("- {name: a, input: [{path: /t, data_base64: '*'}], output: {}}", "data_base64 is no base64"),
        ("- {name: a, input: [{path: /t, version: x}], output: {}}", "version is no whole number"),
        (
            "- {name: a, input: [], output: {nodes: [{key: k, string: x, partial: true}]}}",
            "'partial' is for a hash or an entry"
        ),
        ("- {nam: a, input: [], output: {}}", "unknown key 'nam'"),
    ])
    func mistakes(test: String, message: String) {
        let result = load("  " + test)
        #expect(result.definition == nil)
        #expect(result.errors.contains { $0.message.contains(message) && $0.line == 12 }, "\(result.errors)")
    }

    @Test func explanations() throws {
        let definition = try #require(load("  []").definition)
        let mapper = Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification))
        let change = Change(
            operation: .create, path: "/t/a", data: Array(#"{"port": 1}"#.utf8), zxid: Zxid(1), timestamp: 0)
        let (steps, result) = mapper.explain(change, offset: 0, sink: 0)
        #expect(result == mapper.map(change, offset: 0, sink: 0))
        #expect(steps.map(\.event) == [.applied(["id"])])
        #expect(steps.first?.line == 5)
        #expect(steps.first?.captures == [Field(name: "id", value: Array("a".utf8))])
        #expect(steps.first?.fields?.count == 2)
        var other = change
        other.path = "/u"
        #expect(mapper.explain(other, offset: 0, sink: 0).steps.map(\.event) == [.noRule])
    }
}
