/// Columns aligned under their headers, two spaces apart; numbers to the right.
func alignedTable(_ rows: [[String]]) -> String {
    guard let columns = rows.first?.count else { return "" }
    let widths = (0..<columns).map { column in rows.map { $0[column].count }.max() ?? 0 }
    let lines = rows.map { row in
        let cells = row.enumerated().map { column, cell in
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            let isNumber = rows.dropFirst().allSatisfy { Double($0[column]) != nil || $0[column] == "-" }
            return isNumber ? padding + cell : cell + padding
        }
        let line = cells.joined(separator: "  ")
        return String(line.reversed().drop { $0 == " " }.reversed())
    }
    return lines.joined(separator: "\n")
}

/// Milliseconds as a person reads them: `0`, `350ms`, `12s`, `3m 5s`, `2h 1m`, `4d 3h`.
func readable(milliseconds: Int64) -> String {
    let seconds = milliseconds / 1000
    switch milliseconds {
    case ...0: return "0"
    case ..<1000: return "\(milliseconds)ms"
    case ..<60_000: return "\(seconds)s"
    case ..<3_600_000: return "\(seconds / 60)m \(seconds % 60)s"
    case ..<86_400_000: return "\(seconds / 3600)h \(seconds / 60 % 60)m"
    default: return "\(seconds / 86_400)d \(seconds / 3600 % 24)h"
    }
}

/// Bytes as a person reads them, in powers of 1024.
func readable(bytes: Int64) -> String {
    var value = Double(bytes)
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024 || unit == "GiB" {
            return unit == "B" ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(unit)"
        }
        value /= 1024
    }
    return "\(bytes) B"
}
