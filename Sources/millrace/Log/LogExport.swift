import ArgumentParser
import ChangeModel
import Engine
import Foundation
import SegmentLog
import SystemPackage

extension Log {
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the whole log as JSON lines that an import makes the same log of.",
            discussion:
                "Every record with its batch, offsets, times, generation and position; data that is no text as base64."
        )

        @Argument(help: "The log: <log.directory>/<name>.", completion: .directory)
        var directory: String

        func run() async throws {
            try await reportingFailures {
                let path = FilePath(directory)
                let start = try LogDirectory.startOffset(path)
                // A pipeline may go on writing: its later generations are not in the header.
                let endOffset = try LogDirectory.endOffset(path)
                let encoder = ExportedLine.encoder()
                try Export.write([ExportedLine(log: try header(path, start: start))], encoder)
                var reader = try LogReader(path, from: start)
                var end = ExportedLine.End(batches: 0, records: 0)
                while let batch = try reader.next(below: endOffset) {
                    var lines = [ExportedLine(batch: ExportedLine.Batch(batch))]
                    batch.forEach {
                        let offset = $0.offset
                        lines.append(ExportedLine(offset: offset, record: ExportedLine.Record($0)))
                    }
                    end.batches += 1
                    end.records += batch.count
                    try Export.write(lines, encoder)
                }
                try Export.write([ExportedLine(end: end)], encoder)
            }
        }

        private func header(_ path: FilePath, start: Int64) throws(LogError) -> ExportedLine.Header {
            ExportedLine.Header(
                version: ExportedLine.Header.version, logId: try LogDirectory.logID(path), startOffset: start,
                generations: try LogDirectory.generations(path).map {
                    ExportedLine.ExportedGeneration(number: $0.number, firstOffset: $0.firstOffset)
                },
                gaps: try LogDirectory.gaps(path).map {
                    ExportedLine.ExportedGap(
                        firstOffset: $0.offsets.lowerBound, lastOffset: $0.offsets.upperBound - 1,
                        segment: $0.segment, byte: $0.position, bytes: $0.byteCount, repairedMs: $0.repaired)
                })
        }

        private static func write(_ lines: [ExportedLine], _ encoder: JSONEncoder) throws {
            var bytes: [UInt8] = []
            for line in lines {
                bytes += try encoder.encode(line)
                bytes.append(UInt8(ascii: "\n"))
            }
            do {
                try FileDescriptor.standardOutput.writeAll(bytes)
            } catch Errno.brokenPipe {
                throw ExitCode.success
            }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a log of what an export has printed, read from standard input.",
            discussion: """
                Offsets, times, generations and the log's id are those of the log that was exported, so that sinks go on from \
                their checkpoints. Where both logs are to be used, give each a pipeline name of its own.
                """)

        @Argument(help: "The new log: a directory that is empty or not there.", completion: .directory)
        var directory: String

        func run() async throws {
            try await reportingFailures {
                var lines = InputLines(.standardInput)
                var log = ImportedLog(FilePath(directory))
                do {
                    let decoder = ExportedLine.decoder()
                    while let line = try lines.next() {
                        try log.take(try decoder.decode(ExportedLine.self, from: Data(line)))
                    }
                    try log.finish()
                } catch {
                    log.abandon()
                    let reason: String
                    switch error {
                    case let error as ImportError: reason = error.message
                    case is DecodingError: reason = "is no line of an exported log"
                    case let error as LogError where error.code == .invalidArgument: reason = "\(error)"
                    default: throw error
                    }
                    throw PipelineError.failed("line \(lines.number): \(reason); nothing was imported")
                }
                print("imported \(log.records) records in \(log.batches) batches into \(directory)")
            }
        }
    }
}

extension ExportedLine.Batch {
    fileprivate init(_ batch: RecordBatch) {
        self.init(
            baseOffset: batch.baseOffset, lastOffset: batch.lastOffset, generation: batch.generation,
            firstTsMs: batch.firstTimestamp, lastTsMs: batch.lastTimestamp, position: Data(batch.position),
            records: batch.count)
    }
}

/// The lines of an export, as they become a log.
private struct ImportedLog {
    private let directory: FilePath
    private var importer: LogImporter?
    private var open: ExportedLine.Batch?
    private var builder = RecordBatchBuilder()
    private var isComplete = false
    private(set) var batches = 0
    private(set) var records = 0

