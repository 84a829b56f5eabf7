import ChangeModel
import Foundation
import JQ
import Mapping
import PipelineDefinition

/// Changes a second that rules make writes of, on one thread, without log, ZooKeeper or Redis: passed through as they are,
/// five fields of a JSON document, and a jq filter, with 10 and with 1,000 rules. Beside it what Foundation's JSON parser
/// alone takes for the same documents. `transform.py` runs it beside a script that does the same. `transform json 10` measures
/// that alone.
@main
enum Transform {
    private static let changes = 200_000
    private static let repetitions = 5
    private static let kinds = [
        ("pass", "match: \"/services/{service}/{id}\"", "write: string, key: \"k:{id}\""),
        (
            "json",
            """
            match: "/services/{service}/{id}", decode: json, set: {service: "{service}", instance: "{id}", \
            host: "{value.address}", port: {from: value.port, type: integer}, type: "{value.serviceType}"}
            """, "write: hash, key: \"svc:{id}\""
        ),
        (
            "jq", "match: \"/services/{service}/{id}\", decode: json, jq: \"select(.port > 0)\"",
            "write: hash, key: \"svc:{id}\""
        ),
    ]

    static func main() {
        // It is its own worker for jq.
        if CommandLine.arguments.dropFirst() == [JQWorker.argument] { exit(JQWorker.serve()) }
        JQWorker.executable = "/proc/self/exe"
        let only = Array(CommandLine.arguments.dropFirst())
        let input = (0..<1000).map(change)
        if only.isEmpty { print("parse \(rate { for change in input { parse(change) } })") }
        for (name, rule, sink) in kinds {
            for count in [10, 1000] where only.isEmpty || only == [name, "\(count)"] {
                guard let mapper = mapper(rule: rule, sink: sink, count: count) else { return }
                print("\(name) \(count) \(rate { for change in input { map(change, mapper) } })")
            }
        }
    }

    private static func change(_ number: Int) -> Change {
        let json = """
            {"name":"orders-\(number % 50)","id":"\(number)","address":"10.0.\(number / 250).\(number % 250)","port":8080,\
            "sslPort":null,"payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":null}
            """
        return Change(
            operation: .create, path: "/services/orders-\(number % 50)/\(number)", data: Array(json.utf8),
            zxid: Zxid(1), timestamp: 0)
    }

    /// Rules for other paths before and behind the one that matches.
    private static func mapper(rule: String, sink: String, count: Int) -> Mapper? {
        var rules = (1..<count).map { "      - {match: \"/other\($0)/{id}\"}\n" }
        rules.insert("      - {\(rule)}\n", at: count / 2)
        let text = """
            name: benchmark
            source: {zookeeper: {connect: "127.0.0.1:2181", paths: [/]}}
            transform:
              - rules:
            \(rules.joined())
            sinks:
              out: {redis: "redis://127.0.0.1:6379/0", \(sink)}

            """
        let result = PipelineDefinition.parse(text, file: "benchmark", environment: [:])
        guard let definition = result.definition else {
            result.errors.prefix(3).forEach { print($0) }
            return nil
        }
        return Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification))
    }

    /// The median of changes a second.
    private static func rate(_ body: () -> Void) -> Int {
        let rounds = changes / 1000
        let seconds = (0..<repetitions).map { _ in
            let begin = ContinuousClock.now
            for _ in 0..<rounds { body() }
            return (ContinuousClock.now - begin) / .seconds(1)
        }
        return Int(Double(changes) / seconds.sorted()[repetitions / 2])
    }

    private static func map(_ change: Change, _ mapper: Mapper) {
        guard case .writes = mapper.map(change, offset: 0, sink: 0) else { fatalError("not mapped") }
    }

    private static func parse(_ change: Change) {
        guard (try? JSONSerialization.jsonObject(with: Data(change.data ?? []))) != nil else {
            fatalError("not parsed")
        }
    }
}
