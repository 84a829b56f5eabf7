import ChangeModel
import Foundation
import Mapping
import PipelineDefinition
import Testing

/// The definitions that users copy.
@Suite struct PipelinesTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Pipelines")

    private static let names = [
        "audit-stream", "clickhouse-replicas", "cluster-membership", "config-sync", "curator-discovery",
        "dubbo-providers", "hbase-servers", "kafka-registrations", "quickstart", "service-registry",
        "solr-collections", "spring-config",
    ]

    private func load(_ name: String, environment: [String: String] = [:]) throws -> LoadResult {
        let file = PipelinesTests.folder.appending(path: name + ".yaml").path
        return try PipelineDefinition.load(file: file, environment: environment)
    }

    private func definition(_ name: String) throws -> PipelineDefinition {
        try #require(try load(name).definition)
    }

    @Test func everyFileIsTested() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: PipelinesTests.folder.path)
        #expect(files.filter { $0.hasSuffix(".yaml") }.sorted() == PipelinesTests.names.map { $0 + ".yaml" })
    }

    @Test(arguments: names)
    func eachLoadsWithoutDiagnosticsAndWithoutEnvironment(name: String) throws {
        let result = try load(name)
        #expect(result.diagnostics.map(\.description) == [])
        let definition = try #require(result.definition)
        #expect(definition.name == name)
        #expect(!result.tests.isEmpty)
        #expect(definition.source.connect == "127.0.0.1:2181")
        #expect(definition.log.directory == "./data")
        #expect(definition.sinks.allSatisfy { $0.redisURL == "redis://127.0.0.1:6379/0" })
    }

    @Test(arguments: names)
    func eachTakesItsServersFromTheEnvironment(name: String) throws {
        let environment = ["ZOOKEEPER": "z:1/c", "REDIS": "redis://r:2/3", "MILLRACE_DATA": "/tmp/d"]
        let definition = try #require(try load(name, environment: environment).definition)
        #expect(definition.source.connect == "z:1/c")
        #expect(definition.log.directory == "/tmp/d")
        #expect(definition.sinks.allSatisfy { $0.redisURL == "redis://r:2/3" })
    }

    @Test(arguments: names) func eachMayWriteToACluster(name: String) throws {
        let result = try load(name, environment: ["REDIS": "redis+cluster://r:1"])
        #expect(result.diagnostics.map(\.description) == [])
    }

    /// What a change becomes for every sink, in the words of the assertions below.
    private func writes(_ name: String, _ operation: ChangeModel.Operation, _ path: String, _ data: String?)
        throws
        -> [MappingResult]
    {
        let definition = try definition(name)
        let mapper = Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification))
        let change = Change(
            operation: operation, path: path, data: data.map { Bytes($0.utf8) }, zxid: Zxid(9), timestamp: 1,
            stat: NodeStat(czxid: Zxid(9), mzxid: Zxid(9)))
        return definition.sinks.indices.map { mapper.map(change, offset: 0, sink: $0) }
    }

    @Test func quickstartKeepsEveryNodeAndEveryChange() throws {
        let created = try writes("quickstart", .create, "/app/a", "1")
        #expect(created[0] == .writes([.setString(key: bytes("zk:/app/a"), value: bytes("1"))]))
        #expect(
            created[1]
                == .writes([
                    .streamAdd(key: bytes("zk:changes"), fields: FieldList(entry("c", "/app/a", "1")))
                ]))
        let deleted = try writes("quickstart", .delete, "/app/a", nil)
        #expect(deleted[0] == .writes([.deleteKey(key: bytes("zk:/app/a"))]))
        #expect(
            deleted[1]
                == .writes([
                    .streamAdd(key: bytes("zk:changes"), fields: FieldList(entry("d", "/app/a", nil)))
                ]))
        #expect(try definition("quickstart").source.exclude.map(\.text) == ["/zookeeper"])
    }

    @Test func configSyncKeepsSettingsAndApplications() throws {
        let set = try writes("config-sync", .update, "/config/billing/db/url", "x")
        #expect(set[0] == .writes([.setString(key: bytes("setting:billing:db/url"), value: bytes("x"))]))
        #expect(
            set[1]
                == .writes([
                    .setHashField(key: bytes("settings:billing"), field: bytes("db/url"), value: bytes("x"))
                ]))
        let deleted = try writes("config-sync", .delete, "/config/billing/db/url", nil)
        #expect(deleted[0] == .writes([.deleteKey(key: bytes("setting:billing:db/url"))]))
        #expect(
            deleted[1]
                == .writes([.removeHashField(key: bytes("settings:billing"), field: bytes("db/url"))]))
        #expect(
            try writes("config-sync", .create, "/config/billing", "") == [
                .dropped(.noRule), .dropped(.noRule),
            ])
    }

    @Test func serviceRegistryKeepsInstancesAndServices() throws {
        let json = #"{"address":"10.0.0.5","port":8080,"registrationTimeUTC":1700000000000,"payload":null}"#
        let created = try writes("service-registry", .create, "/services/orders/7f3a", json)
        let fields = [
            ("service", "orders"), ("instance", "7f3a"), ("address", "10.0.0.5"), ("port", "8080"),
            ("type", "DYNAMIC"), ("registered_ms", "1700000000000"),
        ].map { Field(name: $0, value: bytes($1)) }
        #expect(
            created[0] == .writes([.replaceHash(key: bytes("svc:orders:7f3a"), fields: FieldList(fields))]))
        #expect(created[1] == .writes([.addMember(key: bytes("svc:orders"), member: bytes("7f3a"))]))
        let deleted = try writes("service-registry", .delete, "/services/orders/7f3a", nil)
        #expect(deleted[0] == .writes([.deleteKey(key: bytes("svc:orders:7f3a"))]))
        #expect(deleted[1] == .writes([.removeMember(key: bytes("svc:orders"), member: bytes("7f3a"))]))
        #expect(
            try writes("service-registry", .create, "/services/orders", "")
                == [.dropped(.noRule), .dropped(.noRule)])
    }

    @Test func clusterMembershipKeepsMembersAndEvents() throws {
        let path = "/cluster/members/node-2"
        let joined = try writes("cluster-membership", .create, path, "10.0.0.2:7000")
        #expect(joined[0] == .writes([.addMember(key: bytes("cluster:members"), member: bytes("node-2"))]))
        let member = Field(name: "member", value: bytes("node-2"))
        let fields = entry("c", path, nil) + [member, Field(name: "data", value: bytes("10.0.0.2:7000"))]
        #expect(joined[1] == .writes([.streamAdd(key: bytes("cluster:events"), fields: FieldList(fields))]))
        let left = try writes("cluster-membership", .delete, path, nil)
        #expect(left[0] == .writes([.removeMember(key: bytes("cluster:members"), member: bytes("node-2"))]))
        #expect(
            left[1]
                == .writes([
                    .streamAdd(
                        key: bytes("cluster:events"), fields: FieldList(entry("d", path, nil) + [member]))
                ]))
        #expect(
            try writes("cluster-membership", .update, path, "x")
                == [.dropped(.operation), .dropped(.operation)])
    }

    @Test func auditStreamKeepsEverythingAndStopsRatherThanSkip() throws {
        #expect(
            try writes("audit-stream", .update, "/a", "1")
                == [
                    .writes([
                        .streamAdd(key: bytes("audit:zookeeper"), fields: FieldList(entry("u", "/a", "1")))
                    ])
                ])
        let definition = try definition("audit-stream")
        #expect(definition.onError == .stop)
        #expect(definition.sinks[0].specification.write == .stream(StreamOptions(id: .offset, trim: nil)))
    }

    private func bytes(_ text: String) -> Bytes { Bytes(text.utf8) }

    private func entry(_ op: String, _ path: String, _ data: String?) -> [Field] {
        let fields = [("op", op), ("path", path), ("zxid", "9"), ("version", "0"), ("ts_ms", "1")]
        return (fields + (data.map { [("data", $0)] } ?? [])).map { Field(name: $0, value: bytes($1)) }
    }
}
