import ArgumentParser
import ChangeModel
import Engine
import SegmentLog
import SystemPackage

extension Log {
    struct Stat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Segments, offsets, times, sizes and compression.")

        @Argument(help: "The log: <log.directory>/<name>.", completion: .directory)
        var directory: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await reportingFailures {
                let statistics = try LogDirectory.statistics(FilePath(directory))
                print(json ? Stat.document(statistics, directory) : Stat.text(statistics, directory))
            }
        }

        private static func text(_ log: LogStatistics, _ directory: String) -> String {
            let header = [
                "SEGMENT", "FIRST", "LAST", "BATCHES", "RECORDS", "BYTES", "RAW-BYTES", "RATIO", "STATE",
            ]
            let rows = log.segments.map { segment in
                [
                    segment.file, "\(segment.baseOffset)",
                    segment.lastOffset < segment.baseOffset ? "-" : "\(segment.lastOffset)",
                    "\(segment.batches)", "\(segment.records)", "\(segment.fileBytes)",
                    "\(segment.uncompressedBytes)", ratio(segment.uncompressedBytes, segment.fileBytes),
                    segment.isClosed ? "closed" : "active",
                ]
            }
            let raw = log.segments.reduce(0) { $0 + $1.uncompressedBytes }
            let bytes = log.segments.reduce(0) { $0 + $1.fileBytes }
            let generations = log.generations.map { "\($0.number) from \($0.firstOffset)" }
            return """
                log          \(directory)
                id           \(log.logID)
                offsets      \(log.startOffset) to \(log.endOffset) (next to be written)
                retention    \(retention(log))
                gone         \(gone(log))
                generations  \(generations.joined(separator: ", "))
                size         \(readable(bytes: bytes)), \(readable(bytes: raw)) raw, \
                ratio \(ratio(raw, bytes))
                writer       \(log.writerProcess.map { "process \($0)" } ?? "none")

                \(alignedTable([header] + rows))
                """
        }

        /// Segments go from the front, so what is missing there is what retention has removed.
        private static func retention(_ log: LogStatistics) -> String {
            let removed =
                log.startOffset == 0 ? "nothing removed" : "offsets below \(log.startOffset) removed"
            guard let oldest = log.oldestTimestamp else { return removed }
            let age = readable(milliseconds: max(0, wallClockMilliseconds() - oldest))
            return "\(removed); the oldest record is of \(readable(time: oldest)), \(age) old"
        }

        private static func gone(_ log: LogStatistics) -> String {
            guard !log.gaps.isEmpty else { return "nothing" }
            let count = log.gaps.reduce(0) { $0 + $1.offsets.count }
            let shown = log.gaps.prefix(10).map { Log.text($0.offsets) }.joined(separator: ", ")
            return "\(count) offsets, found damaged by a repair: \(shown)\(log.gaps.count > 10 ? ", …" : "")"
        }

        private static func ratio(_ raw: Int64, _ bytes: Int64) -> String {
            bytes == 0 ? "-" : "\((Double(raw) / Double(bytes) * 100).rounded() / 100)"
        }

        private static func document(_ log: LogStatistics, _ directory: String) -> String {
            var json = JSONBytes()
            json.open()
            json.field("directory", directory)
            json.field("log_id", log.logID)
            json.field("start_offset", log.startOffset)
            json.field("end_offset", log.endOffset)
            json.field("writer_process", log.writerProcess.map { Int64($0) })
            json.field("oldest_timestamp_ms", log.oldestTimestamp)
            json.openArray("gaps")
            for gap in log.gaps { gap.write(to: &json) }
            json.closeArray()
            json.openArray("generations")
            for generation in log.generations {
                json.open()
                json.field("number", Int64(generation.number))
                json.field("first_offset", generation.firstOffset)
                json.close()
            }
            json.closeArray()
            json.openArray("segments")
            for segment in log.segments {
                json.open()
                json.field("file", segment.file)
                json.field("base_offset", segment.baseOffset)
                json.field("last_offset", segment.lastOffset)
                json.field("batches", Int64(segment.batches))
                json.field("records", Int64(segment.records))
                json.field("bytes", segment.fileBytes)
                json.field("raw_bytes", segment.uncompressedBytes)
                json.field("first_timestamp_ms", segment.firstTimestamp)
                json.field("last_timestamp_ms", segment.lastTimestamp)
                json.field("closed", segment.isClosed)
                json.close()
            }
            json.closeArray()
            json.close()
            return json.text
        }
    }
}
