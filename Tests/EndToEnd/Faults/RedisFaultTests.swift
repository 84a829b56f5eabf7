import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// What Redis refuses, does slowly, or has not copied yet.
@Suite(.serialized) struct RedisFaultTests {
    /// A record that Redis will never take goes to the dead letters alone; the rest keeps its order.
    @Test func aKeyOfAnotherType() async throws {
        try await TestBed.with { bed in
            let writer = RecordingWriter(seed: 2)
            let versions =
                "  versions: {redis: \"${REDIS}\", write: set, key: \"v:{path}\", member: \"{path}\"}"
            let site = try await FaultSite.start(bed, Fault.redisCut.pipeline + "\n" + versions, writer)
            try await bed.withWriter { try await $0.create("/t", "0") }
            _ = try await bed.redis("SET", "v:/t/odd", "no set")
            try await site.launch()
            try await site.waitForContact()
            async let writing: Void = bed.withWriter { try await writer.run($0) }
            try await bed.withWriter { client in
                for path in ["/t/odd", "/t/even"] { try await client.create(path, "0") }
                for index in 1...20 {
                    for path in ["/t/odd", "/t/even"] { try await client.set(path, "\(index)") }
                    try await Task.sleep(for: .milliseconds(20))
                }
            }
            writer.stop()
            try await writing
            let report = try await FaultReport.settled(bed, writer.final)
            report.print("a key of another type", rounds: 1, acknowledged: writer.acknowledged)
            #expect(report == .clean)
            #expect(try await bed.redis("GET", "v:/t/odd").string == "no set")
            try await eventually("the others are taken") {
                try await bed.redis("SISMEMBER", "v:/t/even", "/t/even").int == 1
            }
            #expect(site.errors.contains("WRONGTYPE"))
            #expect(try await site.stop() == 0)
        }
    }

