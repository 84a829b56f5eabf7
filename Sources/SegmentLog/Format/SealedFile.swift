import SystemPackage

/// A small file beside the segments: magic (4), version (4), a body, and a CRC-32C of all before it; little-endian.
struct SealedFile {
    static let headBytes = 8
    private static let sealBytes = 4

    private(set) var bytes: [UInt8]

    /// Begins a file that is to be written.
    init(magic: UInt32, version: UInt32) {
        bytes = []
        put(magic)
        put(version)
    }

    /// Reads one.
    ///
    /// - Parameters:
    ///   - advice: what it is for and what to do where it is damaged.
    ///   - what: named where its version is not known.
    /// - Throws: `.notFound`, `.corrupt`, `.unsupportedVersion`.
    init(
        _ path: FilePath, limit: Int, magic: UInt32, version: UInt32, what: String, advice: String
    ) throws(LogError) {
        let file = try AtomicFile.read(path, limit: limit)
        let end = file.count - SealedFile.sealBytes
        bytes = file
        guard end >= SealedFile.headBytes, get(UInt32.self, 0) == magic,
            get(UInt32.self, end)
                == file.withUnsafeBytes({
                    CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[..<end]))
                })
        else { throw SealedFile.damage(path, advice) }
        let found = get(UInt32.self, 4)
        guard found == version else {
            throw LogError(
                code: .unsupportedVersion,
                message: "\(what) of version \(found); this program knows version \(version)",
                file: path.string)
        }
        bytes.removeLast(SealedFile.sealBytes)
    }

    static func damage(_ path: FilePath, _ advice: String) -> LogError {
        LogError(code: .corrupt, message: "is damaged: \(advice)", file: path.string)
    }

    /// The number at a place; the caller has looked at `bytes.count`.
    func get<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, _ offset: Int) -> T {
        bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }

    mutating func put<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func put(_ more: [UInt8]) { bytes += more }

    /// Takes the place of what lies there, in one step. Durable when it returns.
    func save(_ path: FilePath) throws(LogError) {
        var sealed = self
        sealed.put(bytes.withUnsafeBytes { CRC32C.checksum($0) })
        try AtomicFile.replace(path, with: sealed.bytes)
    }
}
