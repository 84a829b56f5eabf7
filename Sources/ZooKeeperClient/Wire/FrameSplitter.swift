internal import NIOCore

/// Cuts the stream into frames: an int32 length, then as many bytes.
struct FrameSplitter {
    /// A frame that is larger than allowed; `xid` is that of the reply in it.
    struct TooLarge: Error, Equatable {
        let length: Int
        let xid: Int32
    }

    enum Problem: Error, Equatable {
        case tooLarge(TooLarge)
        case negativeLength(Int32)
    }

    private let maximumBytes: Int
    private var buffer = ByteBuffer()

    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// Whether part of a frame waits for the rest.
    var holdsPart: Bool { buffer.readableBytes > 0 }

    mutating func append(_ bytes: inout ByteBuffer) {
        buffer.take(&bytes)
    }

    /// The next whole frame without its length, or `nil`. Memory is bounded by what has arrived, never by
    /// what a length announces.
    mutating func next() throws(Problem) -> ByteBuffer? {
        guard let announced = buffer.getInteger(at: buffer.readerIndex, as: Int32.self) else { return nil }
        guard announced >= 0 else { throw .negativeLength(announced) }
        let length = Int(announced)
        guard length <= maximumBytes else {
            guard let xid = buffer.getInteger(at: buffer.readerIndex + 4, as: Int32.self) else { return nil }
            throw .tooLarge(TooLarge(length: length, xid: xid))
        }
        guard buffer.readableBytes >= 4 + length else { return nil }
        buffer.moveReaderIndex(forwardBy: 4)
        return buffer.readSlice(length: length)
    }
}

extension ByteBuffer {
    /// Puts what has arrived behind what is not read yet; copies only where there is such.
    mutating func take(_ bytes: inout ByteBuffer) {
        if readableBytes == 0 {
            self = bytes
        } else {
            discardReadBytes()
            writeBuffer(&bytes)
        }
    }
}
