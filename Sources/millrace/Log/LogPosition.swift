import ArgumentParser
import ChangeModel
import Engine
import Foundation
import SegmentLog
import SystemPackage

/// A place in a log as a person names it.
enum LogPosition: ExpressibleByArgument, Equatable {
    case earliest
    case latest
    case offset(Int64)
    /// Milliseconds since 1970.
    case time(Int64)
    /// Milliseconds before now.
    case ago(Int64)
    /// The first change of this transaction or a later one.
    case zxid(Zxid)

    /// The forms, for a person.
    static let forms = "earliest, latest, an offset, an RFC 3339 time, -2h, or zxid:0x…"

    init?(argument: String) {
        if argument == "earliest" {
            self = .earliest
        } else if argument == "latest" {
            self = .latest
        } else if let offset = Int64(argument), offset >= 0 {
            self = .offset(offset)
        } else if argument.hasPrefix("zxid:"), let zxid = LogPosition.zxid(argument.dropFirst(5)) {
            self = .zxid(zxid)
        } else if argument.hasPrefix("-"), let ago = LogPosition.milliseconds(argument.dropFirst()) {
            self = .ago(ago)
        } else if let time = LogPosition.time(argument) {
            self = .time(time)
        } else {
            return nil
        }
    }

    /// Whether it depends on when changes were captured.
    var isTime: Bool {
        switch self {
        case .time, .ago: true
        case .earliest, .latest, .offset, .zxid: false
        }
    }

    /// The offset in a log of today. Throws `LogError`.
    func offset(in directory: FilePath) throws(LogError) -> Int64 {
        switch self {
        case .earliest: try LogDirectory.startOffset(directory)
        case .latest: try LogDirectory.endOffset(directory)
        case .offset(let offset): offset
        case .time(let time): try LogDirectory.offset(directory, atOrAfter: time)
        case .ago(let ago): try LogDirectory.offset(directory, atOrAfter: wallClockMilliseconds() - ago)
        case .zxid(let zxid): try LogPosition.offset(directory, from: zxid)
        }
    }

    /// Batches before which no server had shown a transaction so late are passed over by their headers alone.
    private static func offset(_ directory: FilePath, from zxid: Zxid) throws(LogError) -> Int64 {
        let start = try LogInspection.batch(directory, of: zxid)
        var reader = try LogReader(directory, from: start)
        while let batch = try reader.next() {
            var found: Int64?
            batch.forEach { record in
                guard found == nil, record.type == RecordType.change,
                    let change = try? ChangeCodec.decode(record.payload), change.zxid >= zxid
                else { return }
                found = record.offset
            }
            if let found { return found }
        }
        return reader.nextOffset
    }

    /// Decimal, or hexadecimal with 0x.
    private static func zxid(_ text: Substring) -> Zxid? {
        let value = text.hasPrefix("0x") ? Int64(text.dropFirst(2), radix: 16) : Int64(text)
        return value.flatMap { $0 >= 0 ? Zxid($0) : nil }
    }

    private static func milliseconds(_ text: Substring) -> Int64? {
        let units: [(String, Int64)] = [
            ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
        ]
        for (unit, factor) in units where text.hasSuffix(unit) {
            if let number = Int64(text.dropLast(unit.count)), number >= 0 {
                let product = number.multipliedReportingOverflow(by: factor)
                return product.overflow ? nil : product.partialValue
            }
        }
        return nil
    }

    private static func time(_ text: String) -> Int64? {
        for fraction in [true, false] {
            let style = Date.ISO8601FormatStyle(includingFractionalSeconds: fraction)
            if let date = try? style.parse(text) {
                return Int64((date.timeIntervalSince1970 * 1000).rounded())
            }
        }
        return nil
    }
}
