import Foundation
import RedisClient
import TestRandom
import TestServers
import Testing
import ZooKeeperClient

/// What a restart, orderly or not, keeps and finds.
@Suite(.serialized) struct RestartTests {
    private static let pipeline = """
        name: restart
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
          changes: {redis: "${REDIS}", write: stream, key: "changes"}
        """

    @Test func changesMadeMeanwhileArriveWithoutANewSnapshot() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(RestartTests.pipeline)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<100 { try await writer.create("/t/n\(index)", "1") }
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.stream("changes").count == 101)
            try await bed.withWriter { writer in
                try await writer.set("/t/n1", "2")
                try await writer.delete("/t/n2")
                try await writer.delete("/t/n3")
                try await writer.create("/t/n3", "again")
                try await writer.create("/t/new", "new")
            }
            _ = try await bed.output("run", "--until-caught-up", file)
            let fresh = try await bed.stream("changes").dropFirst(101)
            #expect(
                Set(fresh.map { "\($0.fields["op"] ?? "") \($0.fields["path"] ?? "")" })
                    == ["u /t/n1", "d /t/n2", "d /t/n3", "c /t/n3", "c /t/new"])
            #expect(fresh.count == 5)
            #expect(try await bed.redis("GET", "k:/t/n1").string == "2")
            #expect(try await bed.redis("GET", "k:/t/n2").string == nil)
            #expect(try await bed.redis("GET", "k:/t/n3").string == "again")
        }
    }

    @Test func killedAtRandomMomentsNothingIsLostOrTwice() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(RestartTests.pipeline)
            try await bed.withWriter { try await $0.create("/t", "") }
            let seed = UInt64.random(in: 0...UInt64.max)
            print("seed \(seed)")
            var random = SeededGenerator(seed: seed)
            let writing = Task {
                try await bed.withWriter { writer in
                    for index in 0..<3000 {
                        let path = "/t/n\(index % 200)"
                        if index < 200 {
                            try await writer.create(path, "\(index)")
                        } else {
                            try await writer.set(path, "\(index)")
                        }
                    }
                }
            }
            for _ in 0..<8 {
                let run = try bed.millrace("run", file)
                try await Task.sleep(for: .milliseconds(Int.random(in: 20...600, using: &random)))
                run.process.kill()
                _ = try await run.exit()
            }
            try await writing.value
            _ = try await bed.output("run", "--until-caught-up", file)

            var last: [String: String] = [:]
            var versions: [String: [Int]] = [:]
            for entry in try await bed.stream("changes") {
                let path = entry.fields["path"] ?? ""
                last[path] = entry.fields["data"]
                versions[path, default: []].append(entry.fields["version"].flatMap { Int($0) } ?? -1)
            }
            for index in 0..<200 {
                let path = "/t/n\(index)"
                #expect(last[path] == "\(2800 + index)")
                #expect(try await bed.redis("GET", "k:\(path)").string == "\(2800 + index)")
                let seen = versions[path] ?? []
                #expect(zip(seen, seen.dropFirst()).allSatisfy { $0 < $1 }, "\(path): \(seen)")
            }
        }
    }

    @Test func aRestartedRedisWithoutPersistenceIsFilledAgain() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(RestartTests.pipeline)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<50 { try await writer.create("/t/n\(index)", "1") }
            }
            let run = try bed.millrace("run", file)
            try await eventually("the snapshot arrives") {
                try await bed.redis("GET", "k:/t/n49").string == "1"
            }
            bed.redis.kill()
            try await bed.redis.restart()
            try await bed.withWriter { try await $0.create("/t/after", "2") }
            try await eventually("everything arrives again") {
                let after = try await bed.redis("GET", "k:/t/after").string
                let before = try await bed.redis("GET", "k:/t/n49").string
                return after == "2" && before == "1"
            }
            #expect(try await run.stop() == 0)
            #expect(try await bed.stream("changes").count == 52)
        }
    }

    @Test func untilCaughtUpCanBeStoppedBefore() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(RestartTests.pipeline)
            try await bed.withWriter { try await $0.create("/t", "1") }
            _ = try await bed.output("run", "--until-caught-up", file)
            bed.redis.kill()
            let run = try bed.millrace("run", "--until-caught-up", file)
            try await eventually("it waits for Redis") { run.errors.contains("the tree is read") }
            #expect(try await run.stop() == 0)
        }
    }

    @Test func aRestartedZooKeeperIsFollowed() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(RestartTests.pipeline)
            try await bed.withWriter { try await $0.create("/t", "1") }
            let run = try bed.millrace("run", file)
            try await eventually("the first arrives") { try await bed.redis("GET", "k:/t").string == "1" }
            try await bed.zookeeper.restart()
            try await bed.withWriter { try await $0.create("/t/after", "2") }
            try await eventually("the next arrives") {
                try await bed.redis("GET", "k:/t/after").string == "2"
            }
            #expect(try await run.stop() == 0)
        }
    }

    @Test func aSecondProcessIsKeptOut() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(RestartTests.pipeline)
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            let second = try bed.millrace("run", file)
            #expect(try await second.exit() == 3)
            #expect(second.errors.contains("\(run.process.processIdentifier)"), "\(second.errors)")
            // With a log of its own it is a take-over, and the first one stops.
            let third = try bed.millrace(
                "run", "--take-over", file, environment: ["MILLRACE_DATA": bed.directory.path + "/other"])
            #expect(try await run.exit() == 1)
            #expect(run.errors.contains("has taken it over"), "\(run.errors)")
            #expect(try await third.stop() == 0)
        }
    }
}
