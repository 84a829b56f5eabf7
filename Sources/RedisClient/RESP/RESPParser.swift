/// What a server says.
enum RESPMessage: Equatable {
    /// The answer to the oldest command that has none.
    case reply(RESPValue)
    /// RESP3: something the server says of its own accord.
    case push([RESPValue])
}

/// Reads RESP2 and RESP3 from bytes that come in pieces. Pure, and trusts nothing.
///
/// What is read of an unfinished reply is kept, so that the work is proportional to the bytes however they
/// are cut. Lengths and counts are only believed as far as the limits go, and memory is only taken for
/// bytes that are there. RESP3's streamed strings and aggregates (`$?`, `*?`) are refused: no server sends
/// them.
///
/// Source: the RESP specification, redis.io/docs/latest/develop/reference/protocol-spec.
struct RESPParser {
    private var limits: RESPLimits
    /// Aggregates that lack elements, the innermost last.
    private var open: [Frame] = []
    /// Bytes of the current line that are known to hold no CR.
    private var scanned = 0
    private var elements = 0
    private var memory = 0

    /// Bytes of memory that the last message takes.
    private(set) var lastMessageMemory = 0

    init(limits: RESPLimits) {
        self.limits = limits
        // Values are taken apart recursively.
        self.limits.maximumDepth = min(limits.maximumDepth, 1_000)
    }

    /// The next message; `nil` where bytes are missing.
    ///
    /// - Parameters:
    ///   - bytes: what has not been consumed so far, more than at the last call, and what came since.
    ///   - position: where to read; moved behind what was consumed. The rest is presented again.
    /// - Throws: `protocolViolation` or `limitExceeded`; the parser is of no use afterwards.
    mutating func next(_ bytes: borrowing Span<UInt8>, _ position: inout Int) throws(RedisError)
        -> RESPMessage?
    {
        while let element = try element(bytes, &position) {
            switch element {
            case .value(let value):
                if let message = close(value) { return message }
            case .aggregate(let kind, let count):
                if kind == .push, !open.isEmpty { throw violation("a push inside a reply") }
                if count > 0 {
                    guard open.count < limits.maximumDepth else {
                        throw RedisError(
                            code: .limitExceeded,
                            message: "a reply is nested more than \(limits.maximumDepth) deep")
                    }
                    open.append(Frame(kind: kind, count: count))
                } else if let message = close(Frame(kind: kind, count: 0)) {
                    return message
                }
            }
        }
        return nil
    }

    // MARK: Aggregates

    private enum Kind {
        case array, set, map, push, attribute
    }

    private struct Frame {
        let kind: Kind
        var missing: Int
        var values: [RESPValue] = []

        init(kind: Kind, count: Int) {
            self.kind = kind
            missing = count
            // The count is the peer's word; beyond this memory follows what arrives.
            values.reserveCapacity(min(count, 1_024))
        }
    }

    /// Puts a value where it belongs, and closes what it completes.
    private mutating func close(_ value: RESPValue) -> RESPMessage? {
        guard let last = open.indices.last else { return finish(.reply(value)) }
        open[last].values.append(value)
        open[last].missing -= 1
        guard open[last].missing == 0 else { return nil }
        return close(open.removeLast())
    }

    private mutating func close(_ frame: Frame) -> RESPMessage? {
        switch frame.kind {
        case .array: close(.array(frame.values))
        case .set: close(.set(frame.values))
        case .map: close(.map(entries(frame.values)))
        case .push: finish(.push(frame.values))
        // Stands before the value that it is about, and is not an element.
        case .attribute: nil
        }
    }

    private func entries(_ values: [RESPValue]) -> [RESPMapEntry] {
        stride(from: 0, to: values.count - 1, by: 2).map {
            RESPMapEntry(key: values[$0], value: values[$0 + 1])
        }
    }

    private mutating func finish(_ message: RESPMessage) -> RESPMessage {
        lastMessageMemory = memory
        memory = 0
        elements = 0
        return message
    }

    /// Counts what the message takes.
    mutating func charge(elements newElements: Int, bytes: Int) throws(RedisError) {
        elements += newElements
        guard elements <= limits.maximumElements else { throw tooMany() }
        let (sum, overflow) = bytes.addingReportingOverflow(newElements * MemoryLayout<RESPValue>.stride)
        guard !overflow, sum <= limits.maximumReplyBytes - memory else { throw tooLarge() }
        memory += sum
    }

    private func tooMany() -> RedisError {
        RedisError(code: .limitExceeded, message: "a reply of more than \(limits.maximumElements) values")
    }

    private func tooLarge() -> RedisError {
        RedisError(
            code: .limitExceeded, message: "a reply of more than \(limits.maximumReplyBytes) bytes of memory")
    }

    // MARK: Elements

    private enum Element {
        case value(RESPValue)
        case aggregate(Kind, count: Int)
    }

    /// Consumes a value, or the head of an aggregate; `nil`, and nothing consumed, where bytes are missing.
    private mutating func element(
        _ bytes: borrowing Span<UInt8>, _ position: inout Int
    ) throws(RedisError) -> Element? {
        guard position < bytes.count else { return nil }
        let type = bytes[position]
        guard isType(type) else { throw violation("a reply starts with the byte \(type)") }
        guard let end = try endOfLine(bytes, from: position + 1) else { return nil }
        let line = position + 1..<end
        var next = end + 2
        let element: Element
        switch type {
        case UInt8(ascii: "+"):
            element = .value(.simpleString(try text(bytes, line)))
        case UInt8(ascii: "-"):
            element = .value(.error(RedisServerError(message: try text(bytes, line))))
        case UInt8(ascii: ":"):
            element = .value(.integer(try integer(bytes, line)))
        case UInt8(ascii: "$"), UInt8(ascii: "="), UInt8(ascii: "!"):
            guard let (value, behind) = try bulk(type, bytes, line) else { return nil }
            element = .value(value)
            next = behind
        case UInt8(ascii: "*"), UInt8(ascii: "%"), UInt8(ascii: "~"), UInt8(ascii: ">"), UInt8(ascii: "|"):
            element = try aggregate(type, bytes, line)
        default:
            element = .value(try scalar(type, bytes, line))
        }
        try charge(elements: 1, bytes: 0)
        scanned = 0
        position = next
        return element
    }

