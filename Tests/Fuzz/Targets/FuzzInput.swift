import Glibc
import SystemPackage

/// The bytes of one input: its first say how to use the rest.
struct FuzzInput {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    var isEmpty: Bool { rest.isEmpty }

    /// The next byte; 0 at the end.
    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    /// Eight bytes, little-endian; those beyond the end are 0.
    mutating func number() -> Int64 {
        var number: UInt64 = 0
        for shift in 0..<8 { number |= UInt64(byte()) << (8 * UInt64(shift)) }
        return Int64(bitPattern: number)
    }

    /// As many bytes as there are, at most `count`.
    mutating func take(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    /// All that is left.
    mutating func takeAll() -> [UInt8] { take(rest.count) }
}

/// Writes a file as it is, without what makes it durable: an input a time need not survive anything.
func write(_ bytes: [UInt8], to path: FilePath) throws(FuzzFailure) {
    let descriptor = path.withPlatformString { open($0, O_WRONLY | O_CREAT, 0o600) }
    defer { close(descriptor) }
    let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    // Cut afterwards: a file that is emptied and written anew is flushed by ext4 when it is closed.
    let isCut = ftruncate(descriptor, off_t(bytes.count)) == 0
    try FuzzFailure.unless(descriptor >= 0 && written == bytes.count && isCut, "\(path) can be written")
}
