import ArgumentParser
import ChangeModel
import Engine
import Mapping
import SegmentLog
import SystemPackage

extension Log {
    struct Dump: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print changes as JSON lines, Debezium's envelope.")

        @Argument(help: "The log: <log.directory>/<name>.", completion: .directory)
        var directory: String

        @Option(parsing: .unconditional, help: "First change: \(LogPosition.forms).")
        var from: LogPosition = .earliest

        @Option(parsing: .unconditional, help: "Stop before: the same forms.")
        var to: LogPosition?

        @OptionGroup var selection: ChangeSelection

        @Flag(help: "Go on with what is appended, until interrupted.")
        var follow = false

        @Flag(help: "Print columns for people, the data cut short.")
        var table = false

        /// How often a followed log is looked at: one look at its size, one for the name of the next segment.
        private static let followInterval = Duration.milliseconds(50)

        func run() async throws {
            try await reportingFailures {
                let path = FilePath(directory)
                let end = try to?.offset(in: path) ?? .max
                let filter = selection.filter
                var reader = try LogReader(path, from: try from.offset(in: path))
                var printer: any ChangePrinter =
                    table ? ChangeTable() : ChangeLines(source: path.lastComponent?.string ?? directory)
                while true {
                    do {
                        while reader.nextOffset < end, let batch = try reader.next() {
                            try write(batch, below: end, filter, &printer)
                        }
                    } catch {
                        // What lies before the damage.
                        try printer.flush()
                        throw error
                    }
                    try printer.flush()
                    guard follow, reader.nextOffset < end else { return }
                    try await Task.sleep(for: Dump.followInterval)
                }
            }
        }

        private func write(
            _ batch: RecordBatch, below end: Int64, _ filter: ChangeFilter, _ printer: inout any ChangePrinter
        ) throws {
            try batch.forEach { record in
                guard record.offset < end else { return }
                do {
                    switch record.type {
                    case RecordType.change:
                        let change = try ChangeCodec.decode(record.payload)
                        if filter.takes(change) { printer.add(change, offset: record.offset) }
                    case RecordType.gap where selection.op == nil:
                        printer.add(try CaptureGap(decoding: record.payload), offset: record.offset)
                    default:
                        break
                    }
                } catch {
                    throw LogError(
                        code: .corrupt, message: "the record at offset \(record.offset): \(error)",
                        file: directory)
                }
            }
            if printer.isFull || follow { try printer.flush() }
        }
    }
}

/// Which changes of a log are meant.
struct ChangeSelection: ParsableArguments {
    @Option(
        help: "Only paths that match, in the language of paths and rules; may be repeated.",
        transform: { try ChangeSelection.pattern($0) })
    var match: [PathPattern] = []

    @Option(
        help: "Only these operations: c, u, d, r, with commas between.",
        transform: { try ChangeSelection.operations($0) })
    var op: Set<ChangeModel.Operation>?

    var filter: ChangeFilter {
        ChangeFilter(match: match, operations: op ?? Set(ChangeModel.Operation.allCases))
    }

    private static func pattern(_ text: String) throws -> PathPattern {
        do {
            return try PathPattern(text)
        } catch {
            throw ValidationError("'\(text)' is no pattern: \(error) (column \(error.column))")
        }
    }

    private static func operations(_ text: String) throws -> Set<ChangeModel.Operation> {
        if text.isEmpty { throw ValidationError("no operation; there are c, u, d and r") }
        return Set(
            try text.split(separator: ",").map { letter in
                guard let operation = ChangeModel.Operation(letter: letter) else {
                    throw ValidationError("'\(letter)' is no operation; there are c, u, d and r")
                }
                return operation
            })
    }
}

/// Prints changes as they come.
private protocol ChangePrinter {
    mutating func add(_ change: Change, offset: Int64)
    /// Of a gap the offset is that of the change behind it.
    mutating func add(_ gap: CaptureGap, offset: Int64)
    var isFull: Bool { get }
    /// Writes out what was added. Throws the exit of the program where nobody reads any more.
    mutating func flush() throws
}

extension ChangePrinter {
    fileprivate static func write(_ bytes: [UInt8]) throws {
        do {
            try FileDescriptor.standardOutput.writeAll(bytes)
        } catch Errno.brokenPipe {
            throw ExitCode.success
        }
    }
}

private struct ChangeLines: ChangePrinter {
    let source: String
    private var lines: [UInt8] = []
    private static let blockBytes = 64 << 10

    init(source: String) {
        self.source = source
    }

    var isFull: Bool { lines.count >= ChangeLines.blockBytes }

    mutating func add(_ change: Change, offset: Int64) {
        lines += ChangeEnvelope.json(of: change, offset: offset, source: source)
        lines.append(UInt8(ascii: "\n"))
    }

    mutating func add(_ gap: CaptureGap, offset: Int64) {
        lines += ChangeEnvelope.json(of: gap, offset: offset, source: source)
        lines.append(UInt8(ascii: "\n"))
    }

    mutating func flush() throws {
        guard !lines.isEmpty else { return }
        try ChangeLines.write(lines)
        lines.removeAll(keepingCapacity: true)
    }
}

private struct ChangeTable: ChangePrinter {
    private var rows: [[String]] = []
    private var isFirst = true
    private static let header = ["OFFSET", "TIME", "OP", "PATH", "VERSION", "ZXID", "BYTES", "DATA"]
    private static let blockRows = 500
    private static let shownBytes = 60

    var isFull: Bool { rows.count >= ChangeTable.blockRows }

    mutating func add(_ change: Change, offset: Int64) {
        let data = change.data.map { data in
            String(decoding: data.prefix(ChangeTable.shownBytes), as: UTF8.self).singleLine
                + (data.count > ChangeTable.shownBytes ? "…" : "")
        }
        rows.append([
            "\(offset)", readable(time: change.timestamp), change.operation.letter, change.path.singleLine,
            change.version < 0 ? "-" : "\(change.version)", change.zxid.hexadecimal,
            change.data.map { "\($0.count)" } ?? "-", data ?? "-",
        ])
    }

    mutating func add(_ gap: CaptureGap, offset: Int64) {
        let missing = "after \(gap.after.hexadecimal) the history is gone"
        rows.append(["\(offset)", "-", "gap", "-", "-", gap.upTo.hexadecimal, "-", missing])
    }

    mutating func flush() throws {
        guard !rows.isEmpty else { return }
        let lines = alignedTable([ChangeTable.header] + rows).split(separator: "\n").dropFirst(
            isFirst ? 0 : 1)
        try ChangeTable.write(Array((lines.joined(separator: "\n") + "\n").utf8))
        rows.removeAll(keepingCapacity: true)
        isFirst = false
    }
}
