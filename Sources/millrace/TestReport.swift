import ChangeModel

/// What came of one test of a definition.
struct TestResult {
    var file: String
    var line: Int
    var name: String
    /// Lines for people; none where it has passed.
    var differences: [String]

    var text: String {
        guard !differences.isEmpty else { return "ok    \(name)" }
        return (["FAIL  \(name) (\(file):\(line))"] + differences.map { "      \($0)" }).joined(
            separator: "\n")
    }
}

/// Results of tests for other programs.
enum TestReport {
    static func json(_ results: [TestResult]) -> String {
        var json = JSONBytes()
        json.open()
        json.openArray("tests")
        for result in results {
            json.open()
            json.field("file", result.file)
            json.field("line", Int64(result.line))
            json.field("name", result.name)
            json.field("passed", result.differences.isEmpty)
            if !result.differences.isEmpty {
                json.field("differences", result.differences.joined(separator: "\n"))
            }
            json.close()
        }
        json.closeArray()
        json.field("passed", Int64(results.count { $0.differences.isEmpty }))
        json.field("failed", Int64(results.count { !$0.differences.isEmpty }))
        json.close()
        return json.text
    }

    /// The form that CI systems read: a `testsuite` for each file.
    static func junit(_ results: [TestResult]) -> String {
        var lines = ["<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<testsuites>"]
        var files: [String] = []
        for result in results where !files.contains(result.file) { files.append(result.file) }
        for file in files {
            let own = results.filter { $0.file == file }
            let failures = own.count { !$0.differences.isEmpty }
            lines.append(
                "  <testsuite name=\"\(escaped(file))\" tests=\"\(own.count)\" failures=\"\(failures)\">")
            for result in own {
                let head = "    <testcase classname=\"\(escaped(file))\" name=\"\(escaped(result.name))\""
                if result.differences.isEmpty {
                    lines.append(head + "/>")
                } else {
                    let text = escaped(result.differences.joined(separator: "\n"))
                    lines.append(head + ">")
                    lines.append("      <failure message=\"line \(result.line)\">\(text)</failure>")
                    lines.append("    </testcase>")
                }
            }
            lines.append("  </testsuite>")
        }
        return (lines + ["</testsuites>", ""]).joined(separator: "\n")
    }

    /// XML 1.0 has no way to write most control characters.
    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "\n", "\t": escaped += String(scalar)
            default:
                let isAllowed = scalar.value >= 0x20 && scalar.value != 0xfffe && scalar.value != 0xffff
                escaped += isAllowed ? String(scalar) : "\u{fffd}"
            }
        }
        return escaped
    }
}
