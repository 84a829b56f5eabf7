internal import NIOCore

/// Turns what comes from a socket into messages.
struct RESPDecoder {
    private var parser: RESPParser
    private var buffer = ByteBuffer()

    init(limits: RESPLimits) {
        parser = RESPParser(limits: limits)
    }

    /// Takes what has come, and gives each message that is complete now with the bytes of memory that it
    /// takes.
    ///
    /// - Throws: `protocolViolation` or `limitExceeded`, or what `body` throws; the decoder is of no use
    ///   afterwards.
    mutating func decode(
        _ bytes: ByteBuffer, _ body: (RESPMessage, _ memory: Int) throws(RedisError) -> Void
    ) throws(RedisError) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            // Only an unfinished element is left to move.
            buffer.discardReadBytes()
            buffer.writeImmutableBuffer(bytes)
        }
        let position = try parse(buffer, body)
        buffer.moveReaderIndex(forwardBy: position)
    }

    private mutating func parse(
        _ bytes: ByteBuffer, _ body: (RESPMessage, _ memory: Int) throws(RedisError) -> Void
    ) throws(RedisError) -> Int {
        let span = bytes.readableBytesUInt8Span
        var position = 0
        while let message = try parser.next(span, &position) {
            try body(message, parser.lastMessageMemory)
        }
        return position
    }
}
