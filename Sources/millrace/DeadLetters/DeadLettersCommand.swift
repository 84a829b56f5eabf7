import ArgumentParser
import ChangeModel
import Engine
import Foundation

struct DeadLettersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters", abstract: "What was refused, why, and another try.",
        subcommands: [List.self, Show.self, Replay.self, Purge.self])
}

extension RefusingStage {
    static func parse(_ text: String) throws -> RefusingStage {
        guard let stage = allCases.first(where: { $0.text == text }) else {
            throw ValidationError("'\(text)' is no stage; there are transform and delivery.")
        }
        return stage
    }
}

/// Prints rows as they come: aligned in blocks, so that a long list is never held as a whole.
struct GrowingTable {
    private static let blockRows = 500
    private let header: [String]
    private var rows: [[String]] = []
    private var isFirst = true

    init(_ header: [String]) {
        self.header = header
    }

    mutating func add(_ row: [String]) {
        rows.append(row.map { $0.singleLine })
        if rows.count == GrowingTable.blockRows { flush() }
    }

    /// Prints what is left; nothing where there never was a row.
    mutating func flush() {
        guard !rows.isEmpty else { return }
        let lines = alignedTable([header] + rows).split(separator: "\n").dropFirst(isFirst ? 0 : 1)
        print(lines.joined(separator: "\n"))
        rows = []
        isFirst = false
    }
}

extension DeadLetter {
    static let columns = ["NUMBER", "TIME", "SINK", "STAGE", "OFFSET", "OP", "PATH", "REASON"]

    var row: [String] {
        [
            "\(number)", readable(time: refused), sink, stage.text, "\(offset)", change.operation.letter,
            change.path, reason,
        ]
    }

    /// The fields that lists and `show` have in common, into an open object.
    func writeSummary(_ resolution: DeadLetterResolution?, to json: inout JSONBytes) {
        json.field("number", number)
        json.field("time_ms", refused)
        json.field("state", resolution?.outcome.text ?? "open")
        json.field("resolved_ms", resolution?.time)
        json.field("sink", sink)
        json.field("stage", stage.text)
        json.field("offset", offset)
        json.field("op", change.operation.letter)
        json.field("path", change.path)
        json.field("reason", reason)
    }
}

/// A time as a person reads it, in RFC 3339.
func readable(time milliseconds: Int64) -> String {
    Date(timeIntervalSince1970: Double(milliseconds) / 1000)
        .formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
}

/// `1 dead letter`, `2 dead letters`.
func counted(_ count: Int) -> String { count == 1 ? "1 dead letter" : "\(count) dead letters" }

extension String {
    /// Control characters would break a table's rows.
    var singleLine: String {
        String(
            String.UnicodeScalarView(unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
    }
}
