internal import NIOCore

/// Commands encoded for one write, in RESP's form: an array of bulk strings each.
///
/// Everything goes into one buffer as it is added; arguments are bytes, any bytes.
public struct RedisCommandBatch: Sendable {
    private(set) var buffer: ByteBuffer
    /// Arguments that the last command still lacks.
    private(set) var missing = 0

    /// Commands, the unfinished one included.
    public private(set) var count = 0

    /// Size of all commands as they are sent.
    public var byteCount: Int { buffer.readableBytes }

    public init() {
        buffer = ByteBuffer()
    }

    /// Commands of another batch, which are whole.
    init(encoded buffer: ByteBuffer, count: Int) {
        self.buffer = buffer
        self.count = count
    }

    /// Adds the commands of another batch.
    ///
    /// - Precondition: the last command of each is complete.
    public mutating func append(contentsOf other: RedisCommandBatch) {
        precondition(missing == 0 && other.missing == 0, "a command lacks arguments")
        buffer.writeImmutableBuffer(other.buffer)
        count += other.count
    }

    /// Empties the batch; its memory is kept for the next one unless it is still being sent.
    public mutating func removeAll() {
        buffer.clear()
        count = 0
        missing = 0
    }

    /// Adds a whole command: its name and its arguments, at least the name.
    public mutating func append(_ arguments: String...) {
        append(arguments)
    }

    /// Adds a whole command: its name and its arguments, at least the name.
    public mutating func append(_ arguments: [String]) {
        begin(argumentCount: arguments.count)
        for argument in arguments { add(argument) }
    }

    /// Starts a command. Exactly `argumentCount` calls of `add` follow, the first with the command's name.
    ///
    /// - Precondition: at least 1, and the command before is complete.
    public mutating func begin(argumentCount: Int) {
        precondition(argumentCount > 0, "a command has at least a name")
        precondition(missing == 0, "the command before lacks arguments")
        writeLine(UInt8(ascii: "*"), argumentCount)
        missing = argumentCount
        count += 1
    }

    /// Adds an argument to the command that was begun.
    ///
    /// - Precondition: the command lacks an argument.
    public mutating func add(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { add($0) }
    }

    /// Adds an argument to the command that was begun, and copies its bytes.
    ///
    /// - Precondition: the command lacks an argument.
    public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        takeArgument()
        let digits = UInt64(bytes.count).decimalDigitCount
        // `$` length CRLF bytes CRLF
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: bytes.count + digits + 5) { output in
            output[0] = UInt8(ascii: "$")
            write(UInt64(bytes.count), digits: digits, to: output, endingAt: 1 + digits)
            let start = endLine(output, at: 1 + digits)
            // Not by a slice of the output, which costs more than most arguments.
            if let target = output.baseAddress, let source = bytes.baseAddress {
                (target + start).copyMemory(from: source, byteCount: bytes.count)
            }
            return endLine(output, at: start + bytes.count)
        }
    }

    /// Adds an argument, in UTF-8.
    public mutating func add(_ string: String) {
        let added: Void? = string.utf8.withContiguousStorageIfAvailable {
            add(UnsafeRawBufferPointer($0))
        }
        if added == nil { add(Array(string.utf8)) }
    }

    /// Adds an argument, in UTF-8.
    public mutating func add(_ string: StaticString) {
        string.withUTF8Buffer { add(UnsafeRawBufferPointer($0)) }
    }

    /// Adds an argument, in decimal digits.
    public mutating func add(_ integer: Int64) {
        takeArgument()
        let digits = integer.magnitude.decimalDigitCount
        let length = digits + (integer < 0 ? 1 : 0)
        writeLine(UInt8(ascii: "$"), length)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length + 2) { output in
            if integer < 0 { output[0] = UInt8(ascii: "-") }
            write(integer.magnitude, digits: digits, to: output, endingAt: length)
            return endLine(output, at: length)
        }
    }

    private mutating func takeArgument() {
        precondition(missing > 0, "more arguments than announced")
        missing -= 1
    }

    private mutating func writeLine(_ type: UInt8, _ length: Int) {
        let digits = UInt64(length).decimalDigitCount
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: digits + 3) { output in
            output[0] = type
            write(UInt64(length), digits: digits, to: output, endingAt: 1 + digits)
            return endLine(output, at: 1 + digits)
        }
    }
}

private func write(_ number: UInt64, digits: Int, to output: UnsafeMutableRawBufferPointer, endingAt end: Int)
{
    var rest = number
    var index = end - 1
    while index >= end - digits {
        output[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
        rest /= 10
        index -= 1
    }
}

/// Returns the position behind the line end.
private func endLine(_ output: UnsafeMutableRawBufferPointer, at index: Int) -> Int {
    output[index] = UInt8(ascii: "\r")
    output[index + 1] = UInt8(ascii: "\n")
    return index + 2
}

extension UInt64 {
    fileprivate var decimalDigitCount: Int {
        var count = 1
        var rest = self
        while rest >= 10 {
            rest /= 10
            count += 1
        }
        return count
    }
}
