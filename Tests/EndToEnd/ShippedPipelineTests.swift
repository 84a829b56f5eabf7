import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// Every definition in Pipelines/, run as it is shipped, with what it leaves in Redis.
@Suite(.serialized) struct ShippedPipelineTests {
    @Test func quickstart() async throws {
        try await TestBed.with { bed in
            let count = 500
            try await bed.withWriter { writer in
                try await writer.create("/app", "")
                for index in 0..<count { try await writer.create("/app/n\(index)", "first \(index)") }
            }
            let run = try bed.millrace("run", TestBed.shipped("quickstart"))
            try await eventually("the snapshot arrives") {
                try await bed.redis("GET", "zk:/app/n\(count - 1)").string == "first \(count - 1)"
            }
            try await bed.withWriter { writer in
                for index in 0..<count { try await writer.set("/app/n\(index)", "second \(index)") }
                for index in stride(from: 0, to: count, by: 10) { try await writer.delete("/app/n\(index)") }
                try await writer.create("/app/last", "done")
            }
            try await eventually("the last change arrives") {
                try await bed.redis("GET", "zk:/app/last").string == "done"
            }
            #expect(try await run.stop() == 0, "\(run.errors)")

            var last: [String: [String: String]] = [:]
            for entry in try await bed.stream("zk:changes") {
                last[entry.fields["path"] ?? ""] = entry.fields
            }
            for index in 0..<count {
                let path = "/app/n\(index)"
                let value = try await bed.redis("GET", "zk:\(path)").string
                if index % 10 == 0 {
                    #expect(value == nil)
                    #expect(last[path]?["op"] == "d")
                    #expect(last[path]?["data"] == nil)
                } else {
                    #expect(value == "second \(index)")
                    #expect(last[path]?["data"] == "second \(index)")
                }
            }
            #expect(last["/zookeeper"] == nil)
        }
    }

    @Test func configSync() async throws {
        try await TestBed.with { bed in
            try await bed.withWriter { writer in
                for path in ["/config", "/config/shop", "/config/shop/db"] {
                    try await writer.create(path, "")
                }
                try await writer.create("/config/shop/db/url", "jdbc:one")
                try await writer.create("/config/shop/timeout", "30")
                try await writer.create("/config/shop/lock-1", "x")
            }
            let run = try bed.millrace("run", TestBed.shipped("config-sync"))
            try await eventually("the settings arrive") {
                try await bed.redis("GET", "setting:shop:db/url").string == "jdbc:one"
            }
            try await bed.withWriter { writer in
                try await writer.set("/config/shop/db/url", "jdbc:two")
                try await writer.delete("/config/shop/timeout")
            }
            try await eventually("the changes arrive") {
                let url = try await bed.redis("GET", "setting:shop:db/url").string
                let timeout = try await bed.redis("EXISTS", "setting:shop:timeout").int
                return url == "jdbc:two" && timeout == 0
            }
            #expect(try await run.stop() == 0)
            let settings = try await bed.hash("settings:shop")
            #expect(settings["db/url"] == "jdbc:two")
            #expect(settings["timeout"] == nil)
            #expect(settings.keys.contains { $0.contains("lock") } == false)
        }
    }

    @Test func serviceRegistry() async throws {
        try await TestBed.with { bed in
            try await bed.withWriter { writer in
                try await writer.create("/services", "")
                try await writer.create("/services/api", "")
            }
            let run = try bed.millrace("run", TestBed.shipped("service-registry"))
            // As Curator writes it.
            let instance =
                #"{"name":"api","id":"a1","address":"10.0.0.1","port":8080,"sslPort":null,"#
                + #""payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":null}"#
            try await bed.withWriter { writer in
                _ = try await writer.create(
                    "/services/api/a1",
                    data: Array(instance.utf8),
                    mode: .ephemeral)
                _ = try await writer.create(
                    "/services/api/a2", data: Array(#"{"address":"10.0.0.2"}"#.utf8), mode: .ephemeral)
                try await eventually("both instances arrive") {
                    try await bed.redis("SCARD", "svc:api").int == 2
                }
                let first = try await bed.hash("svc:api:a1")
                #expect(
                    first == [
                        "service": "api", "instance": "a1", "address": "10.0.0.1", "port": "8080",
                        "type": "DYNAMIC", "registered_ms": "1700000000000",
                    ])
                #expect(try await bed.hash("svc:api:a2")["port"] == "0")
                #expect(Set(try await bed.strings("SMEMBERS", "svc:api")) == ["a1", "a2"])
                try await writer.delete("/services/api/a2")
                try await eventually("the instance goes") {
                    try await bed.strings("SMEMBERS", "svc:api") == ["a1"]
                }
            }
            // The writer's session has ended: so has its ephemeral node.
            try await eventually("the ephemeral instance goes") {
                try await bed.redis("EXISTS", "svc:api", "svc:api:a1", "svc:api:a2").int == 0
            }
            #expect(try await run.stop() == 0)
        }
    }

    @Test func clusterMembership() async throws {
        try await TestBed.with { bed in
            try await bed.withWriter { writer in
                try await writer.create("/cluster", "")
                try await writer.create("/cluster/members", "")
                try await writer.create("/cluster/members/one", "1")
            }
            let run = try bed.millrace("run", TestBed.shipped("cluster-membership"))
            try await eventually("the snapshot arrives") {
                try await bed.strings("SMEMBERS", "cluster:members") == ["one"]
            }
            try await bed.withWriter { writer in
                try await writer.create("/cluster/members/two", "2")
                try await writer.set("/cluster/members/two", "not an event")
                try await writer.delete("/cluster/members/one")
            }
            try await eventually("the change of members arrives") {
                try await bed.strings("SMEMBERS", "cluster:members") == ["two"]
            }
            #expect(try await run.stop() == 0)
            let events = try await bed.stream("cluster:events").map {
                "\($0.fields["op"] ?? "") \($0.fields["member"] ?? "")"
            }
            #expect(events == ["r one", "c two", "d one"])
        }
    }

    @Test func auditStream() async throws {
        try await TestBed.with { bed in
            let run = try bed.millrace("run", TestBed.shipped("audit-stream"))
            try await eventually("the pipeline is attached") { run.errors.contains("the tree is read") }
            try await bed.withWriter { writer in
                try await writer.create("/a", "1")
                try await eventually("the create is seen") {
                    try await bed.stream("audit:zookeeper").count == 2
                }
                try await writer.set("/a", "2")
                try await eventually("the update is seen") {
                    try await bed.stream("audit:zookeeper").count == 3
                }
                try await writer.delete("/a")
                try await eventually("the delete is seen") {
                    try await bed.stream("audit:zookeeper").count == 4
                }
            }
            #expect(try await run.stop() == 0)
            let entries = try await bed.stream("audit:zookeeper")
            #expect(entries.map { $0.fields["path"] } == ["/", "/a", "/a", "/a"])
            #expect(entries.map { $0.fields["op"] } == ["r", "c", "u", "d"])
            #expect(entries.map { $0.fields["data"] } == ["", "1", "2", nil])
            #expect(entries.map(\.id) == ["1-0", "2-0", "3-0", "4-0"])
            let zxids = entries.compactMap { $0.fields["zxid"].flatMap { Int64($0) } }
            #expect(zxids == zxids.sorted() && zxids.count == 4)
            #expect(entries.allSatisfy { $0.fields["ts_ms"] != nil && $0.fields["version"] != nil })
        }
    }
}
