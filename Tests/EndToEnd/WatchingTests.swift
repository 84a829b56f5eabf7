import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// `run --http`: what a pipeline tells of itself while it runs.
@Suite(.serialized) struct WatchingTests {
    private static func pipeline(_ name: String, sinks: String) -> String {
        """
        name: \(name)
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - rules:
              - {match: "/t/{id}", decode: json}
        sinks:
        \(sinks)
        """
    }

    private static let keys = "  keys: {redis: \"${REDIS}\", write: hash, key: \"k:{id}\"}"
    private static let events = "  events: {redis: \"${REDIS}\", write: stream, key: \"events\"}"

    @Test func countsAreWhatWasWritten() async throws {
        try await TestBed.with { bed in
            let files = [
                try bed.definition(
                    WatchingTests.pipeline("first", sinks: WatchingTests.keys + "\n" + WatchingTests.events)),
                try bed.definition(
                    WatchingTests.pipeline(
                        "second",
                        sinks:
                            "  more: {redis: \"${REDIS}\", write: string, key: \"m:{id}\", value: \"{id}\"}")),
            ]
            try await bed.withWriter { try await $0.create("/t", "") }
            let run = try bed.millrace("run", "--http", "0", files[0], files[1])
            let port = try await run.httpPort()
            try await run.becomes(ready: true)
            try await bed.withWriter { writer in
                for id in 0..<200 { try await writer.create("/t/n\(id)", "{\"id\": \(id)}") }
                for id in 0..<3 { try await writer.create("/t/wrong\(id)", "no JSON") }
            }
            let first = #"{pipeline="first"}"#
            let keys = #"{pipeline="first",sink="keys"}"#
            let events = #"{pipeline="first",sink="events"}"#
            let more = #"{pipeline="second",sink="more"}"#
            func isDone(_ metrics: MetricsText) -> Bool {
                [keys, events, more].allSatisfy { sink in
                    metrics.samples["millrace_lag_events\(sink)"] == 0
                        && metrics.samples["millrace_dead_letters_total\(sink)"] == 3
                        && metrics.samples["millrace_delivered_events_total\(sink)"] == 200
                }
            }
            try await eventually("all is delivered") { isDone(try run.metrics(port)) }
            let samples = try run.metrics(port).samples
            #expect(try await bed.redis("KEYS", "k:*").array?.count == 200)
            #expect(try await bed.redis("XLEN", "events").int == 200)
            #expect(samples["millrace_captured_events_total\(first)"] == 204)
            #expect(samples["millrace_log_start_offset\(first)"] == 0)
            #expect(samples["millrace_log_end_offset\(first)"] == 204)
            #expect(samples["millrace_nodes\(first)"] == 204)
            #expect(samples["millrace_up\(first)"] == 1 && samples["millrace_ready\(first)"] == 1)
            #expect(samples["millrace_zookeeper_connected\(first)"] == 1)
            for name in ["reconnects", "resyncs", "missed_values"] {
                #expect(samples["millrace_\(name)_total\(first)"] == 0, "\(name)")
            }
            for sink in [keys, events, more] {
                #expect(samples["millrace_lag_seconds\(sink)"] == 0)
                #expect(samples["millrace_rewinds_total\(sink)"] == 0)
                #expect(samples["millrace_capture_to_delivery_seconds_count\(sink)"] == 200)
                let all = sink.dropLast() + #",le="+Inf"}"#
                #expect(samples["millrace_capture_to_delivery_seconds_bucket\(all)"] == 200)
            }
            let log = bed.dataDirectory + "/first/00000000000000000000.lz4"
            let size = try FileManager.default.attributesOfItem(atPath: log)[.size] as? Double
            try await eventually("the log's size") {
                try run.metrics(port).samples["millrace_log_bytes\(first)"] == size
            }

            // As `offsets show` tells it, and more.
            let shown = try CommandTests.json(try await bed.output("offsets", "show", files[0], "--json"))
            let told = try run.status(port)
            #expect(told["ready"] as? Bool == true)
            let pipelines = try #require(told["pipelines"] as? [[String: Any]])
            #expect(pipelines.map { $0["pipeline"] as? String } == ["first", "second"])
            let sinks = try #require(pipelines[0]["sinks"] as? [[String: Any]])
            let other = try #require(shown["sinks"] as? [[String: Any]])
            #expect(sinks.count == 2)
            for (sink, other) in zip(sinks, other) {
                for field in ["name", "log_start_offset", "current_offset", "log_end_offset", "lag", "zxid"] {
                    #expect("\(sink[field] ?? "none")" == "\(other[field] ?? "none")", "\(field)")
                }
                let places = [sink, other].map { ($0["checkpoint"] as? [String: Any])?["place"] as? String }
                #expect(places[0] == places[1] && places[0]?.contains("millrace:first:") == true)
                #expect(sink["delivered"] as? Int == 200 && sink["dead_letters"] as? Int == 3)
            }
            let capture = try #require(pipelines[0]["capture"] as? [String: Any])
            #expect(capture["mode"] as? String == "watch" && capture["phase"] as? String == "live")
            #expect(capture["server"] as? String == bed.zookeeper.address)
            #expect((capture["session"] as? String)?.hasPrefix("0x") == true)
            #expect(capture["zxid"] as? Int ?? 0 > 0)
            #expect(try await run.stop() == 0)
            #expect(throws: TestServerError.self) { try HTTPProbe.get("/live", port: port) }
        }
    }

