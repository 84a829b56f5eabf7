import Foundation
import TestServers
import Testing
import ZooKeeperClient

/// Retention in the background of a running pipeline, and what `log stat` shows of it.
@Suite(.serialized) struct RetentionTests {
    private static func pipeline(_ retain: String) -> String {
        """
        name: kept
        source: {zookeeper: {connect: "${ZOOKEEPER}", paths: [/t]}}
        log: {directory: "${MILLRACE_DATA}", segment: 4KiB, retain: {\(retain)}}
        sinks: {keys: {redis: "${REDIS}", write: string, key: "k:{path}"}}
        """
    }

    private static func stat(_ bed: TestBed) async throws -> [String: Any] {
        let text = try await bed.output("log", "stat", bed.dataDirectory + "/kept", "--json")
        return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test(arguments: ["bytes: 8KiB", "age: 1s"])
    func segmentsGoBehindTheSlowestSink(_ retain: String) async throws {
        try await TestBed.with { bed in
            let file = try bed.definition(RetentionTests.pipeline(retain))
            let run = try bed.millrace("run", file)
            try await eventually("it runs") { run.errors.contains("the tree is read") }
            try await bed.withWriter { writer in
                try await writer.create("/t", "")
                for index in 0..<50 { try await writer.create("/t/n\(index)", UUID().uuidString) }
            }
            try await eventually("the first arrive") { try await bed.strings("KEYS", "k:*").count == 51 }
            // The sink takes nothing for a while, and the log grows far beyond what is to be kept.
            _ = try await bed.redis("CLIENT", "PAUSE", "8000", "ALL")
            try await bed.withWriter { writer in
                for round in 0..<40 {
                    for index in 0..<50 {
                        try await writer.set("/t/n\(index)", "\(round) \(UUID().uuidString)")
                    }
                }
            }
            let held = try await RetentionTests.stat(bed)
            #expect((held["end_offset"] as? Int ?? 0) > 1000)
            #expect((held["start_offset"] as? Int ?? .max) <= 51, "not past what was delivered")
            try await eventually("it goes on, and the log loses its beginning", within: .seconds(60)) {
                try await bed.withWriter { writer in
                    for index in 0..<50 { try await writer.set("/t/n\(index)", UUID().uuidString) }
                }
                return (try await RetentionTests.stat(bed)["start_offset"] as? Int ?? 0) > 51
            }
            let text = try await bed.output("log", "stat", bed.dataDirectory + "/kept")
            #expect(text.contains("retention    offsets below ") && text.contains("the oldest record is of "))
            #expect(try await run.stop() == 0)
            #expect(try await bed.output("log", "verify", bed.dataDirectory + "/kept").hasSuffix("sound\n"))
        }
    }
}
