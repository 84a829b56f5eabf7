internal import NIOCore

/// Bytes that are not what the protocol says.
struct MalformedBytes: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}

/// `ZooDefs.OpCode` in ZooKeeper's source.
enum OperationCode: Int32 {
    case create = 1
    case delete = 2
    case exists = 3
    case getData = 4
    case setData = 5
    case getACL = 6
    case setACL = 7
    case sync = 9
    case ping = 11
    case getChildren2 = 12
    case check = 13
    case multi = 14
    case create2 = 15
    case removeWatches = 18
    case createContainer = 19
    case multiRead = 22
    case auth = 100
    case addWatch = 106
    case closeSession = -11
    case error = -1
}

/// xids with a meaning of their own; requests count from 1.
enum ReservedXid {
    static let notification: Int32 = -1
    static let ping: Int32 = -2
    static let auth: Int32 = -4
}

// Jute's types: integers big-endian, bool one byte, buffer and ustring a length (-1: null) and bytes, vector
// a count and items.
extension ByteBuffer {
    mutating func take<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(MalformedBytes) -> T {
        guard let value = readInteger(as: type) else { throw MalformedBytes("an integer is cut short") }
        return value
    }

    mutating func takeBool() throws(MalformedBytes) -> Bool { try take(UInt8.self) != 0 }

    /// A length that the rest of the frame can hold; null counts as 0.
    private mutating func takeLength() throws(MalformedBytes) -> Int {
        let length = Int(try take(Int32.self))
        guard length >= -1, length <= readableBytes else {
            throw MalformedBytes("a length of \(length) where \(readableBytes) bytes remain")
        }
        return max(length, 0)
    }

    /// A buffer; null is empty.
    mutating func takeBuffer() throws(MalformedBytes) -> [UInt8] {
        let length = try takeLength()
        return readBytes(length: length) ?? []
    }

    /// A ustring; null is empty.
    mutating func takeString() throws(MalformedBytes) -> String {
        let length = try takeLength()
        do {
            return try readUTF8ValidatedString(length: length) ?? ""
        } catch {
            throw MalformedBytes("a string is not UTF-8")
        }
    }

    /// A vector; null is empty. The count is held against the remaining bytes before anything is allocated.
    mutating func takeVector<Item>(
        itemBytes: Int, _ item: (inout ByteBuffer) throws(MalformedBytes) -> Item
    ) throws(MalformedBytes) -> [Item] {
        let count = Int(try take(Int32.self))
        guard count >= -1, count <= readableBytes / itemBytes else {
            throw MalformedBytes("a vector of \(count) items where \(readableBytes) bytes remain")
        }
        var items: [Item] = []
        items.reserveCapacity(max(count, 0))
        for _ in 0..<max(count, 0) { items.append(try item(&self)) }
        return items
    }

    mutating func put(_ value: Int32) { writeInteger(value) }

    mutating func put(_ value: Bool) { writeInteger(value ? 1 : 0, as: UInt8.self) }

    mutating func put(_ bytes: [UInt8]) {
        writeInteger(Int32(clamping: bytes.count))
        writeBytes(bytes)
    }

    mutating func put(_ text: String) { put("", text) }

    /// A ustring of two parts, so that a chroot costs no new string.
    mutating func put(_ prefix: String, _ text: String) {
        let start = writerIndex
        writeInteger(Int32(0))
        let count = writeString(prefix) + writeString(text)
        setInteger(Int32(clamping: count), at: start)
    }
}
