import ArgumentParser
import ChangeModel
import Engine
import SegmentLog
import SystemPackage

extension Log {
    struct Repair: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set damaged bytes aside, and say exactly which offsets are gone.",
            discussion: """
                The damaged bytes are copied into quarantine/ in the log's directory, the segments are written anew without \
                them, and the file gaps lists the offsets that are gone. Nothing else changes. The pipeline must not run; \
                its next start reads the tree and appends whatever the newest state is of what was lost. Where a backup of \
                the damaged files exists, restoring them is better.
                """)

        @Argument(help: "The log: <log.directory>/<name>.", completion: .directory)
        var directory: String

        @Flag(help: "Only show what would be done.")
        var dryRun = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await reportingFailures {
                let logs = InspectedLog.all(directory)
                let reports = dryRun ? try preview(logs) : try repair(logs)
                if json {
                    var document = JSONBytes()
                    document.open()
                    document.field("dry_run", dryRun)
                    document.openArray("logs")
                    for report in reports { report.write(to: &document) }
                    document.closeArray()
                    document.close()
                    print(document.text)
                } else {
                    print(reports.map { $0.text(isDone: !dryRun) }.joined(separator: "\n\n"))
                }
                if reports.contains(where: { !$0.left.isEmpty }) { throw ExitCode.failed }
            }
        }

        private func preview(_ logs: [InspectedLog]) throws(LogError) -> [RepairReport] {
            try logs.map { log throws(LogError) in
                LogRepair.preview(try log.verify(), now: wallClockMilliseconds())
            }
        }

        /// The pipeline's lock is held over all of it: it covers the dead letters, too.
        private func repair(_ logs: [InspectedLog]) throws -> [RepairReport] {
            var locks: [LogLock] = []
            do throws(LogError) {
                if let letters = logs.first, letters.isDeadLetters, logs.count == 1 {
                    let log = letters.directory.removingLastComponent()
                    if (try? LogDirectory.startOffset(log)) != nil { locks.append(try LogLock(log)) }
                }
                // Before anything is made there: a lock is a file.
                for log in logs {
                    _ = try LogDirectory.startOffset(log.directory)
                    locks.append(try LogLock(log.directory))
                }
            } catch {
                guard error.code == .locked else { throw error }
                throw PipelineError.unavailable("\(error); stop it, then repair")
            }
            defer { withExtendedLifetime(locks) {} }
            return try zip(logs, locks.suffix(logs.count)).map { log, lock throws(LogError) in
                let now = wallClockMilliseconds()
                return try LogRepair(log.directory).run(
                    try log.verify(holding: lock), holding: lock, now: now,
                    knownID: { log.isDeadLetters ? nil : LogInspection.rememberedID(log.directory) },
                    willCommit: { offset throws(LogError) in
                        guard !log.isDeadLetters else { return }
                        try LogInspection.forgetKnownState(log.directory, from: offset)
                    })
            }
        }
    }
}

extension RepairReport {
    fileprivate func text(isDone: Bool) -> String {
        var lines = ["log       \(verification.directory)"]
        for part in quarantined {
            lines.append(
                "\(isDone ? "moved" : "to move")  ".padded(to: 10)
                    + "bytes \(part.bytes.lowerBound) to \(part.bytes.upperBound) (excluded) of \(part.file) to \(part.copy)"
            )
        }
        for gap in gaps {
            lines.append("gone      offsets \(Log.text(gap.offsets)) of segment \(gap.segment)")
        }
        for index in indexes {
            lines.append("index     \(index)\(isDone ? " made anew" : " to be made anew")")
        }
        if renewedMeta { lines.append("log.meta  \(isDone ? "made anew" : "to be made anew")") }
        if hasNewID {
            lines.append(
                "id        nothing told the log's old one: `millrace run` asks for --take-over once")
        }
        for damage in left { lines += damage.lines }
        if isEmpty {
            lines.append("nothing is damaged")
        } else if !left.isEmpty {
            lines.append("what is left needs a decision of yours")
        } else {
            let count = gaps.reduce(0) { $0 + $1.offsets.count }
            lines.append(
                "\(count) offsets \(isDone ? "are" : "would be") gone, nothing else; the next run reads the tree and appends "
                    + "what is not in the log")
        }
        return lines.joined(separator: "\n")
    }

    fileprivate func write(to json: inout JSONBytes) {
        json.open()
        json.field("directory", verification.directory)
        json.openArray("quarantined")
        for part in quarantined {
            json.open()
            json.field("file", part.file)
            json.field("byte", part.bytes.lowerBound)
            json.field("bytes", Int64(part.bytes.count))
            json.field("copy", part.copy)
            json.close()
        }
        json.closeArray()
        json.openArray("gone")
        for gap in gaps { gap.write(to: &json) }
        json.closeArray()
        json.openArray("indexes")
        for index in indexes { json.item(index) }
        json.closeArray()
        json.field("renewed_meta", renewedMeta)
        json.field("new_log_id", hasNewID)
        json.openArray("left")
        for damage in left { damage.write(to: &json) }
        json.closeArray()
        json.close()
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