    private func isType(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ":"), UInt8(ascii: "$"), UInt8(ascii: "*"),
            UInt8(ascii: "_"), UInt8(ascii: "#"), UInt8(ascii: ","), UInt8(ascii: "("), UInt8(ascii: "!"),
            UInt8(ascii: "="), UInt8(ascii: "%"), UInt8(ascii: "~"), UInt8(ascii: ">"), UInt8(ascii: "|"):
            true
        default:
            false
        }
    }

    /// The position of the line's CR, which a LF follows; `nil` where it has not come.
    private mutating func endOfLine(_ bytes: borrowing Span<UInt8>, from start: Int) throws(RedisError)
        -> Int?
    {
        var index = start + scanned
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\r") {
                scanned = index - start
                guard index + 1 < bytes.count else { return nil }
                guard bytes[index + 1] == UInt8(ascii: "\n") else { throw violation("a CR without a LF") }
                return index
            }
            if byte == UInt8(ascii: "\n") { throw violation("a LF without a CR") }
            index += 1
            if index - start > RESPLimits.maximumLineBytes {
                throw RedisError(
                    code: .limitExceeded, message: "a line of more than \(RESPLimits.maximumLineBytes) bytes")
            }
        }
        scanned = index - start
        return nil
    }

    /// A string that is preceded by its length. `nil` where bytes are missing; then its head is read again,
    /// which costs the same however long the string is.
    private mutating func bulk(
        _ type: UInt8, _ bytes: borrowing Span<UInt8>, _ line: Range<Int>
    ) throws(RedisError) -> (RESPValue, Int)? {
        guard let length = try length(bytes, line, isNullable: type == UInt8(ascii: "$")) else {
            return (.null, line.upperBound + 2)
        }
        guard length <= limits.maximumBulkBytes else {
            throw RedisError(
                code: .limitExceeded,
                message: "a string of \(length) bytes; \(limits.maximumBulkBytes) are allowed")
        }
        let start = line.upperBound + 2
        let (end, overflow) = start.addingReportingOverflow(length)
        guard !overflow, end <= bytes.count - 2 else {
            guard length <= limits.maximumReplyBytes - memory else { throw tooLarge() }
            return nil
        }
        guard bytes[end] == UInt8(ascii: "\r"), bytes[end + 1] == UInt8(ascii: "\n") else {
            throw violation("a string that does not end where it should")
        }
        try charge(elements: 0, bytes: length + RESPParser.allocationOverhead)
        return (try bulkValue(type, bytes, start..<end), end + 2)
    }

    private func bulkValue(
        _ type: UInt8, _ bytes: borrowing Span<UInt8>, _ range: Range<Int>
    ) throws(RedisError) -> RESPValue {
        switch type {
        case UInt8(ascii: "$"):
            return .bulkString(RESPParser.copy(bytes, range))
        case UInt8(ascii: "!"):
            return .error(RedisServerError(message: RESPParser.decode(bytes, range)))
        default:
            let separator = range.lowerBound + 3
            guard range.count >= 4, bytes[separator] == UInt8(ascii: ":") else {
                throw violation("a verbatim string without a format")
            }
            return .verbatim(
                format: RESPParser.decode(bytes, range.lowerBound..<separator),
                bytes: RESPParser.copy(bytes, separator + 1..<range.upperBound))
        }
    }

    private mutating func aggregate(
        _ type: UInt8, _ bytes: borrowing Span<UInt8>, _ line: Range<Int>
    ) throws(RedisError) -> Element {
        guard let count = try length(bytes, line, isNullable: type == UInt8(ascii: "*")) else {
            return .value(.null)
        }
        let kind: Kind =
            switch type {
            case UInt8(ascii: "*"): .array
            case UInt8(ascii: "~"): .set
            case UInt8(ascii: ">"): .push
            case UInt8(ascii: "%"): .map
            default: .attribute
            }
        let perEntry = kind == .map || kind == .attribute ? 2 : 1
        guard count <= limits.maximumElements / perEntry else { throw tooMany() }
        try charge(elements: 0, bytes: RESPParser.allocationOverhead)
        return .aggregate(kind, count: count * perEntry)
    }

    private func scalar(
        _ type: UInt8, _ bytes: borrowing Span<UInt8>, _ line: Range<Int>
    ) throws(RedisError) -> RESPValue {
        switch type {
        case UInt8(ascii: "_"):
            guard line.isEmpty else { throw violation("a null with something in it") }
            return .null
        case UInt8(ascii: "#"):
            guard line.count == 1 else { throw violation("a boolean that is neither t nor f") }
            switch bytes[line.lowerBound] {
            case UInt8(ascii: "t"): return .boolean(true)
            case UInt8(ascii: "f"): return .boolean(false)
            default: throw violation("a boolean that is neither t nor f")
            }
        case UInt8(ascii: ","):
            return .double(try RESPParser.double(RESPParser.decode(bytes, line)))
        default:
            return .bigNumber(try RESPParser.bigNumber(RESPParser.decode(bytes, line)))
        }
    }
}
