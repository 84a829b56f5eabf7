/// The fields of a hash or of a stream entry, in order, in one piece of memory.
///
/// A list of arrays costs two allocations for each field, and their reference counts go to and fro between the thread that
/// maps and the one that delivers.
public struct FieldList: Sendable, Hashable {
    /// For each field the lengths of its name and of its value (32 bits each, as the machine has them), the name, the value.
    /// Others append to it between `begin` and `end` alone.
    var bytes: Bytes = []
    public private(set) var count = 0

    private static let header = 2 * MemoryLayout<UInt32>.size

    public init() {}

    public init(_ fields: some Sequence<Field>) {
        for field in fields { append(field.name, field.value) }
    }

    public var isEmpty: Bool { count == 0 }

    /// Of all names and values.
    public var byteCount: Int { bytes.count - count * FieldList.header }

    public mutating func reserveCapacity(fields: Int, bytes count: Int) {
        bytes.reserveCapacity(fields * FieldList.header + count)
    }

    public mutating func append(_ name: Bytes, _ value: Bytes) {
        append(name) { $0.append(copying: value) }
    }

    /// Adds a field whose value `write` appends.
    mutating func append(_ name: Bytes, value write: (inout Bytes) -> Void) {
        let start = begin(name)
        write(&bytes)
        end(start, name)
    }

    /// Begins a field: its value is what is appended to `bytes` until `end`; `cancel` takes it back. Returns where it begins.
    ///
    /// A closure that draws from a change would be quicker to write, and copy the change.
    mutating func begin(_ name: borrowing Bytes) -> Int {
        let start = bytes.count
        // The value's length is known behind it.
        let lengths = (UInt32(truncatingIfNeeded: name.count), UInt32(0))
        withUnsafeBytes(of: lengths) { bytes.append(contentsOf: $0) }
        bytes.append(copying: name)
        return start
    }

    mutating func end(_ start: Int, _ name: borrowing Bytes) {
        let length = UInt32(truncatingIfNeeded: bytes.count - start - FieldList.header - name.count)
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: length, toByteOffset: start + MemoryLayout<UInt32>.size, as: UInt32.self)
        }
        count += 1
    }

    mutating func cancel(_ start: Int) { bytes.removeLast(bytes.count - start) }

    /// Adds all fields of another list.
    mutating func append(contentsOf other: FieldList) {
        bytes.append(contentsOf: other.bytes)
        count += other.count
    }

    /// Calls `body` with the name and the value of each field. Both are valid during the call alone.
    public func forEachBytes(
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) {
        bytes.withUnsafeBytes { bytes in
            var index = 0
            while index < bytes.count {
                let name = Int(bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self))
                let value = Int(
                    bytes.loadUnaligned(
                        fromByteOffset: index + MemoryLayout<UInt32>.size, as: UInt32.self))
                let start = index + FieldList.header
                index = start + name + value
                body(
                    UnsafeRawBufferPointer(rebasing: bytes[start..<start + name]),
                    UnsafeRawBufferPointer(rebasing: bytes[start + name..<index]))
            }
        }
    }

    /// The fields, each in memory of its own.
    public var fields: [Field] {
        var fields: [Field] = []
        fields.reserveCapacity(count)
        forEachBytes { fields.append(Field(name: Bytes($0), value: Bytes($1))) }
        return fields
    }
}

extension FieldList: ExpressibleByArrayLiteral {
    public init(arrayLiteral elements: Field...) {
        self.init(elements)
    }
}
