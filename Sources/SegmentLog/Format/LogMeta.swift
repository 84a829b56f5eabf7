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
        var file = SealedFile(magic: LogMeta.magic, version: LogMeta.version)
        file.put(id)
        file.put(UInt32(generations.count))
        for generation in generations {
            file.put(generation.number)
            file.put(generation.firstOffset)
        }
        try file.save(LogMeta.path(directory))
    }

    static func load(_ directory: FilePath) throws(LogError) -> LogMeta {
        let path = path(directory)
        let advice = "it names the log and its generations; millrace log repair makes it anew"
        let file = try SealedFile(
            path, limit: limit, magic: magic, version: version, what: "a log", advice: advice)
        guard file.bytes.count >= 28 else { throw SealedFile.damage(path, advice) }
        let count = Int(file.get(UInt32.self, 24))
        guard count >= 1, file.bytes.count == 28 + count * 10 else { throw SealedFile.damage(path, advice) }
        let generations = (0..<count).map {
            Generation(
                number: file.get(UInt16.self, 28 + $0 * 10), firstOffset: file.get(Int64.self, 30 + $0 * 10))
        }
        return LogMeta(id: Array(file.bytes[8..<24]), generations: generations)
    }
}
