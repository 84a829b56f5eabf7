import ArgumentParser
import ChangeModel
import Engine
import SegmentLog
import SystemPackage

/// A log as the tools look at it: a pipeline's, or its dead letters.
struct InspectedLog {
    var directory: FilePath
    var isDeadLetters: Bool

    /// The log in a directory, and its dead letters where it has any.
    static func all(_ directory: String) -> [InspectedLog] {
        let path = FilePath(directory)
        if path.lastComponent?.string == "dead-letters" {
            return [InspectedLog(directory: path, isDeadLetters: true)]
        }
        var logs = [InspectedLog(directory: path, isDeadLetters: false)]
        let letters = LogInspection.deadLetters(of: path)
        if (try? LogDirectory.startOffset(letters)) != nil {
            logs.append(InspectedLog(directory: letters, isDeadLetters: true))
        }
        return logs
    }

    /// Blocking. Throws `LogError`.
    func verify(holding lock: LogLock? = nil) throws(LogError) -> VerificationReport {
        let progress = ProgressLine()
        defer { progress.clear() }
        let isDeadLetters = isDeadLetters
        return try LogVerification.run(
            directory, holding: lock,
            inspect: { isDeadLetters ? LogInspection.deadLetterFlaw($0) : LogInspection.flaw($0) },
            progress: { done, all in
                progress.show("\(directory): verified \(all > 0 ? done * 100 / all : 0) %")
            })
    }
}

extension Log {
    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read everything and say what is damaged.",
            discussion: """
                Every header, checksum, record, index entry, offset and generation, of the log and of its dead letters. \
                Runs beside the pipeline or without it. Exit code 1 where something is damaged.
                """)

        @Argument(help: "The log: <log.directory>/<name>.", completion: .directory)
        var directory: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await reportingFailures {
                let reports = try InspectedLog.all(directory).map { log throws(LogError) in try log.verify() }
                if json {
                    var document = JSONBytes()
                    document.open()
                    document.openArray("logs")
                    for report in reports { report.write(to: &document) }
                    document.closeArray()
                    document.close()
                    print(document.text)
                } else {
                    print(reports.map(\.text).joined(separator: "\n\n"))
                }
                if reports.contains(where: { !$0.allDamage.isEmpty }) { throw ExitCode.failed }
            }
        }
    }
}

extension VerificationReport {
    /// For people.
    fileprivate var text: String {
        var lines = [
            "log       \(directory)",
            "offsets   \(startOffset) to \(endOffset) (next to be written)",
            "read      \(segments.count) segments, \(batches) batches, \(records) records, \(readable(bytes: fileBytes))",
        ]
        for gap in gaps { lines.append("gone      \(gap.text)") }
        for note in notes { lines.append("note      \(note)") }
        for damage in allDamage { lines += damage.lines }
        lines.append(allDamage.isEmpty ? "sound" : "\(allDamage.count) places are damaged")
        return lines.joined(separator: "\n")
    }

    fileprivate func write(to json: inout JSONBytes) {
        json.open()
        json.field("directory", directory)
        json.field("sound", allDamage.isEmpty)
        json.field("start_offset", startOffset)
        json.field("end_offset", endOffset)
        json.field("segments", Int64(segments.count))
        json.field("batches", Int64(batches))
        json.field("records", Int64(records))
        json.field("bytes", fileBytes)
        json.openArray("gaps")
        for gap in gaps { gap.write(to: &json) }
        json.closeArray()
        json.openArray("damage")
        for damage in allDamage { damage.write(to: &json) }
        json.closeArray()
        json.openArray("notes")
        for note in notes { json.item(note) }
        json.closeArray()
        json.close()
    }
}

extension LogDamage {
    var lines: [String] {
        var place = file
        if let bytes { place += ", bytes \(bytes.lowerBound) to \(bytes.upperBound) (excluded)" }
        if let batch { place += ", batch \(batch)" }
        if let batchOffsets, !batchOffsets.isEmpty { place += " of offsets \(Log.text(batchOffsets))" }
        var lines = ["damage    \(place): \(message)"]
        lines.append("  gone    \(gone.isEmpty ? "no offset" : "offsets \(Log.text(gone))")")
        lines.append("  do      \(advice)")
        return lines
    }

    func write(to json: inout JSONBytes) {
        json.open()
        json.field("kind", kind.rawValue)
        json.field("file", file)
        json.field("byte", bytes?.lowerBound)
        json.field("bytes", bytes.map { Int64($0.count) })
        json.field("batch", batch.map { Int64($0) })
        json.field("batch_first_offset", batchOffsets.flatMap { $0.isEmpty ? nil : $0.lowerBound })
        json.field("batch_last_offset", batchOffsets.flatMap { $0.isEmpty ? nil : $0.upperBound - 1 })
        json.field("gone_first_offset", gone.isEmpty ? nil : gone.lowerBound)
        json.field("gone_last_offset", gone.isEmpty ? nil : gone.upperBound - 1)
        json.field("message", message)
        json.field("advice", advice)
        json.close()
    }
}

extension LogGap {
    var text: String {
        let place =
            byteCount == 0
            ? "without any bytes" : "\(byteCount) bytes at byte \(position) of segment \(segment)"
        return "offsets \(Log.text(offsets)), \(place), repaired \(readable(time: repaired))"
    }

    func write(to json: inout JSONBytes) {
        json.open()
        json.field("first_offset", offsets.lowerBound)
        json.field("last_offset", offsets.upperBound - 1)
        json.field("segment", segment)
        json.field("byte", position)
        json.field("bytes", byteCount)
        json.field("repaired_ms", repaired)
        json.close()
    }
}

extension Log {
    static func text(_ offsets: Range<Int64>) -> String {
        offsets.count == 1 ? "\(offsets.lowerBound)" : "\(offsets.lowerBound) to \(offsets.upperBound - 1)"
    }
}
