/// Limits, texts and numbers.
extension RESPParser {
    /// Bytes that the head of a heap object and the allocator's rounding take.
    static let allocationOverhead = 48

    mutating func text(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) throws(RedisError) -> String {
        // Shorter strings are kept in place by Swift.
        if range.count > 15 { try charge(elements: 0, bytes: range.count + RESPParser.allocationOverhead) }
        return RESPParser.decode(bytes, range)
    }

    static func decode(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> String {
        bytes.extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }

    static func copy(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
        bytes.extracting(range).withUnsafeBufferPointer { Array($0) }
    }

    /// A length or count: decimal digits, or -1 for null.
    func length(
        _ bytes: borrowing Span<UInt8>, _ range: Range<Int>, isNullable: Bool
    ) throws(RedisError) -> Int? {
        guard range.count <= 19, !range.isEmpty else { throw violation("a length that is not a number") }
        if bytes[range.lowerBound] == UInt8(ascii: "-") {
            guard isNullable, range.count == 2, bytes[range.lowerBound + 1] == UInt8(ascii: "1") else {
                throw violation("a negative length")
            }
            return nil
        }
        guard bytes[range.lowerBound] != UInt8(ascii: "+"),
            let length = Int(exactly: try integer(bytes, range))
        else {
            throw violation("a length that is not a number")
        }
        return length
    }

    /// An optional sign and decimal digits that fit into 64 bits.
    func integer(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) throws(RedisError) -> Int64 {
        guard let first = range.first else { throw violation("a number without digits") }
        let isNegative = bytes[first] == UInt8(ascii: "-")
        let start = isNegative || bytes[first] == UInt8(ascii: "+") ? first + 1 : first
        guard start < range.upperBound else { throw violation("a number without digits") }
        // Towards the negative end, which is one larger.
        var number: Int64 = 0
        for index in start..<range.upperBound {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { throw violation("a number with other characters than digits") }
            let (shifted, tooLarge) = number.multipliedReportingOverflow(by: 10)
            let (next, stillTooLarge) = shifted.subtractingReportingOverflow(Int64(digit))
            guard !tooLarge, !stillTooLarge else { throw violation("a number of more than 64 bits") }
            number = next
        }
        if isNegative { return number }
        guard number != .min else { throw violation("a number of more than 64 bits") }
        return -number
    }

    static func double(_ text: String) throws(RedisError) -> Double {
        switch text {
        case "inf", "+inf": return .infinity
        case "-inf": return -.infinity
        case "nan", "-nan": return .nan
        default:
            // Swift reads hexadecimal and other spellings too.
            let isDecimal = text.utf8.allSatisfy { "0123456789+-.eE".utf8.contains($0) }
            guard isDecimal, let number = Double(text) else {
                throw RedisError(code: .protocolViolation, message: "a double that is not a number")
            }
            return number
        }
    }

    static func bigNumber(_ text: String) throws(RedisError) -> String {
        let digits =
            text.utf8.first.map { "+-".utf8.contains($0) } == true ? text.utf8.dropFirst() : text.utf8[...]
        guard !digits.isEmpty, digits.allSatisfy({ "0123456789".utf8.contains($0) }) else {
            throw RedisError(code: .protocolViolation, message: "a big number that is not a number")
        }
        return text
    }

    func violation(_ message: String) -> RedisError {
        RedisError(code: .protocolViolation, message: "not RESP: \(message)")
    }
}
