import ArgumentParser
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

    init?(argument: String) {
        if argument == "earliest" {
            self = .earliest
        } else if argument == "latest" {
            self = .latest
        } else if let offset = Int64(argument), offset >= 0 {
            self = .offset(offset)
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
        case .earliest, .latest, .offset: false
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
        }
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
