import ArgumentParser
import ChangeModel
import Engine
import SegmentLog
import SystemPackage

struct Log: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look into a pipeline's log.", subcommands: [Stat.self, Dump.self])

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
                generations  \(generations.joined(separator: ", "))
                size         \(readable(bytes: bytes)), \(readable(bytes: raw)) raw, \
                ratio \(ratio(raw, bytes))
                writer       \(log.writerProcess.map { "process \($0)" } ?? "none")

                \(alignedTable([header] + rows))
                """
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

    struct Dump: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print changes as JSON lines, Debezium's envelope.")

        @Argument(help: "The log: <log.directory>/<name>.", completion: .directory)
        var directory: String

        @Option(
            parsing: .unconditional,
            help: "First change: earliest, latest, an offset, an RFC 3339 time, or -2h.")
        var from: LogPosition = .earliest

        @Option(parsing: .unconditional, help: "Stop before: the same forms.")
        var to: LogPosition?

        @Flag(help: "Go on with what is appended, until interrupted.")
        var follow = false

        /// How often a followed log is looked at.
        private static let followInterval = Duration.milliseconds(50)

        func run() async throws {
            try await reportingFailures {
                let path = FilePath(directory)
                let end = try to?.offset(in: path)
                var reader = try LogReader(path, from: try from.offset(in: path))
                let name = path.lastComponent?.string ?? directory
                while true {
                    while let batch = try reader.next() {
                        if let end, batch.baseOffset >= end { return }
                        try Dump.write(batch, below: end ?? .max, source: name)
                    }
                    guard follow else { return }
                    try await Task.sleep(for: Dump.followInterval)
                }
            }
        }

        private static func write(_ batch: RecordBatch, below end: Int64, source: String) throws {
            var lines: [UInt8] = []
            try batch.forEach { record in
                guard record.type == RecordType.change, record.offset < end else { return }
                let change: Change
                do {
                    change = try ChangeCodec.decode(record.payload)
                } catch {
                    throw LogError(code: .corrupt, message: "the record at offset \(record.offset): \(error)")
                }
                lines += ChangeEnvelope.json(of: change, offset: record.offset, source: source)
                lines.append(UInt8(ascii: "\n"))
            }
            do {
                try FileDescriptor.standardOutput.writeAll(lines)
            } catch Errno.brokenPipe {
                throw ExitCode.success
            }
        }
    }
}
