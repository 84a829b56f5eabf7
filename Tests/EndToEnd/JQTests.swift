import Foundation
import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// jq, which runs in a process of its own, in a pipeline.
@Suite struct JQTests {
    private static let pipeline = """
        name: dates
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform:
          - rules: [{match: "/t/{id}", decode: json, jq: "{at: (.at | todate)}"}]
        sinks:
          hashes: {redis: "${REDIS}", write: hash, key: "h:{id}"}
        """

    @Test func whatCrashesJQIsADeadLetterAndAllElseArrives() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(JQTests.pipeline)
            let run = try bed.millrace("run", file)
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<20 {
                    // jq 1.6 ends its process for more than 64 bits of seconds.
                    let seconds = index == 10 ? "1700000000000000000" : "\(index)"
                    try await writer.create("/t/n\(index)", "{\"at\":\(seconds)}")
                }
            }
            for index in 0..<20 where index != 10 {
                try await eventually("n\(index) arrives") {
                    try await bed.hash("h:n\(index)")
                        == ["at": String(format: "1970-01-01T00:00:%02dZ", index)]
                }
            }
            #expect(try await run.stop() == 0, "\(run.errors)")
            #expect(try await bed.redis("EXISTS", "h:n10").int == 0)
            let letters = try await bed.output("dead-letters", "list", file)
            #expect(letters.hasSuffix("\n1 dead letter\n") && letters.contains("/t/n10"), "\(letters)")
            #expect(try await bed.output("dead-letters", "list", file, "--json").contains("jq has crashed"))
        }
    }

    @Test func theWorkerEndsWithTheProgram() async throws {
        try await TestBed.with { bed in
            let run = try bed.millrace("run", try bed.definition(JQTests.pipeline))
            try await eventually("there is a worker") { JQTests.workers(of: run).count == 1 }
            let worker = try #require(JQTests.workers(of: run).first)
            run.process.kill()
            _ = try await run.exit()
            try await eventually("it is gone") {
                let status = try? String(contentsOfFile: "/proc/\(worker)/status", encoding: .utf8)
                return status?.contains("State:\tZ") ?? true
            }
        }
    }

    @Test func aDefinitionWithoutJQStartsNone() async throws {
        try await TestBed.with { bed in
            let text = JQTests.pipeline.replacingOccurrences(of: ", jq: \"{at: (.at | todate)}\"", with: "")
            let run = try bed.millrace("run", try bed.definition(text))
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            #expect(JQTests.workers(of: run) == [])
            #expect(try await run.stop() == 0)
        }
    }

    @Test func theWorkerIsForTheProgramItself() async throws {
        try await TestBed.with { bed in
            let worker = try bed.millrace("jq-worker")
            #expect(try await worker.exit() == 64)
            #expect(worker.errors.contains("is started by millrace itself"))
            #expect(try await bed.output("--help").contains("jq-worker") == false)
        }
    }

    /// Process ids of children that are workers.
    private static func workers(of run: MillraceProcess) -> [Int] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap(Int.init).filter { identifier in
            guard
                let command = try? String(
                    contentsOfFile: "/proc/\(identifier)/cmdline", encoding: .utf8),
                let status = try? String(contentsOfFile: "/proc/\(identifier)/status", encoding: .utf8)
            else { return false }
            return command.contains("\0jq-worker\0")
                && status.contains("\nPPid:\t\(run.process.processIdentifier)\n")
        }
    }
}
