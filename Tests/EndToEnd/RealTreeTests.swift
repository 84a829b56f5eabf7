import ChangeModel
import Foundation
import Mapping
import PipelineDefinition
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// The definitions for trees of well-known systems, on the sample data of their own tests: what the rules make of each
/// node is in Redis, and goes when the node goes.
@Suite(.serialized) struct RealTreeTests {
    @Test(arguments: [
        "clickhouse-replicas", "curator-discovery", "dubbo-providers", "hbase-servers", "kafka-registrations",
        "solr-collections", "spring-config",
    ])
    func whatIsThereArrivesAndWhatGoesIsRemoved(name: String) async throws {
        try await TestBed.with { bed in
            let file = TestBed.shipped(name)
            let loaded = try PipelineDefinition.load(file: file, environment: bed.environment)
            let definition = try #require(loaded.definition)
            let nodes = RealTreeTests.nodes(loaded.tests)
            try #require(nodes.count > 3)
            try await bed.withWriter { writer in
                for (path, node) in nodes {
                    _ = try await writer.create(
                        path, data: node.data, mode: node.isEphemeral ? .ephemeral : .persistent)
                }
                let expected = try await RealTreeTests.expected(definition, nodes.map(\.path), writer)
                try #require(expected.count > 2)
                let run = try bed.millrace("run", file)
                try await eventually("\(name): all is there") {
                    for (sink, form) in expected where try await !bed.holds(form, sink) { return false }
                    return true
                }
                for (sink, form) in expected where try await !bed.holds(form, sink) {
                    Issue.record("\(name), \(sink): \(form)")
                }
                let verified = try await bed.output("verify", file)
                #expect(verified.hasSuffix("no difference\n"), "\(name): \(verified)")
                for (path, _) in nodes.reversed() { try await writer.delete(path) }
                try await eventually("\(name): all is gone") { try await bed.stateKeys() == [] }
                #expect(try await bed.stateKeys() == [])
                #expect(try await run.stop() == 0, "\(run.errors)")
            }
        }
    }

    private struct Node {
        var data: [UInt8]
        var isEphemeral: Bool
    }

    /// What the definition's tests create, parents first. Of a node that several of them name the first counts.
    private static func nodes(_ tests: [PipelineTest]) -> [(path: String, node: Node)] {
        var nodes: [String: Node] = [:]
        for change in tests.filter(\.environment.isEmpty).flatMap(\.inputs) {
            guard change.operation != .delete, nodes[change.path] == nil else { continue }
            nodes[change.path] = Node(data: change.data ?? [], isEphemeral: change.stat?.isEphemeral ?? false)
        }
        for path in Array(nodes.keys) {
            var parent = path
            while let slash = parent.lastIndex(of: "/"), slash > parent.startIndex {
                parent = String(parent[..<slash])
                nodes[parent, default: Node(data: [], isEphemeral: false)].isEphemeral = false
            }
        }
        return nodes.sorted { $0.key.utf8.count < $1.key.utf8.count }.map { ($0.key, $0.value) }
    }

    /// What a snapshot of the nodes becomes.
    private static func expected(
        _ definition: PipelineDefinition, _ paths: [String], _ client: ZooKeeperClient
    ) async throws -> [(sink: String, form: WriteForm)] {
        let mapper = Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification))
        var forms: [(String, WriteForm)] = []
        for path in paths where definition.source.scope.contains(path) {
            let (data, stat) = try await client.getData(path)
            let change = Change(
                operation: .read, path: path, data: data, zxid: Zxid(stat.mzxid), timestamp: stat.mtime,
                stat: NodeStat(
                    czxid: Zxid(stat.czxid), mzxid: Zxid(stat.mzxid), ctime: stat.ctime, mtime: stat.mtime,
                    version: stat.version, ephemeralOwner: stat.ephemeralOwner))
            for (index, sink) in definition.sinks.enumerated() {
                let writes = WriteForm.list(mapper.map(change, offset: 0, sink: index))
                forms += writes.filter { $0.kind != .failed }.map { (sink.name, $0) }
            }
        }
        return forms
    }
}

extension TestBed {
    /// Whether Redis has what the write says.
    fileprivate func holds(_ form: WriteForm, _ sink: String) async throws -> Bool {
        let key = String(decoding: form.key ?? [], as: UTF8.self)
        let text = String(decoding: form.text, as: UTF8.self)
        let fields = Dictionary(
            form.fields.map {
                (String(decoding: $0.name, as: UTF8.self), String(decoding: $0.value, as: UTF8.self))
            }
        ) { $1 }
        switch form.kind {
        case .string: return try await redis("GET", key).string == text
        case .hash: return try await hash(key) == fields
        case .setField:
            let all = try await hash(key)
            return fields.allSatisfy { all[$0] == $1 }
        case .add where form.score != nil: return try await redis("ZSCORE", key, text).string != nil
        case .add: return try await redis("SISMEMBER", key, text).int == 1
        case .entry:
            return try await stream(key).contains { entry in
                fields.allSatisfy { entry.fields[$0] == $1 }
            }
        case .delete: return try await redis("EXISTS", key).int == 0
        case .remove where try await redis("TYPE", key).string == "zset":
            return try await redis("ZSCORE", key, text).string == nil
        case .remove: return try await redis("SISMEMBER", key, text).int == 0
        case .removeField: return try await redis("HEXISTS", key, text).int == 0
        case .addItem, .removeItem, .release, .envelope, .failed: return false
        }
    }

    /// The keys that stand for nodes: neither streams nor checkpoints.
    fileprivate func stateKeys() async throws -> [String] {
        var keys: [String] = []
        for key in try await strings("KEYS", "*") where !key.hasPrefix("millrace:") {
            if try await redis("TYPE", key).string != "stream" { keys.append(key) }
        }
        return keys.sorted()
    }
}
