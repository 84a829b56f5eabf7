import Foundation

/// Metrics in Prometheus' text format, read by the format's rules: a line that breaks one throws.
public struct MetricsText: Sendable {
    /// By `name{label="value",…}`, as it is written.
    public private(set) var samples: [String: Double] = [:]
    /// By the metric's name.
    public private(set) var types: [String: String] = [:]

    /// - Throws: `TestServerError` that names the line.
    public init(parsing text: String) throws {
        guard text.hasSuffix("\n") else { throw TestServerError("the last line has no end") }
        var helped: Set<String> = []
        var current = ""
        var done: Set<String> = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if line.hasPrefix("#") {
                let words = line.split(separator: " ", maxSplits: 3)
                guard words.count == 4, MetricsText.isName(words[2]) else { throw Self.wrong(line) }
                let name = String(words[2])
                if words[1] == "HELP" {
                    guard helped.insert(name).inserted else { throw Self.wrong(line) }
                } else {
                    guard words[1] == "TYPE", ["counter", "gauge", "histogram"].contains(words[3]),
                        types[name] == nil, helped.contains(name)
                    else { throw Self.wrong(line) }
                    types[name] = String(words[3])
                    done.insert(current)
                    current = name
                }
                continue
            }
            let (name, key, value) = try MetricsText.sample(line)
            let isHistogram = types[current] == "histogram"
            let names = isHistogram ? ["_bucket", "_sum", "_count"].map { current + $0 } : [current]
            // All samples of a metric come together, behind its TYPE.
            guard names.contains(name), !done.contains(current), samples[key] == nil,
                types[current] != "counter" || name.hasSuffix("_total")
            else { throw Self.wrong(line) }
            samples[key] = value
        }
    }

    private static func wrong(_ line: Substring) -> TestServerError {
        TestServerError("not in the text format: '\(line)'")
    }

    private static func isName(_ text: Substring) -> Bool {
        text.wholeMatch(of: /[a-zA-Z_:][a-zA-Z0-9_:]*/) != nil
    }

    private static func sample(_ line: Substring) throws -> (name: String, key: String, value: Double) {
        let form =
            /([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (NaN|[+-]Inf|[-+0-9.e]+)/
        guard let match = line.wholeMatch(of: form), let value = Double(match.output.3) else {
            throw wrong(line)
        }
        return (String(match.output.1), String(match.output.1) + String(match.output.2 ?? ""), value)
    }
}
