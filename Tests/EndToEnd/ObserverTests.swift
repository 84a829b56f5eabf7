import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// `capture: observer`: every committed transaction, through kills of the program and of leaders.
@Suite(.serialized) struct ObserverTests {
    private static func pipeline(_ capture: String = "observer") -> String {
        """
        name: observed
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t], capture: \(capture), quorum: "${QUORUM}"}
        log: {directory: "${MILLRACE_DATA}"}
        sinks:
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """
    }

    private func versions(_ bed: TestBed, of path: String) async throws -> [Int] {
        try await bed.stream("changes").filter { $0.fields["path"] == path && $0.fields["op"] != "r" }
            .compactMap { $0.fields["version"].flatMap { Int($0) } }
    }

    /// Each set of a node waits for nothing: a watch sees few of them.
    @Test func everyValueOfANodeArrives() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let file = try bed.definition(ObserverTests.pipeline())
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/n", "0")
            }
            let run = try bed.millrace("run", file)
            try await eventually("the snapshot arrives") { try await bed.stream("changes").count == 2 }
            let count = 3000
            try await bed.withWriter { writer in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for task in 0..<30 {
                        group.addTask {
                            for index in 0..<count / 30 { try await writer.set("/t/n", "\(task) \(index)") }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            try await eventually("every value arrives") {
                try await versions(bed, of: "/t/n").count == count
            }
            #expect(try await versions(bed, of: "/t/n") == Array(1...count))
            #expect(try await run.stop() == 0)
            let zxids = try await bed.stream("changes").compactMap { $0.fields["zxid"].flatMap { Int64($0) } }
            #expect(zip(zxids, zxids.dropFirst()).allSatisfy { $0 < $1 })
        }
    }

    @Test func sessionsThatEndTakeTheirNodesWithThem() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let file = try bed.definition(ObserverTests.pipeline())
            try await bed.withWriter { try await $0.create("/t", "") }
            let run = try bed.millrace("run", file)
            try await eventually("the snapshot arrives") { try await bed.stream("changes").count == 1 }
            try await bed.withWriter { writer in
                for name in ["b", "a"] {
                    _ = try await writer.create("/t/\(name)", data: [], mode: .ephemeral)
                }
            }
            try await eventually("their ends arrive") { try await bed.stream("changes").count == 5 }
            let ends = try await bed.stream("changes").suffix(2)
            #expect(
                ends.map { "\($0.fields["op"] ?? "") \($0.fields["path"] ?? "")" } == ["d /t/a", "d /t/b"])
            #expect(Set(ends.map { $0.fields["zxid"] }).count == 1)
            #expect(try await run.stop() == 0)
        }
    }

    @Test func killedAtRandomMomentsNothingIsMissingOrTwice() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let file = try bed.definition(ObserverTests.pipeline())
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<20 { try await writer.create("/t/n\(index)", "") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            let seed = UInt64.random(in: 0...UInt64.max)
            print("seed \(seed)")
            var random = SeededGenerator(seed: seed)
            let writing = Task { try await ObserverTests.write(bed, rounds: 150) }
            var errors = ""
            for _ in 0..<8 {
                let run = try bed.millrace("run", file)
                try await Task.sleep(for: .milliseconds(Int.random(in: 100...900, using: &random)))
                run.process.kill()
                _ = try await run.exit()
                errors += run.errors
            }
            try await writing.value
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(!errors.contains("history is gone"))
            for index in 0..<20 {
                #expect(try await versions(bed, of: "/t/n\(index)").filter { $0 > 0 } == Array(1...150))
            }
        }
    }

    /// - Parameter rounds: how often each of the twenty nodes is set.
    private static func write(_ bed: TestBed, rounds: Int) async throws {
        try await bed.withWriter { writer in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<20 {
                    group.addTask {
                        for round in 0..<rounds {
                            try await writer.set("/t/n\(index)", "\(round)")
                            try await Task.sleep(for: .milliseconds(20))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// A write whose answer is lost may have been done: only what is acknowledged has to be there.
    @Test func leadersComeAndGo() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            let ensemble = try #require(bed.ensemble)
            let file = try bed.definition(ObserverTests.pipeline())
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<8 { try await writer.create("/t/n\(index)", "") }
            }
            let run = try bed.millrace("run", file)
            try await eventually("the snapshot arrives") { try await bed.stream("changes").count == 9 }
            let isOver = Task { try await Task.sleep(for: .seconds(3600)) }
            let writing = Task {
                try await bed.withWriter { writer in
                    await withTaskGroup(of: [String].self) { group in
                        for index in 0..<8 {
                            group.addTask {
                                var acknowledged: [String] = []
                                var value = 0
                                while !isOver.isCancelled {
                                    value += 1
                                    do {
                                        try await writer.set("/t/n\(index)", "\(value)")
                                        acknowledged.append("/t/n\(index) \(value)")
                                    } catch {
                                        try? await Task.sleep(for: .milliseconds(100))
                                    }
                                }
                                return acknowledged
                            }
                        }
                        var all: [String] = []
                        for await part in group { all += part }
                        return all
                    }
                }
            }
            for _ in 0..<3 {
                try await Task.sleep(for: .seconds(1))
                let leader = try #require(ensemble.leader)
                leader.kill()
                try await eventually("another one leads") {
                    ensemble.leader != nil && ensemble.leader !== leader
                }
                try await leader.restart()
            }
            try await Task.sleep(for: .seconds(1))
            isOver.cancel()
            let acknowledged = try await writing.value
            try await bed.withWriter { try await $0.create("/t/end", "") }
            try await eventually("all of it arrives", within: .seconds(60)) {
                try await bed.redis("XREVRANGE", "changes", "+", "-", "COUNT", "1").array?
                    .compactMap(StreamEntry.init).first?.fields["path"] == "/t/end"
            }
            let entries = try await bed.stream("changes")
            let arrived = entries.map { "\($0.fields["path"] ?? "") \($0.fields["data"] ?? "")" }
            let missing = Set(acknowledged).subtracting(arrived)
            #expect(missing.isEmpty)
            let zxids = entries.dropFirst(9).compactMap { $0.fields["zxid"].flatMap { Int64($0) } }
            #expect(zip(zxids, zxids.dropFirst()).allSatisfy { $0 < $1 })
            for index in 0..<8 {
                let versions = try await versions(bed, of: "/t/n\(index)")
                #expect(versions == Array(1...max(versions.count, 1)))
            }
            print("\(acknowledged.count) acknowledged, \(entries.count) arrived, \(missing.count) missing")
            #expect(try await run.stop() == 0)
        }
    }

    @Test func withoutAQuorumPortThereIsTheWatchOrAnError() async throws {
        try await TestBed.with { bed in
            try await bed.withWriter { try await $0.create("/t", "") }
            let quorum = ["QUORUM": "127.0.0.1:\(try freePort())"]
            let strict = try bed.millrace(
                "run", try bed.definition(ObserverTests.pipeline()), environment: quorum)
            #expect(try await strict.exit() == 3)
            #expect(strict.errors.contains("no leader's quorum port at 127.0.0.1:"))
            let lenient = try bed.millrace(
                "run", try bed.definition(ObserverTests.pipeline("auto")), environment: quorum)
            try await eventually("the snapshot arrives") { try await bed.stream("changes").count == 1 }
            #expect(lenient.errors.contains("captures by watches"))
            #expect(try await lenient.stop() == 0)
            // Not named either: a server alone has none.
            let asked = try bed.millrace(
                "run", try bed.definition(ObserverTests.withoutQuorum(ObserverTests.pipeline())))
            #expect(try await asked.exit() == 3)
            #expect(asked.errors.contains("names no quorum port in /zookeeper/config"))
            _ = try await bed.output(
                "run", "--until-caught-up",
                try bed.definition(ObserverTests.withoutQuorum(ObserverTests.pipeline("auto"))))
        }
    }

    private static func withoutQuorum(_ definition: String) -> String {
        definition.replacing(", quorum: \"${QUORUM}\"", with: "")
    }

    /// From watches to an observer, whose quorum the ensemble names or the definition, and back: what happened in between is compared, nothing comes twice.
    @Test func theCaptureModeMayChange() async throws {
        try await TestBed.with(.observedEnsemble) { bed in
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                try await writer.create("/t/a", "")
            }
            var expected = 2
            for (round, capture) in ["watch", "observer", "watch", "observer", "auto"].enumerated() {
                var definition = ObserverTests.pipeline(capture)
                if round != 1 { definition = ObserverTests.withoutQuorum(definition) }
                let run = try bed.millrace("run", "--until-caught-up", try bed.definition(definition))
                #expect(try await run.exit() == 0)
                #expect(run.errors.contains("names its quorum ports") == (round > 2))
                #expect(try await bed.stream("changes").count == expected, "\(round) \(capture)")
                try await bed.withWriter { try await $0.set("/t/a", "\(round)") }
                expected += 1
            }
        }
    }
}
