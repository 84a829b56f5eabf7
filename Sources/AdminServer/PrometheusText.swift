/// Writes metrics in Prometheus' text format 0.0.4. The samples of one metric come together, as the format wants it.
struct PrometheusText {
    enum Kind: String {
        case counter, gauge, histogram
    }

    typealias Labels = [(name: String, value: String)]

    private(set) var text = ""

    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// A metric's HELP and TYPE; its samples follow.
    mutating func metric(_ name: String, _ kind: Kind, _ help: String) {
        text += "# HELP \(name) \(PrometheusText.escaped(help, quotes: false))\n"
        text += "# TYPE \(name) \(kind.rawValue)\n"
    }

    mutating func sample(_ name: String, _ labels: Labels, _ value: Int64) {
        sample(name, labels, text: String(value))
    }

    mutating func sample(_ name: String, _ labels: Labels, _ value: Double) {
        sample(name, labels, text: PrometheusText.number(value))
    }

    private mutating func sample(_ name: String, _ labels: Labels, text value: String) {
        text += name
        if !labels.isEmpty {
            let pairs = labels.map { "\($0.name)=\"\(PrometheusText.escaped($0.value, quotes: true))\"" }
            text += "{" + pairs.joined(separator: ",") + "}"
        }
        text += " \(value)\n"
    }

    /// The samples of a histogram.
    ///
    /// - Parameters:
    ///   - buckets: upper bounds and how many lie within each and not within the one before.
    ///   - beyond: how many lie within none.
    mutating func histogram(
        _ name: String, _ labels: Labels, buckets: [(bound: Double, count: Int64)], beyond: Int64, sum: Double
    ) {
        var total: Int64 = 0
        for bucket in buckets {
            total += bucket.count
            sample(name + "_bucket", labels + [("le", PrometheusText.number(bucket.bound))], total)
        }
        total += beyond
        sample(name + "_bucket", labels + [("le", "+Inf")], total)
        sample(name + "_sum", labels, sum)
        sample(name + "_count", labels, total)
    }

    /// As Go reads it: `NaN` and `+Inf` in its spelling, whole numbers without a fraction.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        let text = "\(value)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    /// Backslash and line feed, and in label values the quote.
    static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