    @Test func readyIsTrue() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(WatchingTests.pipeline("ready", sinks: WatchingTests.keys))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/a", "{\"v\": 1}")
            }
            let run = try bed.millrace("run", "--http", "127.0.0.1:0", file)
            let port = try await run.httpPort()
            try await run.becomes(ready: true)

            // Idle when Redis goes: nobody would notice by a lag.
            bed.redis.kill()
            try await run.becomes(ready: false, "ready: sink keys: 127.0.0.1:\(bed.redis.port): ")
            #expect(try HTTPProbe.get("/live", port: port).status == 200)
            #expect(try run.metrics(port).samples[#"millrace_ready{pipeline="ready"}"#] == 0)
            try await bed.withWriter { try await $0.create("/t/b", "{\"v\": 2}") }
            try await eventually("the page tells of it") {
                let sink = try run.sinks(port)[0]
                let checkpoint = sink["checkpoint"] as? [String: Any]
                return sink["lag"] as? Int == 1 && checkpoint?["error"] is String && sink["trouble"] is String
            }
            try await bed.redis.restart()
            try await run.becomes(ready: true)
            try await eventually("it was emptied, so all is delivered again") {
                try await bed.strings("KEYS", "k:*").count == 2
            }
            try await eventually("it was counted") {
                try run.metrics(port).samples[#"millrace_rewinds_total{pipeline="ready",sink="keys"}"#] == 1
            }

            // It is there and says nothing.
            bed.redis.process.suspend()
            try await bed.withWriter { try await $0.create("/t/c", "{\"v\": 3}") }
            try await run.becomes(ready: false, "ready: sink keys: no progress for ")
            #expect(try run.sinks(port)[0]["lag"] as? Int == 1)
            #expect(
                try run.metrics(port).samples[#"millrace_lag_seconds{pipeline="ready",sink="keys"}"#] ?? 0 > 0
            )
            bed.redis.process.resume()
            try await run.becomes(ready: true)

            bed.zookeeper.kill()
            try await run.becomes(ready: false, "ready: ZooKeeper: ")
            try await bed.zookeeper.restart()
            try await run.becomes(ready: true)
            let samples = try run.metrics(port).samples
            #expect(samples[#"millrace_reconnects_total{pipeline="ready"}"#] ?? 0 > 0)
            #expect(samples[#"millrace_resyncs_total{pipeline="ready"}"#] ?? 0 > 0)
            #expect(try await run.stop() == 0)
        }
    }

    @Test func nodesOfAClusterAreTold() async throws {
        try await TestBed.with(.cluster) { bed in
            let cluster = try #require(bed.cluster)
            let file = try bed.definition(
                WatchingTests.pipeline("spread", sinks: WatchingTests.keys + "\n" + WatchingTests.events))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for id in 0..<60 { try await writer.create("/t/n\(id)", "{\"id\": \(id)}") }
            }
            let run = try bed.millrace("run", "--http", "0", file)
            let port = try await run.httpPort()
            try await run.becomes(ready: true)
            try await eventually("three nodes without lag") {
                try run.sinks(port).allSatisfy { sink in
                    let nodes = sink["nodes"] as? [[String: Any]] ?? []
                    return nodes.count == 3 && sink["lag"] as? Int == 0
                        && nodes.allSatisfy { $0["lag"] as? Int == 0 && $0["current_offset"] as? Int == 61 }
                }
            }
            let nodes = try run.sinks(port)[0]["nodes"] as? [[String: Any]] ?? []
            #expect(
                Set(nodes.compactMap { $0["node"] as? String })
                    == Set(cluster.servers.map { "127.0.0.1:\($0.port)" }))
            // One of them goes, with nothing written: it is missed all the same.
            cluster.servers[2].process.suspend()
            try await run.becomes(ready: false, "spread: sink ")
            cluster.servers[2].process.resume()
            try await run.becomes(ready: true)
            #expect(try await run.stop() == 0)
        }
    }

    @Test func aStartWithoutServersIsTold() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(WatchingTests.pipeline("late", sinks: WatchingTests.keys))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/a", "{\"v\": 1}")
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            bed.redis.kill()
            let nowhere = "127.0.0.1:\(try freePort())"
            let run = try bed.millrace(
                "run", "--wait", "--http", "0", file, environment: ["ZOOKEEPER": nowhere])
            let port = try await run.httpPort()
            try await run.becomes(ready: false, "late: ZooKeeper: no connection to \(nowhere)")
            try await run.becomes(ready: false, "late: sink keys: 127.0.0.1:\(bed.redis.port)")
            try await run.becomes(ready: false, "late: the tree is being read")
            let samples = try run.metrics(port).samples
            #expect(samples[#"millrace_zookeeper_connected{pipeline="late"}"#] == 0)
            #expect(samples[#"millrace_log_end_offset{pipeline="late"}"#] == 2)
            // Nobody knows.
            #expect(samples[#"millrace_lag_events{pipeline="late",sink="keys"}"#] == nil)
            #expect(try run.sinks(port)[0]["current_offset"] is NSNull)
            try await bed.redis.restart()
            try await eventually("the sink is no reason any more") {
                try !HTTPProbe.get("/ready", port: port).body.contains("sink keys")
            }
            #expect(try HTTPProbe.get("/ready", port: port).status == 503)
            #expect(try await run.stop() == 0)
        }
    }

    @Test func aTakenPortIsNamedBeforeAnythingBegins() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(WatchingTests.pipeline("taken", sinks: WatchingTests.keys))
            let run = try bed.millrace("run", "--http", ":\(bed.redis.port)", file)
            #expect(try await run.exit() == 3)
            #expect(run.errors.contains("--http 127.0.0.1:\(bed.redis.port): another process listens there"))
            #expect(!FileManager.default.fileExists(atPath: bed.dataDirectory))
            #expect(try await bed.millrace("run", "--http", "nowhere", file).exit() == 64)
        }
    }

    /// It serves until the end, and the end comes without anybody's doing.
    @Test func itEndsWithThePipeline() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(WatchingTests.pipeline("short", sinks: WatchingTests.keys))
            try await bed.withWriter { try await $0.create("/t", "") }
            let run = try bed.millrace("run", "--http", "0", "--until-caught-up", file)
            #expect(try await run.exit() == 0)
            #expect(run.errors.contains("watch it over HTTP"))
        }
    }
}

