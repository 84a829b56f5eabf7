/// What `millrace run` says at its end, as far as it has said it.
struct RunSummary {
    /// Changes that each sink was given, those that it was given again among them.
    private(set) var delivered: [String: Int] = [:]
    /// The log's end.
    private(set) var end: Int?

    init(_ errors: String) {
        for line in errors.split(separator: "\n") {
            var values: [Substring: Substring] = [:]
            for word in line.split(separator: " ") {
                guard let sign = word.firstIndex(of: "=") else { continue }
                values[word[..<sign]] = word[word.index(after: sign)...]
            }
            if let sink = values["sink"], let count = values["delivered"].flatMap({ Int($0) }) {
                delivered[String(sink), default: 0] += count
            } else if values["captured"] != nil, let count = values["end"].flatMap({ Int($0) }) {
                end = count
            }
        }
    }

    /// Of each sink the changes that it was given more than once, in the order of the names: `changes 0, keys 17`.
    ///
    /// - Parameter unmapped: records of the log that no rule has for any sink.
    func deliveredAgain(unmapped: Int) -> String {
        guard let end, !delivered.isEmpty else { return "unknown" }
        return delivered.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value - end + unmapped)" }
            .joined(separator: ", ")
    }
}