    init(_ directory: FilePath) {
        self.directory = directory
    }

    mutating func take(_ line: ExportedLine) throws {
        guard !isComplete else { throw ImportError("the export has ended before") }
        if let header = line.log {
            guard importer == nil else { throw ImportError("a second header") }
            try begin(header)
        } else if importer == nil {
            throw ImportError("the header of an exported log is missing")
        } else if let batch = line.batch {
            guard batch.records >= 0 else { throw ImportError("a batch of \(batch.records) records") }
            try close()
            open = batch
            if batch.records == 0 { try close() }
        } else if let record = line.record {
            guard let batch = open, builder.count < batch.records else {
                throw ImportError("a record that no batch has")
            }
            let (type, payload) = try record.encoded()
            builder.append(type: type) { $0 += payload }
            if builder.count == batch.records { try close() }
        } else if let end = line.end {
            try close()
            guard end.batches == batches, end.records == records else {
                throw ImportError(
                    "\(end.batches) batches with \(end.records) records were exported, \(batches) with \(records) are here"
                )
            }
            isComplete = true
        } else {
            throw ImportError("neither header nor batch, record or end")
        }
    }

    private mutating func begin(_ header: ExportedLine.Header) throws {
        guard header.version == ExportedLine.Header.version else {
            throw ImportError("an export of version \(header.version); this program knows version 1")
        }
        importer = try LogImporter(
            directory, logID: header.logId,
            generations: header.generations.map {
                Generation(number: $0.number, firstOffset: $0.firstOffset)
            },
            gaps: try header.gaps.map {
                guard $0.firstOffset >= 0, $0.lastOffset >= $0.firstOffset, $0.lastOffset < 1 << 48 else {
                    throw ImportError("a gap from \($0.firstOffset) to \($0.lastOffset)")
                }
                return LogGap(
                    offsets: $0.firstOffset..<$0.lastOffset + 1, segment: $0.segment, position: $0.byte,
                    byteCount: $0.bytes, repaired: $0.repairedMs)
            }, startOffset: header.startOffset)
    }

    /// The batch is complete.
    private mutating func close() throws {
        guard let batch = open else { return }
        guard builder.count == batch.records else {
            throw ImportError("the batch before has \(builder.count) of \(batch.records) records")
        }
        guard batch.baseOffset >= 0, batch.lastOffset < 1 << 48, batch.lastOffset >= batch.baseOffset - 1,
            batch.lastOffset - batch.baseOffset + 1 == Int64(builder.offsetCount)
        else { throw ImportError("the offsets of the batch before are not those of its records") }
        try importer?.append(
            builder, baseOffset: batch.baseOffset, generation: batch.generation,
            firstTimestamp: batch.firstTsMs, lastTimestamp: batch.lastTsMs, position: Array(batch.position))
        batches += 1
        records += builder.count
        builder.removeAll()
        open = nil
    }

    mutating func finish() throws {
        guard isComplete else { throw ImportError("the export ends early") }
        try importer?.finish()
    }

    /// What was made so far is taken away.
    mutating func abandon() {
        // The error that led here is the one to be told.
        try? importer?.abandon()
        importer = nil
    }
}

/// Lines of a file, of any bytes; one is held at a time.
private struct InputLines {
    private let file: FileDescriptor
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false
    /// Of the line given last, from 1.
    private(set) var number = 0

    private static let chunk = 1 << 20
    private static let longest = 1 << 30

    init(_ file: FileDescriptor) {
        self.file = file
    }

    /// The next line, without its end; `nil` behind the last.
    mutating func next() throws -> ArraySlice<UInt8>? {
        var searched = start
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { start = end + 1 }
                number += 1
                return buffer[start..<end]
            }
            searched = buffer.count
            if isAtEnd {
                guard start < buffer.count else { return nil }
                defer { start = buffer.count }
                number += 1
                return buffer[start...]
            }
            buffer.removeFirst(start)
            searched -= start
            start = 0
            guard buffer.count < InputLines.longest else { throw ImportError("a line without an end") }
            try fill()
        }
    }

    private mutating func fill() throws {
        let old = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: InputLines.chunk))
        let file = file
        let got = try buffer.withUnsafeMutableBytes {
            try file.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[old...]))
        }
        buffer.removeLast(InputLines.chunk - got)
        isAtEnd = got == 0
    }
}
