import Mapping

/// Sizes and durations as people write them.
enum Quantity {
    private static let sizeUnits: [(String, Int64)] = [
        ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ("kB", 1000), ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
        ("B", 1),
    ]

    /// Bytes: `64MiB`, `1GB`, `4096`. `nil` where it is no size or more than 64 bits hold.
    static func bytes(_ text: String) -> Int64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard !digits.isEmpty, let count = Int64(digits) else { return nil }
        let unit = text[digits.endIndex...].drop { $0 == " " }
        let factor = unit.isEmpty ? 1 : sizeUnits.first { $0.0 == unit }?.1
        guard let factor else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }

    /// Milliseconds: `10s`, `500ms`, `7d`. A number needs its unit.
    static func milliseconds(_ text: String) -> Int64? {
        TimeSpan.milliseconds(text)
    }
}

extension Section {
    /// A size in bytes within bounds; reported where it is not.
    func bytes(_ key: String, in bounds: ClosedRange<Int64>, context: LoadContext) -> Int64? {
        guard let text = text(key) else { return nil }
        guard let bytes = Quantity.bytes(text.value) else {
            context.error(text.position, "\(key) is no size: '\(text.value)'", fix: "write for example 64MiB")
            return nil
        }
        guard bounds.contains(bytes) else {
            context.error(
                text.position,
                "\(key) is \(bytes) bytes, which is not between \(bounds.lowerBound) and "
                    + "\(bounds.upperBound)", fix: "write a size between them")
            return nil
        }
        return bytes
    }

    /// A duration in milliseconds within bounds; reported where it is not.
    func milliseconds(_ key: String, in bounds: ClosedRange<Int64>, context: LoadContext) -> Int64? {
        guard let text = text(key) else { return nil }
        guard let duration = Quantity.milliseconds(text.value) else {
            context.error(
                text.position, "\(key) is no duration: '\(text.value)'",
                fix: "write a number and ms, s, m, h or d, for example 10s")
            return nil
        }
        guard bounds.contains(duration) else {
            context.error(
                text.position,
                "\(key) is \(duration)ms, which is not between \(bounds.lowerBound)ms and "
                    + "\(bounds.upperBound)ms", fix: "write a duration between them")
            return nil
        }
        return duration
    }
}
