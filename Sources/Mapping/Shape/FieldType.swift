/// What a value can be cast to.
public enum FieldType: String, Sendable, Hashable, CaseIterable {
    case string, integer, number, boolean
    /// RFC 3339 in UTC; from milliseconds since 1970, or from such a time.
    case time
    /// Milliseconds since 1970; from an RFC 3339 time, or from such a number.
    case epochMilliseconds = "epoch_ms"
    /// Seconds since 1970, likewise.
    case epochSeconds = "epoch_s"
    /// RFC 3339 in UTC; from seconds since 1970.
    case timeOfSeconds = "time_of_seconds"
}

extension FieldType {
    /// The value as this type; `nil` where it is none. Nothing is rounded: `9.5` is no integer.
    func convert(_ value: borrowing Value) -> Value? {
        switch self {
        case .string: .bytes(value.textBytes)
        case .integer: integer(value).map(Value.integer)
        case .number: number(value)
        case .boolean: boolean(value).map(Value.boolean)
        case .time: milliseconds(value).map { .text(Timestamp.text(milliseconds: $0)) }
        case .epochMilliseconds: milliseconds(value).map(Value.integer)
        case .epochSeconds: seconds(value).map(Value.integer)
        case .timeOfSeconds:
            integer(value).flatMap { seconds in
                seconds.magnitude < 1 << 40 ? .text(Timestamp.text(milliseconds: seconds * 1000)) : nil
            }
        }
    }

    /// Whether a text (a `default:`) is of this type.
    public func accepts(_ text: String) -> Bool {
        convert(.text(text)) != nil
    }

    private func milliseconds(_ value: borrowing Value) -> Int64? {
        if let number = integer(value) { return number.magnitude < 1 << 50 ? number : nil }
        switch value {
        case .text(let text): return Timestamp.milliseconds(parsing: text)
        case .bytes(let raw): return Timestamp.milliseconds(parsing: String(decoding: raw, as: UTF8.self))
        default: return nil
        }
    }

    private func seconds(_ value: borrowing Value) -> Int64? {
        if let number = integer(value) { return number }
        return milliseconds(value).map { ($0 - ($0 < 0 ? 999 : 0)) / 1000 }
    }

    private func integer(_ value: borrowing Value) -> Int64? {
        switch value {
        case .integer(let number): number
        case .number(let text): Double(text).flatMap(Int64.init(exactly:))
        case .text(let text): Int64(text)
        case .bytes(let raw): Int64(String(decoding: raw, as: UTF8.self))
        case .null, .boolean, .array, .object: nil
        }
    }

    private func number(_ value: borrowing Value) -> Value? {
        switch value {
        case .integer(let number): .integer(number)
        case .number(let text): .number(text)
        case .text(let text): Value.number(parsing: text)
        case .bytes(let raw): Value.number(parsing: String(decoding: raw, as: UTF8.self))
        case .null, .boolean, .array, .object: nil
        }
    }

    /// `true` and `false`, also as text, and 1 and 0.
    private func boolean(_ value: borrowing Value) -> Bool? {
        switch value {
        case .boolean(let flag): flag
        case .integer(1): true
        case .integer(0): false
        case .text(let text): boolean(text)
        case .bytes(let raw): boolean(String(decoding: raw, as: UTF8.self))
        case .null, .integer, .number, .array, .object: nil
        }
    }

    private func boolean(_ text: String) -> Bool? {
        switch text {
        case "true", "1": true
        case "false", "0": false
        default: nil
        }
    }

    var article: String {
        switch self {
        case .integer: "an integer"
        case .time, .timeOfSeconds: "a time"
        case .epochMilliseconds, .epochSeconds:
            "a time in \(self == .epochSeconds ? "seconds" : "milliseconds")"
        case .string, .number, .boolean: "a \(rawValue)"
        }
    }
}