    /// The capture goes on into the log; memory stays where it was.
    @Test func aSlowRedisHoldsNothingUp() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(
                """
                name: slow
                source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
                log: {directory: "${MILLRACE_DATA}"}
                sinks:
                  keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
                """)
            let proxy = try await TCPProxy.start(to: "127.0.0.1:\(bed.redis.port)")
            try await bed.withWriter { try await $0.create("/t", "") }
            let run = try bed.millrace("run", file, environment: ["REDIS": "redis://\(proxy.address)/0"])
            try await eventually("it runs") { try await bed.redis("EXISTS", "k:/t").int == 1 }
            proxy.stall(true)
            let log = bed.dataDirectory + "/slow"
            let data = [UInt8](repeating: 7, count: 10_000)
            let nodes = 20
            let rounds = 200
            try await bed.withWriter { client in
                for node in 0..<nodes { _ = try await client.create("/t/n\(node)", data: data) }
                for _ in 0..<rounds {
                    for node in 0..<nodes { _ = try await client.setData("/t/n\(node)", data: data) }
                }
                try await client.create("/t/last", "last")
            }
            try await eventually("all is in the log") {
                try await bed.output("log", "dump", log).contains("/t/last")
            }
            #expect(try await bed.redis("EXISTS", "k:/t/last").int == 0)
            let peak = run.peakMemory
            print("slow Redis: 40 MB of values waited, \(peak >> 20) MiB resident at most")
            #expect(peak < 400 << 20)
            proxy.stall(false)
            try await eventually("all is delivered") {
                try await bed.redis("GET", "k:/t/last").string == "last"
            }
            #expect(try await run.stop() == 0)
            await proxy.stop()
        }
    }

    /// What a stalled Redis does not take within the time of a shutdown is taken by the next run, once.
    @Test func aShutdownDoesNotWaitForEver() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(Fault.redisStalled.pipeline)
            let proxy = try await TCPProxy.start(to: "127.0.0.1:\(bed.redis.port)")
            try await bed.withWriter { try await $0.create("/t", "0") }
            let run = try bed.millrace("run", file, environment: ["REDIS": "redis://\(proxy.address)/0"])
            try await eventually("it runs") { try await bed.stream("changes").count == 1 }
            proxy.stall(true)
            try await bed.withWriter { client in
                for index in 0..<100 { try await client.create("/t/n\(index)", "\(index)") }
            }
            let start = ContinuousClock.now
            #expect(try await run.stop() == 0)
            #expect(ContinuousClock.now - start > .seconds(9))
            #expect(run.errors.contains("goes on from its checkpoint"))
            await proxy.stop()
            _ = try await bed.output("run", "--until-caught-up", file)
            let paths = try await bed.stream("changes").map { $0.fields["path"] ?? "" }
            #expect(paths.count == 101 && Set(paths).count == 101)
        }
    }

    /// `wait: {replicas: 1}`: a batch counts when the replica has it; it is waited for, not written again.
    @Test func aBatchWaitsForItsReplica() async throws {
        try await TestBed.with(.sentinels) { bed in
            let sentinels = try #require(bed.sentinels)
            let file = try bed.definition(
                """
                name: waits
                source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
                log: {directory: "${MILLRACE_DATA}"}
                sinks:
                  changes:
                    redis: "${REDIS}"
                    write: stream
                    key: changes
                    wait: {replicas: 1, timeout: 100ms}
                """)
            try await bed.withWriter { try await $0.create("/t", "0") }
            let run = try bed.millrace("run", file)
            // The confirmation waits for the replica like any other write.
            try await eventually("it runs") {
                try await bed.redis("HGET", "millrace:waits:changes", "c").string == "1"
            }
            try await Task.sleep(for: .milliseconds(300))
            let replica = try sentinels.replica()
            replica.process.suspend()
            try await bed.withWriter { try await $0.set("/t", "1") }
            try await eventually("it is written, and waits") {
                let isWritten = try await bed.stream("changes").count == 2
                return isWritten && run.errors.contains("0 of 1 replicas have what was written")
            }
            try await bed.withWriter { try await $0.set("/t", "2") }
            try await Task.sleep(for: .milliseconds(500))
            // The batch behind it is not even sent, the first not sent again.
            #expect(try await bed.stream("changes").count == 2)
            replica.process.resume()
            try await eventually("it goes on") { try await bed.stream("changes").count == 3 }
            #expect(try await bed.stream("changes").map { $0.fields["data"] ?? "" } == ["0", "1", "2"])
            #expect(try await run.stop() == 0)
        }
    }

    /// A connection lost while waiting: on the new one something is written first, or WAIT would wait for nothing.
    @Test func waitingSurvivesTheConnection() async throws {
        let master = try await RedisServer.start()
        let replica = try await RedisServer.start(["replicaof 127.0.0.1 \(master.port)"])
        let bed = TestBed(
            zookeeper: try await ZooKeeperServer.start(), redis: master, directory: try TemporaryDirectory())
        let proxy = try await TCPProxy.start(to: "127.0.0.1:\(master.port)")
        try await eventually("the replica is there") {
            try master.cli("INFO", "replication").contains("state=online")
        }
        let file = try bed.definition(
            """
            name: waits
            source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
            log: {directory: "${MILLRACE_DATA}"}
            sinks:
              changes: {redis: "${REDIS}", write: stream, key: changes, wait: {replicas: 1, timeout: 100ms}}
            """)
        try await bed.withWriter { try await $0.create("/t", "0") }
        let run = try bed.millrace("run", file, environment: ["REDIS": "redis://\(proxy.address)/0"])
        try await eventually("it runs") {
            try await bed.redis("HGET", "millrace:waits:changes", "c").string == "1"
        }
        try await Task.sleep(for: .milliseconds(300))
        replica.process.suspend()
        try await bed.withWriter { try await $0.set("/t", "1") }
        try await eventually("it is written") { try await bed.stream("changes").count == 2 }
        for _ in 0..<3 {
            proxy.cutAll()
            try await Task.sleep(for: .milliseconds(300))
        }
        try await bed.withWriter { try await $0.set("/t", "2") }
        try await Task.sleep(for: .seconds(2))
        let entries = try await bed.stream("changes").map { $0.fields["data"] ?? "" }
        #expect(entries == ["0", "1"], "\(run.errors)")
        replica.process.resume()
        try await eventually("it goes on") { try await bed.stream("changes").count == 3 }
        #expect(try await run.stop() == 0)
        await proxy.stop()
        await replica.stop()
        await bed.stop()
    }
}
