import Foundation

extension String {
    /// `nil` where an escape is none, or the bytes are no UTF-8.
    var percentDecoded: String? { removingPercentEncoding }

    /// All but letters, digits, `-`, `.`, `_` and `~` (RFC 3986) escaped.
    var percentEncoded: String {
        addingPercentEncoding(
            withAllowedCharacters: CharacterSet(
                charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")) ?? ""
    }

    var base64: String { Data(utf8).base64EncodedString() }
}

/// Times as people and machines write them.
enum Timestamp {
    /// Milliseconds since 1970 of an RFC 3339 time; `nil` where it is none.
    static func milliseconds(parsing text: String) -> Int64? {
        let date =
            (try? Date(
                text,
                strategy: .iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(
                    separator: .omitted)))
            ?? (try? Date(text, strategy: .iso8601))
        guard let seconds = date?.timeIntervalSince1970, abs(seconds) < 1e14 else { return nil }
        return Int64((seconds * 1000).rounded())
    }

    /// RFC 3339 in UTC with milliseconds.
    static func text(milliseconds: Int64) -> String {
        // Half a millisecond more, since what is not exact is cut off.
        Date(timeIntervalSince1970: (Double(milliseconds) + 0.5) / 1000).formatted(
            Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}
