import Mapping

/// A write as a test expects it.
struct ExpectedWrite: Sendable {
    var form: WriteForm
    /// Of a hash or an entry only the fields that are named are compared.
    var isPartial = false
    var line: Int

    /// What differs, in lines; none where both are the same.
    static func differences(_ expected: [ExpectedWrite], _ actual: [WriteForm]) -> [String] {
        var lines: [String] = []
        for index in 0..<max(expected.count, actual.count) {
            let place = "write \(index + 1)"
            if index >= actual.count {
                lines += [
                    "\(place) (line \(expected[index].line)) is missing",
                    "  expected \(expected[index].form)",
                ]
            } else if index >= expected.count {
                lines += ["\(place) is one too many", "  got      \(actual[index])"]
            } else {
                let found = expected[index].difference(actual[index])
                if !found.isEmpty { lines.append("\(place) (line \(expected[index].line)) differs") }
                lines += found.map { "  " + $0 }
            }
        }
        return lines
    }

    private func difference(_ actual: WriteForm) -> [String] {
        let whole = ["expected \(form)", "got      \(actual)"]
        guard form.kind == actual.kind else { return whole }
        if form.kind == .failed {
            let message = String(decoding: actual.text, as: UTF8.self)
            return message.contains(String(decoding: form.text, as: UTF8.self)) ? [] : whole
        }
        guard form.key == actual.key, form.text == actual.text, form.score == actual.score,
            form.ttlMilliseconds == actual.ttlMilliseconds
        else { return whole }
        return differencesOfFields(actual.fields)
    }

    private func differencesOfFields(_ actual: [Field]) -> [String] {
        var lines: [String] = []
        func name(_ field: Field) -> String { String(decoding: field.name, as: UTF8.self) }
        for field in form.fields {
            guard let found = actual.first(where: { $0.name == field.name }) else {
                lines.append("\(name(field)): expected \(WriteForm.quoted(field.value)), got no such field")
                continue
            }
            if found.value != field.value {
                lines.append(
                    "\(name(field)): expected \(WriteForm.quoted(field.value)), "
                        + "got \(WriteForm.quoted(found.value))")
            }
        }
        guard !isPartial else { return lines }
        for field in actual where !form.fields.contains(where: { $0.name == field.name }) {
            lines.append("\(name(field)): not expected, got \(WriteForm.quoted(field.value))")
        }
        return lines
    }
}
