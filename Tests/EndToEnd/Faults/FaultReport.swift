import RedisClient
import Testing

/// What a fault did to what arrived, in five counts.
struct FaultReport: Equatable {
    /// Live nodes without their key, and paths whose last change is not the last in the stream.
    var missing = 0
    /// Keys that hold an older value than the node.
    var stale = 0
    /// Keys of nodes that are deleted.
    var resurrected = 0
    /// Stream entries that tell the same change again.
    var duplicated = 0
    /// Stream entries that are older than one before them, per path.
    var reordered = 0

    static let clean = FaultReport()

    /// Whether waiting may still mend it.
    var isConverged: Bool { missing == 0 && stale == 0 && resurrected == 0 }

    mutating func add(_ other: FaultReport) {
        missing += other.missing
        stale += other.stale
        resurrected += other.resurrected
        duplicated += other.duplicated
        reordered += other.reordered
    }

    /// How long what was acknowledged may take to arrive after the last fault.
    private static let convergence = Duration.seconds(30)

    /// The running process has to bring it right: a restart would hide what the running capture missed.
    static func settled(_ bed: TestBed, _ final: [String: String?]) async throws -> FaultReport {
        let deadline = ContinuousClock.now + convergence
        while true {
            let report = try await FaultReport.check(bed, final)
            if report.isConverged || ContinuousClock.now >= deadline { return report }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// One line of the table of `Scripts/faults`.
    func print(_ fault: String, rounds: Int, acknowledged: Int) {
        Swift.print(
            "faults: \(fault) | \(rounds) | \(acknowledged) | \(missing) | \(stale) | \(resurrected) | "
                + "\(duplicated) | \(reordered)")
    }

    /// Compares what the writer had acknowledged with the keys `k:<path>` and the stream `changes`.
    static func check(_ bed: TestBed, _ final: [String: String?]) async throws -> FaultReport {
        var report = FaultReport()
        let paths = final.keys.sorted()
        let keys = try await bed.redis(["MGET"] + paths.map { "k:\($0)" }).array ?? []
        for (path, key) in zip(paths, keys) {
            switch (final[path] ?? nil, key.string) {
            case (.some, nil): report.missing += 1
            case (nil, .some): report.resurrected += 1
            case (let wanted?, let found?) where wanted != found: report.stale += 1
            default: break
            }
        }
        report.read(try await bed.stream("changes"), final)
        return report
    }

    mutating func read(_ entries: [StreamEntry], _ final: [String: String?]) {
        var last: [String: StreamEntry] = [:]
        var highest: [String: Int] = [:]
        for entry in entries {
            guard let path = entry.fields["path"], final.keys.contains(path) else { continue }
            let value = entry.fields["data"].flatMap { Int($0) }
            if let before = last[path] {
                if let value, let known = highest[path] {
                    if value == known { duplicated += 1 }
                    if value < known { reordered += 1 }
                } else if value == nil, before.fields["op"] == "d" {
                    duplicated += 1
                }
            }
            if let value { highest[path] = max(highest[path] ?? 0, value) }
            last[path] = entry
        }
        for (path, wanted) in final where last[path]?.fields["data"] != wanted { missing += 1 }
    }
}

/// A checker that cannot fail is worthless: it finds each of the five.
@Suite struct FaultReportTests {
    private static func entry(_ op: String, _ path: String, _ data: String? = nil) -> StreamEntry {
        var fields = ["op": op, "path": path]
        fields["data"] = data
        return StreamEntry(id: "1-0", fields: fields)
    }

    @Test func whatIsWrongIsCounted() {
        let good = [
            FaultReportTests.entry("c", "/a", "1"), FaultReportTests.entry("u", "/a", "3"),
            FaultReportTests.entry("c", "/b", "2"), FaultReportTests.entry("d", "/b"),
        ]
        func report(_ entries: [StreamEntry]) -> FaultReport {
            var report = FaultReport()
            report.read(entries, ["/a": "3", "/b": nil])
            return report
        }
        #expect(report(good) == .clean)
        #expect(report(Array(good.dropLast())).missing == 1)
        #expect(report(good + [good[1]]).duplicated == 1)
        #expect(report(good + [good[3]]).duplicated == 1)
        #expect(report([good[1], good[0]] + good[2...]).reordered == 1)
    }

    @Test func keysAreHeldAgainstTheTree() async throws {
        try await TestBed.with { bed in
            _ = try await bed.redis("MSET", "k:/stale", "1", "k:/gone", "2")
            let report = try await FaultReport.check(bed, ["/stale": "9", "/gone": nil, "/missing": "3"])
            #expect(report.stale == 1 && report.resurrected == 1)
            // Its key, and three last changes: a path that was deleted has none either, as it should.
            #expect(report.missing == 1 + 2)
        }
    }
}
