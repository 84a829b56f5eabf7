import SystemPackage

/// From this offset on batches carry this number. A generation begins where earlier offsets may have been given out twice.
public struct Generation: Sendable, Hashable {
    public var number: UInt16
    public var firstOffset: Int64

    public init(number: UInt16, firstOffset: Int64) {
        self.number = number
        self.firstOffset = firstOffset
    }
}

/// The file `log.meta`: the log's id and its generations.
struct LogMeta {
    private static let magic: UInt32 = 0x544D_524D  // "MRMT"
    private static let version: UInt32 = 1
    private static let limit = 2 << 20

    var id: [UInt8]
    var generations: [Generation]

    var idText: String {
        id.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    static func path(_ directory: FilePath) -> FilePath { directory.appending("log.meta") }

    static func create(generation: UInt16) -> LogMeta {
        var random = SystemRandomNumberGenerator()
        let id = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
        return LogMeta(id: id, generations: [Generation(number: generation, firstOffset: 0)])
    }

    func save(_ directory: FilePath) throws(LogError) {
        var bytes: [UInt8] = []
        func put<T: FixedWidthInteger>(_ value: T, _ bytes: inout [UInt8]) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        put(LogMeta.magic, &bytes)
        put(LogMeta.version, &bytes)
        bytes += id
        put(UInt32(generations.count), &bytes)
        for generation in generations {
            put(generation.number, &bytes)
            put(generation.firstOffset, &bytes)
        }
        put(bytes.withUnsafeBytes { CRC32C.checksum($0) }, &bytes)
        try AtomicFile.replace(LogMeta.path(directory), with: bytes)
    }

    static func load(_ directory: FilePath) throws(LogError) -> LogMeta {
        let path = path(directory)
        let bytes = try AtomicFile.read(path, limit: limit)
        func get<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, _ offset: Int) -> T {
            bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
        }
        let damaged = LogError(
            code: .corrupt,
            message: "is damaged: it names the log and its generations; millrace log repair makes it anew",
            file: path.string)
        guard bytes.count >= 32, get(UInt32.self, 0) == magic else { throw damaged }
        let checksum = bytes.withUnsafeBytes {
            CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[..<(bytes.count - 4)]))
        }
        guard get(UInt32.self, bytes.count - 4) == checksum else { throw damaged }
        guard get(UInt32.self, 4) == version else {
            throw LogError(
                code: .unsupportedVersion,
                message: "a log of version \(get(UInt32.self, 4)); this program knows version 1",
                file: path.string)
        }
        let count = Int(get(UInt32.self, 24))
        guard count >= 1, bytes.count == 32 + count * 10 else { throw damaged }
        let generations = (0..<count).map {
            Generation(number: get(UInt16.self, 28 + $0 * 10), firstOffset: get(Int64.self, 30 + $0 * 10))
        }
        return LogMeta(id: Array(bytes[8..<24]), generations: generations)
    }
}
