/// Gathers the records of one batch in one buffer.
public struct RecordBatchBuilder {
    /// Types from here up take no offset.
    static let firstControlType: UInt8 = 0x80

    private(set) var bytes: [UInt8] = []
    public private(set) var count = 0
    /// Records that take an offset.
    public private(set) var offsetCount = 0

    public init() {}

    public var byteCount: Int { bytes.count }
    public var isEmpty: Bool { count == 0 }

    /// Appends one record; `encode` appends its payload to the bytes it is given and changes nothing before.
    public mutating func append(type: UInt8, _ encode: (inout [UInt8]) throws -> Void) rethrows {
        let start = bytes.count
        bytes.append(contsOf4: 0)
        bytes.append(contsOf4: UInt32(truncatingIfNeeded: offsetCount))
        bytes.append(type)
        do {
            try encode(&bytes)
        } catch {
            bytes.removeLast(bytes.count - start)
            throw error
        }
        let length = UInt32(truncatingIfNeeded: bytes.count - start - 4)
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: length.littleEndian, toByteOffset: start, as: UInt32.self)
        }
        count += 1
        if type < RecordBatchBuilder.firstControlType { offsetCount += 1 }
    }

    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        count = 0
        offsetCount = 0
    }
}

extension [UInt8] {
    fileprivate mutating func append(contsOf4 value: UInt32) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}

/// One record of a batch.
public struct LogRecord: Sendable {
    /// For a control record the offset of the record that follows it.
    public var offset: Int64
    public var type: UInt8
    public var payload: ArraySlice<UInt8>
}

/// The records that were appended together.
public struct RecordBatch: Sendable {
    public let baseOffset: Int64
    /// `baseOffset - 1` for a batch that takes no offsets.
    public let lastOffset: Int64
    public let generation: UInt16
    public let firstTimestamp: Int64
    public let lastTimestamp: Int64
    /// The opaque position that was appended with it.
    public let position: [UInt8]
    public let count: Int
    private let bytes: [UInt8]
    private let start: Int64

    /// Throws `.corrupt` where the records are not what the header says.
    init(_ header: BatchHeader, bytes: [UInt8], from start: Int64) throws(LogError) {
        baseOffset = header.baseOffset
        lastOffset = header.lastOffset
        generation = header.generation
        firstTimestamp = header.firstTimestamp
        lastTimestamp = header.lastTimestamp
        position = header.position
        count = Int(header.count)
        self.bytes = bytes
        self.start = start
        try check(header)
    }

    private func check(_ header: BatchHeader) throws(LogError) {
        var index = 0
        var records = 0
        var offsets: Int64 = 0
        while index < bytes.count {
            guard bytes.count - index >= 9 else { throw RecordBatch.malformed }
            let length = Int(word(index))
            guard length >= 5, length <= bytes.count - index - 4, Int64(word(index + 4)) == offsets else {
                throw RecordBatch.malformed
            }
            if bytes[index + 8] < RecordBatchBuilder.firstControlType { offsets += 1 }
            records += 1
            index += 4 + length
        }
        guard records == count, offsets == lastOffset - baseOffset + 1 else { throw RecordBatch.malformed }
    }

    private static let malformed = LogError(
        code: .corrupt, message: "the records of a batch contradict its header")

    private func word(_ index: Int) -> UInt32 {
        bytes.withUnsafeBytes {
            UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: index, as: UInt32.self))
        }
    }

    /// A place between two records of a batch.
    public struct Cursor: Sendable {
        fileprivate var index = 0

        public init() {}
    }

    /// Calls `body` for each record from the offset on that the reader was asked for.
    public func forEach(_ body: (LogRecord) throws -> Void) rethrows {
        var cursor = Cursor()
        try forEach(from: &cursor) { record in
            try body(record)
            return true
        }
    }

    /// As `forEach`, from the cursor on, for as long as `body` returns `true`; the cursor is behind the last record then.
    ///
    /// - Returns: whether the batch has no record behind the cursor.
    @discardableResult
    public func forEach(
        from cursor: inout Cursor, _ body: (LogRecord) throws -> Bool
    ) rethrows -> Bool {
        var goesOn = true
        while goesOn, cursor.index < bytes.count {
            let index = cursor.index
            let length = Int(word(index))
            let offset = baseOffset + Int64(word(index + 4))
            cursor.index += 4 + length
            if offset >= start {
                goesOn = try body(
                    LogRecord(
                        offset: offset, type: bytes[index + 8],
                        payload: bytes[(index + 9)..<(index + 4 + length)]))
            }
        }
        return cursor.index >= bytes.count
    }
}
