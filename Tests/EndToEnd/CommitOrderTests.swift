import Foundation
import TestServers
import Testing
import ZooKeeperClient

/// What an observer knows beside the values: `id: zxid` and `before`, with the program and real servers.
@Suite(.serialized) struct CommitOrderTests {
    private static func pipeline(_ name: String, capture: String = "observer", more: String = "") -> String {
        """
        name: \(name)
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], capture: \(capture), quorum: "${QUORUM}"\(more)}
        log: {directory: "${MILLRACE_DATA}"}
        sinks:
          changes: {redis: "${REDIS}", write: stream, key: "\(name)", id: zxid}
        """
    }

    /// Two programs with logs of their own, one killed again and again, and one whose log and checkpoint are lost: every
    /// transaction is in each stream once, under the same ID.
    @Test func streamsOfTwoInstancesAreTheSame() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let steady = try bed.definition(CommitOrderTests.pipeline("steady"))
            let shaken = try bed.definition(CommitOrderTests.pipeline("shaken"))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<8 { try await writer.create("/t/n\(index)", "") }
            }
            for file in [steady, shaken] { _ = try await bed.output("run", "--until-caught-up", file) }
            let first = try await bed.stream("shaken")
            #expect(first.count == 9 && Set(first.map { $0.id.split(separator: "-")[0] }).count == 1)
            let writing = Task { try await CommitOrderTests.write(bed) }
            let run = try bed.millrace("run", steady)
            for _ in 0..<6 {
                let run = try bed.millrace("run", shaken)
                try await Task.sleep(for: .milliseconds(Int.random(in: 200...700)))
                run.process.kill()
                _ = try await run.exit()
            }
            try await writing.value
            _ = try await bed.output("run", "--until-caught-up", shaken)
            try await eventually("all of it arrives") {
                try await bed.stream("steady").count == 9 + 8 * 121 + 240
            }
            #expect(try await run.stop() == 0)
            let live = try await bed.stream("steady").filter { $0.fields["op"] != "r" }
            let other = try await bed.stream("shaken").filter { $0.fields["op"] != "r" }
            #expect(live.count == 8 * 121 + 240 && live.map(\.id) == other.map(\.id))
            #expect(live.map(\.fields) == other.map(\.fields))
            for entry in live {
                let parts = entry.id.split(separator: "-")
                #expect(entry.fields["zxid"] == String(parts[0]))
                #expect(UInt64(parts[1]).map { $0 % 1024 } == 0)
            }
            // Of a multi each part has its place.
            #expect(Set(live.map { $0.id.split(separator: "-")[1] }) == ["0", "1024", "2048"])

            // Delivered again from the log's start: nothing is there twice.
            let whole = try await bed.stream("shaken")
            _ = try await bed.redis("DEL", "millrace:shaken:changes")
            _ = try await bed.output("run", "--until-caught-up", shaken)
            #expect(try await bed.stream("shaken").map(\.id) == whole.map(\.id))

            // A log that is lost is begun anew: behind what is there, whatever the zxid of its snapshot.
            try FileManager.default.removeItem(atPath: bed.dataDirectory + "/shaken")
            _ = try await bed.output("run", "--until-caught-up", shaken)
            let rebuilt = try await bed.stream("shaken")
            #expect(rebuilt.prefix(whole.count).map(\.id) == whole.map(\.id))
            #expect(Set(rebuilt.dropFirst(whole.count).compactMap { $0.fields["path"] }).count == 9)
            // The checkpoint too, while nothing is committed: what is told again lies behind the last transaction.
            try await bed.withWriter { try await $0.set("/t/n0", "idle") }
            _ = try await bed.output("run", "--until-caught-up", shaken)
            let before = try await bed.stream("shaken").count
            _ = try await bed.redis("DEL", "millrace:shaken:changes")
            try FileManager.default.removeItem(atPath: bed.dataDirectory + "/shaken")
            _ = try await bed.output("run", "--until-caught-up", shaken)
            #expect(try await bed.stream("shaken").count == before + 9)
            try await bed.withWriter { try await $0.set("/t/n0", "last") }
            _ = try await bed.output("run", "--until-caught-up", shaken)
            #expect(try await bed.stream("shaken").last?.fields["data"] == "last")
        }
    }

    /// What leaves the scope is deleted at once, in several batches: a search for their zxid finds the first.
    @Test func manyDeletesOfOneComparisonAreFound() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let data = Array(repeating: UInt8(ascii: "x"), count: 400_000)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/keep", "")
                for index in 0..<8 { try await writer.create("/t/n\(index)", data: data) }
            }
            let wide = CommitOrderTests.pipeline("many", more: ", before: true")
            _ = try await bed.output("run", "--until-caught-up", try bed.definition(wide))
            let last = try await bed.withWriter { try await $0.setData("/t/keep", data: [1]).mzxid }
            let narrow = wide.replacing("paths: [/t]", with: "paths: [/t/keep]")
            let file = try bed.definition(narrow)
            _ = try await bed.output("run", "--until-caught-up", "--scope-deletes", file)
            let log = bed.dataDirectory + "/many"
            let found = try await bed.output("log", "dump", log, "--from", "zxid:\(last)", "--op", "d")
            #expect(found.split(separator: "\n").count == 9)
        }
    }

    /// A second program with a log of its own, which began later, takes over where the first one has come.
    @Test func anotherInstanceTakesOver() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let file = try bed.definition(CommitOrderTests.pipeline("taken"))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/a", "0")
            }
            let first = try bed.millrace("run", file)
            try await eventually("the snapshot arrives") { try await bed.stream("taken").count == 2 }
            try await bed.withWriter { writer in
                for round in 1...20 { try await writer.set("/t/a", "\(round)") }
            }
            // To another place, until it is its turn.
            let second = ["MILLRACE_DATA": bed.directory.path + "/second"]
            let elsewhere = second.merging(["REDIS": bed.redisURL.replacing("/0", with: "/1")]) { $1 }
            let waiting = try bed.millrace("run", file, environment: elsewhere)
            try await eventually("the second one has the tree") {
                waiting.errors.contains("connected") || waiting.errors.contains("the tree is read")
            }
            try await bed.withWriter { writer in
                for round in 21...40 { try await writer.set("/t/a", "\(round)") }
            }
            try await eventually("all of it arrives") { try await bed.stream("taken").count == 42 }
            #expect(try await first.stop() == 0)
            #expect(try await waiting.stop() == 0)
            try await bed.withWriter { writer in
                for round in 41...60 { try await writer.set("/t/a", "\(round)") }
            }
            let taking = try bed.millrace(
                "run", "--take-over", "--until-caught-up", file, environment: second)
            #expect(try await taking.exit() == 0, "\(taking.errors)")
            let entries = try await bed.stream("taken")
            #expect(
                entries.filter { $0.fields["op"] == "u" }.compactMap { $0.fields["data"].flatMap { Int($0) } }
                    == Array(1...60))
            // What its snapshot told was told before; both nodes are told once more behind it.
            #expect(entries.count == 64)
            let letters = try bed.millrace("dead-letters", "list", file, environment: second)
            #expect(try await letters.exit() == 0 && letters.output.contains("no dead letters"))
        }
    }

    /// A snapshot of several batches: none of them is stepped over by a search for a transaction.
    @Test func aTransactionIsFoundInALargeSnapshot() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let data = Array(repeating: UInt8(ascii: "x"), count: 400_000)
            let first = try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<8 { try await writer.create("/t/n\(index)", data: data) }
                return try await writer.exists("/t/n0")?.mzxid ?? 0
            }
            let file = try bed.definition(CommitOrderTests.pipeline("large"))
            _ = try await bed.output("run", "--until-caught-up", file)
            let log = bed.dataDirectory + "/large"
            let found = try await bed.output("log", "dump", log, "--from", "zxid:\(first)")
            #expect(found.split(separator: "\n").count == 8)
        }
    }

    /// 8 nodes are set 121 times; 80 multis make, set and remove a node: 240 changes.
    private static func write(_ bed: TestBed) async throws {
        try await bed.withWriter { writer in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        for round in 0...120 {
                            try await writer.set("/t/n\(index)", "\(round)")
                            if round % 12 == 0, round < 120 {
                                let path = "/t/m\(index)-\(round)"
                                _ = try await writer.multi([
                                    .create(path: path, data: [1]),
                                    .setData(path: path, data: [2], version: 0),
                                    .delete(path: path, version: 1),
                                ])
                            }
                            try await Task.sleep(for: .milliseconds(20))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// The data before each change, through restarts, by watches too.
    @Test(arguments: ["observer", "watch"])
    func whatWasThereBeforeIsTold(capture: String) async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let base = """
                name: told
                source:
                  zookeeper:
                    connect: "${ZOOKEEPER}"
                    paths: [/t]
                    capture: \(capture)
                    \(capture == "watch" ? "" : "quorum: \"${QUORUM}\"")
                    before: BEFORE
                log: {directory: "${MILLRACE_DATA}"}
                sinks:
                  changes: {redis: "${REDIS}", write: stream, key: "told", envelope: true}
                """
            let without = try bed.definition(base.replacing("BEFORE", with: "false"))
            let with = try bed.definition(base.replacing("BEFORE", with: "true"))
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for name in ["a", "b"] { try await writer.create("/t/\(name)", "0") }
            }
            _ = try await bed.output("run", "--until-caught-up", without)
            try await bed.withWriter { try await $0.set("/t/a", "1") }
            _ = try await bed.output("run", "--until-caught-up", without)
            // Asked for from here on: what the log has of each node is read back.
            for value in ["2", "3"] {
                try await bed.withWriter { try await $0.set("/t/a", value) }
                _ = try await bed.output("run", "--until-caught-up", with)
            }
            try await bed.withWriter { writer in
                try await writer.set("/t/b", "1")
                try await writer.delete("/t/a")
            }
            _ = try await bed.output("run", "--until-caught-up", with)
            let told = try await bed.stream("told").compactMap { entry -> String? in
                guard let json = entry.fields.values.first(where: { $0.hasPrefix("{") }),
                    let object = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any],
                    let source = object["source"] as? [String: Any], let path = source["path"] as? String,
                    object["op"] as? String != "r"
                else { return nil }
                let values = ["before", "after"].map { object[$0] as? String ?? "null" }
                return "\(path) \(values.joined(separator: " "))"
            }
            #expect(
                told.sorted() == [
                    "/t/a 1 2", "/t/a 2 3", "/t/a 3 null", "/t/a null 1", "/t/b 0 1",
                ])
            // Exported in its own form.
            let exported = try await bed.output("log", "export", bed.dataDirectory + "/told")
            #expect(exported.contains("\"before\":\"2\"") && !exported.contains("\"payload\""))
            #expect(exported.contains("\"placed\":[") == (capture == "observer"))
        }
    }
}
