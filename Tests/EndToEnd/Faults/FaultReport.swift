import RedisClient
import TestServers
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

    /// Some of what was counted, for whoever looks into it.
    private(set) var examples: [String] = []

    private static let maximumExamples = 12

    static let clean = FaultReport()

    static func == (left: FaultReport, right: FaultReport) -> Bool { left.counts == right.counts }

    private var counts: [Int] { [missing, stale, resurrected, duplicated, reordered] }

    private mutating func count(
        _ fault: WritableKeyPath<FaultReport, Int>, _ example: @autoclosure () -> String
    ) {
        self[keyPath: fault] += 1
        if examples.count < FaultReport.maximumExamples { examples.append(example()) }
    }

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
    private static let longest = Duration.seconds(300)

    /// The running process has to bring it right: a restart would hide what the running capture missed.
    static func settled(_ bed: TestBed, _ final: [String: String?]) async throws -> FaultReport {
        let end = ContinuousClock.now + longest
        var deadline = ContinuousClock.now + convergence
        var last: FaultReport?
        while true {
            let report = try await FaultReport.check(bed, final)
            if report.isConverged || ContinuousClock.now >= min(deadline, end) { return report }
            // A long log is delivered again on a busy machine: what comes nearer has more time.
            if report != last { deadline = .now + convergence }
            last = report
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// One line of the table of `Scripts/faults`.
    func print(_ fault: String, rounds: Int, acknowledged: Int) {
        Swift.print(
            "faults: \(fault) | \(rounds) | \(acknowledged) | \(missing) | \(stale) | \(resurrected) | "
                + "\(duplicated) | \(reordered)")
    }

    /// Compares what the writer had acknowledged with the keys `k:<path>` and the stream `changes`; in a cluster
    /// as `ClusterContents` has it.
    static func check(_ bed: TestBed, _ final: [String: String?]) async throws -> FaultReport {
        var report = FaultReport()
        let paths = final.keys.sorted()
        if let cluster = bed.cluster {
            let contents = try await ClusterContents.read(cluster, paths)
            report.compare(contents.strings, final)
            report.compare(contents.hashes, final)
            report.read(contents.entries, final)
        } else {
            let keys = try await bed.redis(["MGET"] + paths.map { "k:\($0)" }).array ?? []
            report.compare(zip(paths, keys).map { ($0, $1.string) }, final)
            report.read(try await bed.stream("changes"), final)
        }
        return report
    }

    private mutating func compare(_ values: [(path: String, found: String?)], _ final: [String: String?]) {
        for (path, found) in values {
            switch (final[path] ?? nil, found) {
            case (let wanted?, nil): count(\.missing, "\(path): no key, not \(wanted)")
            case (nil, let found?): count(\.resurrected, "\(path): key \(found), though deleted")
            case (let wanted?, let found?) where wanted != found:
                count(\.stale, "\(path): key \(found), not \(wanted)")
            default: break
            }
        }
    }

    mutating func read(_ entries: [StreamEntry], _ final: [String: String?]) {
        var last: [String: StreamEntry] = [:]
        var highest: [String: (value: Int, id: String)] = [:]
        for entry in entries {
            guard let path = entry.fields["path"], final.keys.contains(path) else { continue }
            let value = entry.fields["data"].flatMap { Int($0) }
            if let before = last[path] {
                if let value, let known = highest[path] {
                    if value == known.value {
                        count(\.duplicated, "\(path): \(value) in \(known.id) and \(entry.id)")
                    }
                    if value < known.value {
                        count(\.reordered, "\(path): \(known.value) in \(known.id), \(value) in \(entry.id)")
                    }
                } else if value == nil, before.fields["op"] == "d" {
                    count(\.duplicated, "\(path): deletes in \(before.id) and \(entry.id)")
                }
            }
            if let value, value > highest[path]?.value ?? -1 { highest[path] = (value, entry.id) }
            last[path] = entry
        }
        for (path, wanted) in final where last[path]?.fields["data"] != wanted {
            let found = last[path].map { "\($0.fields["data"] ?? "nothing") in \($0.id)" } ?? "none"
            count(\.missing, "\(path): last entry \(found), not \(wanted ?? "nothing")")
        }
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

    /// The same of a cluster: its keys lie on all its nodes, and its streams are many.
    @Test func aClusterIsHeldAgainstTheTree() async throws {
        try await TestBed.with(.cluster) { bed in
            let servers = try #require(bed.cluster)
            func write(_ words: String...) throws {
                let server = try servers.owner(of: HashSlot(of: words[1]).number)
                try server.cli(words)
            }
            func add(_ path: String, _ fields: String...) throws {
                let stream = ClusterContents.stream(of: path)
                let server = try servers.owner(of: HashSlot(of: stream).number)
                try server.cli(["XADD", stream, "*", "path", path] + fields)
            }
            var final: [String: String?] = [:]
            for number in 0..<8 {
                let path = "/t/g\(number)/n\(number)"
                final[path] = "9"
                try write("SET", "k:\(path)", "9")
                try write("HSET", "h:\(path)", "data", "9")
                for value in ["1", "9"] { try add(path, "op", "u", "data", value) }
            }
            #expect(try await FaultReport.check(bed, final) == .clean)
            try await ClusterAudit.expectOrder(in: servers)

            try write("DEL", "k:/t/g0/n0")
            try write("SET", "k:/t/g1/n1", "8")
            try write("HSET", "h:/t/g2/n2", "data", "7")
            final["/t/g3/n3"] = String?.none
            try add("/t/g3/n3", "op", "d")
            try add("/t/g4/n4", "op", "u", "data", "9")
            for value in ["8", "9"] { try add("/t/g5/n5", "op", "u", "data", value) }
            final["/t/g6/n9"] = "1"
            let report = try await FaultReport.check(bed, final)
            // A key; another one, a hash and an entry of the path that nothing has been told of.
            #expect(report.missing == 1 + 3)
            #expect(report.stale == 2)
            #expect(report.resurrected == 2)
            #expect(report.duplicated == 2)
            #expect(report.reordered == 1)
        }
    }
}
