import LZ4

/// The header of a batch: the content of the skippable frame before the batch's LZ4 frame.
struct BatchHeader: Equatable {
    /// Skippable frame magic and length, then the fields, then two checksums.
    static let byteCount = 136
    static let maximumPosition = 64
    /// All offsets lie below it: a stream entry's ID has 48 bits for one, and no sum of offsets overflows.
    static let offsetBound: Int64 = 1 << 48 - 1
    private static let skippableMagic: UInt32 = 0x184D_2A5D
    private static let magic: UInt32 = 0x5442_524D  // "MRBT"
    private static let version: UInt8 = 1

    var generation: UInt16
    var baseOffset: Int64
    var lastOffset: Int64
    var count: UInt32
    var rawLength: UInt32
    var frameLength: UInt32
    var firstTimestamp: Int64
    var lastTimestamp: Int64
    var position: [UInt8]
    var frameChecksum: UInt32

    /// Bytes from the start of this batch to the next.
    var totalLength: Int64 { Int64(BatchHeader.byteCount) + Int64(frameLength) }

    func write(to bytes: inout [UInt8], at start: Int) {
        func put<T: FixedWidthInteger>(_ value: T, _ offset: Int, _ bytes: inout [UInt8]) {
            bytes.withUnsafeMutableBytes {
                $0.storeBytes(of: value.littleEndian, toByteOffset: start + offset, as: T.self)
            }
        }
        put(BatchHeader.skippableMagic, 0, &bytes)
        put(UInt32(BatchHeader.byteCount - 8), 4, &bytes)
        put(BatchHeader.magic, 8, &bytes)
        put(BatchHeader.version, 12, &bytes)
        put(UInt8(position.count), 13, &bytes)
        put(generation, 14, &bytes)
        put(baseOffset, 16, &bytes)
        put(lastOffset, 24, &bytes)
        put(count, 32, &bytes)
        put(rawLength, 36, &bytes)
        put(frameLength, 40, &bytes)
        put(firstTimestamp, 44, &bytes)
        put(lastTimestamp, 52, &bytes)
        for index in 0..<BatchHeader.maximumPosition {
            put(index < position.count ? position[index] : 0, 60 + index, &bytes)
        }
        put(UInt32(0), 124, &bytes)
        put(frameChecksum, 128, &bytes)
        let checksum = bytes.withUnsafeBytes {
            CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[start..<start + 132]))
        }
        put(checksum, 132, &bytes)
    }

    /// Appends the batch: this header, with the length and the checksum of the frame filled in, and the frame.
    mutating func write(
        _ records: [UInt8], _ codec: LZ4Frame, to output: inout [UInt8]
    ) throws(LZ4Error) {
        let start = output.count
        let frame = start + BatchHeader.byteCount
        output.append(contentsOf: repeatElement(0, count: BatchHeader.byteCount))
        try codec.compress(records, appendingTo: &output)
        frameLength = UInt32(output.count - frame)
        frameChecksum = output.withUnsafeBytes {
            CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[frame...]))
        }
        write(to: &output, at: start)
    }

    /// Whether a batch might begin here; for the search behind damage.
    static func looksLikeStart(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 12
            && UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)) == skippableMagic
            && UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)) == magic
    }

    enum Flaw: Error, Equatable {
        case damaged(String)
        case version(UInt8)
    }

    /// Reads the header that begins at an index. Throws `Flaw`.
    init(_ bytes: [UInt8], at start: Int = 0) throws(Flaw) {
        let end = min(start + BatchHeader.byteCount, bytes.count)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(Flaw) in
                try BatchHeader(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            }
        }
        self = try result.get()
    }

    init(_ bytes: UnsafeRawBufferPointer) throws(Flaw) {
        func get<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, _ offset: Int) -> T {
            T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
        }
        guard bytes.count == BatchHeader.byteCount, BatchHeader.looksLikeStart(bytes) else {
            throw .damaged("no batch begins here")
        }
        guard get(UInt32.self, 132) == CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<132])) else {
            throw .damaged("the checksum of the batch header is wrong")
        }
        guard bytes[12] == BatchHeader.version else { throw .version(bytes[12]) }
        let positionCount = Int(bytes[13])
        generation = get(UInt16.self, 14)
        baseOffset = get(Int64.self, 16)
        lastOffset = get(Int64.self, 24)
        count = get(UInt32.self, 32)
        rawLength = get(UInt32.self, 36)
        frameLength = get(UInt32.self, 40)
        firstTimestamp = get(Int64.self, 44)
        lastTimestamp = get(Int64.self, 52)
        frameChecksum = get(UInt32.self, 128)
        guard positionCount <= BatchHeader.maximumPosition, baseOffset >= 0, lastOffset >= baseOffset - 1,
            lastOffset - baseOffset < Int64(UInt32.max), lastOffset < BatchHeader.offsetBound
        else { throw .damaged("the batch header contradicts itself") }
        position = Array(bytes[60..<60 + positionCount])
    }

    init(
        generation: UInt16, baseOffset: Int64, lastOffset: Int64, count: Int, rawLength: Int,
        frameLength: Int,
        timestamp: Int64, position: [UInt8], frameChecksum: UInt32
    ) {
        self.generation = generation
        self.baseOffset = baseOffset
        self.lastOffset = lastOffset
        self.count = UInt32(count)
        self.rawLength = UInt32(rawLength)
        self.frameLength = UInt32(frameLength)
        firstTimestamp = timestamp
        lastTimestamp = timestamp
        self.position = position
        self.frameChecksum = frameChecksum
    }
}
