import RedisClient
import TestServers
import Testing
import ZooKeeperClient

/// `dedupe` and `throttle`, from znodes to keys.
@Suite struct StatefulStageTests {
    private static let pipeline = """
        name: stateful
        source:
          zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}
        log: {directory: "${MILLRACE_DATA}"}
        transform: [dedupe: true, throttle: 1h]
        sinks:
          keys: {redis: "${REDIS}", write: string, key: "k:{path}"}
        """

    /// Neither an orderly end nor a kill loses what is held back, and until then it does not count as delivered.
    @Test func whatIsHeldBackArrivesInTheEnd() async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(StatefulStageTests.pipeline)
            try await bed.withWriter { try await $0.create("/t", "1") }
            func checkpoint() throws -> (sent: Int, confirmed: Int) {
                let numbers = try bed.redis.cli("HMGET", "millrace:stateful:keys", "p", "c").split(
                    separator: "\n"
                )
                .compactMap { Int($0) }
                return numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
            }
            func heldBack() async throws -> Bool {
                for _ in 0..<200 {
                    let (sent, confirmed) = try checkpoint()
                    if sent > confirmed, confirmed > 0 { return true }
                    try await Task.sleep(for: .milliseconds(50))
                }
                return false
            }
            let first = try bed.millrace("run", file)
            for _ in 0..<200 where try bed.redis.cli("GET", "k:/t") != "1" {
                try await Task.sleep(for: .milliseconds(50))
            }
            try await bed.withWriter { try await $0.set("/t", "2") }
            #expect(try await heldBack())
            #expect(try bed.redis.cli("GET", "k:/t") == "1")
            first.process.kill()
            _ = try await first.exit()
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try bed.redis.cli("GET", "k:/t") == "2")
            let (sent, confirmed) = try checkpoint()
            #expect(sent == confirmed)

            let second = try bed.millrace("run", file)
            try await bed.withWriter { try await $0.set("/t", "3") }
            for _ in 0..<200 where try bed.redis.cli("GET", "k:/t") != "3" {
                try await Task.sleep(for: .milliseconds(50))
            }
            try await bed.withWriter { try await $0.set("/t", "4") }
            #expect(try await heldBack())
            #expect(try bed.redis.cli("GET", "k:/t") == "3")
            #expect(try await second.stop() == 0)
            #expect(try bed.redis.cli("GET", "k:/t") == "4")
        }
    }

    /// The markers of a cluster do not pass what is held back.
    @Test func whatIsHeldBackArrivesInACluster() async throws {
        try await TestBed.with(.cluster) { bed in
            let file = try bed.definition(StatefulStageTests.pipeline)
            try await bed.withWriter { try await $0.create("/t", "1") }
            let run = try bed.millrace("run", file)
            try await eventually("the first value") { try await bed.redis("GET", "k:/t").string == "1" }
            try await bed.withWriter { writer in
                try await writer.set("/t", "2")
                for number in 0..<20 { try await writer.create("/t/\(number)", "x") }
            }
            try await eventually("what comes behind it") {
                try await bed.redis("EXISTS", "k:/t/19") == .integer(1)
            }
            // So long that the markers are written.
            try await Task.sleep(for: .seconds(2))
            #expect(try await bed.redis("GET", "k:/t").string == "1")
            run.process.kill()
            _ = try await run.exit()
            _ = try await bed.output("run", "--until-caught-up", file)
            #expect(try await bed.redis("GET", "k:/t").string == "2")
        }
    }
}