extension MillraceProcess {
    /// Of `--http` with port 0, once it listens.
    func httpPort() async throws -> Int {
        var port: Int?
        try await eventually("it listens") {
            port = errors.firstMatch(of: /http:\/\/127\.0\.0\.1:(\d+)\//).flatMap { Int($0.output.1) }
            return port != nil
        }
        return try #require(port, "\(errors)")
    }

    /// Waits until `/ready` answers so, with a reason that begins with the text.
    fileprivate func becomes(
        ready: Bool, _ reason: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let port = try await httpPort()
        var last = ""
        try await eventually(
            "ready: \(ready) \(reason)", within: .seconds(40), sourceLocation: sourceLocation
        ) {
            let answer = try HTTPProbe.get("/ready", port: port)
            last = "\(answer.status) \(answer.body)"
            if ready { return answer.status == 200 }
            return answer.status == 503
                && answer.body.split(separator: "\n").contains { $0.hasPrefix(reason) }
        }
        let isSo = last.hasPrefix(ready ? "200" : "503")
        #expect(isSo, "\(last)\n\(errors.suffix(2000))", sourceLocation: sourceLocation)
    }

    fileprivate func metrics(_ port: Int) throws -> MetricsText {
        try MetricsText(parsing: try HTTPProbe.get("/metrics", port: port).body)
    }

    fileprivate func status(_ port: Int) throws -> [String: Any] {
        let answer = try HTTPProbe.get("/status", port: port)
        #expect(answer.status == 200)
        let document = try JSONSerialization.jsonObject(with: Data(answer.body.utf8))
        return try #require(document as? [String: Any])
    }

    /// Of the first pipeline.
    fileprivate func sinks(_ port: Int) throws -> [[String: Any]] {
        let pipelines = try #require(try status(port)["pipelines"] as? [[String: Any]])
        return try #require(pipelines.first?["sinks"] as? [[String: Any]])
    }
}
