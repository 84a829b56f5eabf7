import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// Trees that a capture may not or can hardly read.
@Suite(.serialized) struct CaptureFaultTests {
    private static let pipeline = """
        name: capture
        source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
        log: {directory: "${MILLRACE_DATA}"}
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """

    /// Reported; the rest goes on; nothing hidden is taken as deleted; what becomes readable again arrives.
    @Test func rightsAreTakenFromPartOfTheTree() async throws {
        try await TestBed.with { bed in
            let writer = RecordingWriter(seed: 1)
            let site = try await FaultSite.start(bed, CaptureFaultTests.pipeline, writer)
            var settings = ZooKeeperConfiguration(connect: try ConnectString(parsing: bed.connectString))
            settings.authentication = [Authentication(scheme: "digest", credentials: Array("me:secret".utf8))]
            let owner = ZooKeeperClient(configuration: settings, logger: quietLogger)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await owner.run() }
                func write(_ paths: [String], creating: Bool = false) async throws {
                    for path in paths {
                        let value = writer.nextValue()
                        if creating {
                            try await owner.create(path, value)
                        } else {
                            try await owner.set(path, value)
                        }
                        writer.note(path, value)
                    }
                }
                let secret = (0..<10).map { "/t/secret/n\($0)" }
                let open = (0..<10).map { "/t/open/n\($0)" }
                try await write(["/t", "/t/secret", "/t/open"] + secret + open, creating: true)
                try await site.launch()
                try await site.waitForContact()
                for path in ["/t/secret"] + secret { _ = try await owner.setACL(path, acl: ACL.creatorAll) }
                try await write(open + secret)
                try await eventually("the rest goes on") {
                    try await bed.redis("GET", "k:/t/open/n9").string == writer.final["/t/open/n9"] ?? nil
                }
                var random = SeededGenerator(seed: 1)
                try await site.strike(.zookeeperCut, &random)
                // ZooKeeper says nothing of changed rights, and sends no events for what may not be read.
                try await eventually("it is reported") {
                    site.errors.contains("may not be read by this session")
                }
                try await owner.delete("/t/secret/n9")
                writer.note("/t/secret/n9", nil)
                try await write(open)
                try await eventually("the rest goes on after a resync") {
                    try await bed.redis("GET", "k:/t/open/n9").string == writer.final["/t/open/n9"] ?? nil
                }
                #expect(try await bed.strings("KEYS", "k:/t/secret/n*").count >= 9)
                for path in ["/t/secret"] + secret.dropLast() {
                    _ = try await owner.setACL(path, acl: ACL.open)
                }
                // Otherwise it looks again within a minute.
                try await site.strike(.zookeeperCut, &random)
                let report = try await FaultReport.settled(bed, writer.final)
                report.print(
                    "rights taken from part of the tree", rounds: 1, acknowledged: writer.acknowledged)
                #expect(report == .clean, "\(site.errors.suffix(3000))")
                await owner.close()
                group.cancelAll()
            }
            #expect(try await site.stop() == 0)
        }
    }

    @Test func aNodeLargerThanTheUsualLimit() async throws {
        let zookeeper = try await ZooKeeperServer.start(virtualMachine: ["-Djute.maxbuffer=8388608"])
        let bed = TestBed(
            zookeeper: zookeeper, redis: try await RedisServer.start(), directory: try TemporaryDirectory())
        let file = try bed.definition(CaptureFaultTests.pipeline)
        var settings = ZooKeeperConfiguration(connect: try ConnectString(parsing: bed.connectString))
        settings.maximumRequestBytes = 8 << 20
        let client = ZooKeeperClient(configuration: settings, logger: quietLogger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await client.run() }
            try await client.create("/t", "")
            for index in 0..<20 { try await client.create("/t/small\(index)", "\(index)") }
            for index in 0..<4 {
                let data = [UInt8](repeating: UInt8(index), count: 5 << 20)
                _ = try await client.create("/t/large\(index)", data: data)
            }
            let run = try bed.millrace("run", file)
            for index in 0..<4 {
                try await eventually("it is carried", within: .seconds(40)) {
                    try await bed.redis("STRLEN", "k:/t/large\(index)").int == 5 << 20
                }
            }
            _ = try await client.setData("/t/large0", data: [UInt8](repeating: 9, count: 6 << 20))
            try await eventually("a change of it is carried", within: .seconds(40)) {
                try await bed.redis("STRLEN", "k:/t/large0").int == 6 << 20
            }
            #expect(try await bed.redis("GET", "k:/t/small19").string == "19")
            #expect(try await run.stop() == 0)
            await client.close()
            group.cancelAll()
        }
        await bed.stop()
    }

    @Test func aDirectoryOfManyChildren() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(CaptureFaultTests.pipeline)
            let count = 100_000
            let suffix = String(repeating: "x", count: 30)
            try await bed.withWriter { client in
                try await client.create("/t", "")
                for start in stride(from: 0, to: count, by: 1000) {
                    _ = try await client.multi(
                        (start..<start + 1000).map { number in
                            .create(
                                path: "/t/\(number)-\(suffix)", data: [1], acl: ACL.open, mode: .persistent)
                        })
                }
            }
            let run = try bed.millrace("run", file)
            try await eventually("all are carried", within: .seconds(60)) {
                try await bed.redis("DBSIZE").int == Int64(count + 1 + 3)
            }
            try await bed.withWriter { client in
                try await client.delete("/t/7-\(suffix)")
                try await client.set("/t/8-\(suffix)", "8")
            }
            try await eventually("changes are carried") {
                let deleted = try await bed.redis("EXISTS", "k:/t/7-\(suffix)").int == 0
                return try await bed.redis("GET", "k:/t/8-\(suffix)").string == "8" && deleted
            }
            #expect(try await run.stop() == 0)
        }
    }
}
