import ChangeModel

/// The records of the dead-letter log, as `Documentation/log-format.md` specifies them. All integers
/// little-endian; each text and the change behind its length.
///
/// | type | record | payload |
/// |---|---|---|
/// | `0x01` | a dead letter | version 1, stage (1), offset of the change (8), sink, reason, change |
/// | `0x02` | a purged one: it keeps the numbers of the others | none |
/// | `0x91` | resolved: takes no number | version 1, outcome (1), number of the letter (8), time (8) |
///
/// Do not reorder fields; a new layout gets a new version. Readers skip types that they do not know.
enum DeadLetterCodec {
    static let letterType: UInt8 = 0x01
    static let purgedType: UInt8 = 0x02
    static let resolvedType: UInt8 = 0x91
    static let version: UInt8 = 1

    static func encode(
        stage: RefusingStage, offset: Int64, sink: String, reason: String, change: Change,
        into bytes: inout [UInt8]
    ) {
        bytes.append(version)
        bytes.append(stage.rawValue)
        bytes.appendInteger(offset)
        bytes.appendCounted(sink.utf8)
        bytes.appendCounted(reason.utf8)
        var encoded: [UInt8] = []
        ChangeCodec.encode(change, into: &encoded)
        bytes.appendCounted(encoded)
    }

    /// - Parameters:
    ///   - number: the record's offset in the dead-letter log.
    ///   - refused: the time of its batch.
    static func decodeLetter(
        _ payload: ArraySlice<UInt8>, number: Int64, refused: Int64
    ) throws(ChangeCodecError) -> DeadLetter {
        var reader = ByteReader(payload)
        try checkVersion(&reader)
        guard let stage = RefusingStage(rawValue: try reader.integer(UInt8.self)) else {
            throw ChangeCodecError("a dead letter of an unknown stage")
        }
        let offset = try reader.integer(Int64.self)
        let sink = try reader.countedString()
        let reason = try reader.countedString()
        let change = try ChangeCodec.decode(try reader.countedBytes())
        guard reader.isAtEnd else { throw ChangeCodecError("a dead letter with bytes after its end") }
        return DeadLetter(
            number: number, refused: refused, stage: stage, offset: offset, sink: sink, reason: reason,
            change: change)
    }

    static func encode(_ resolution: DeadLetterResolution, into bytes: inout [UInt8]) {
        bytes.append(version)
        bytes.append(resolution.outcome.rawValue)
        bytes.appendInteger(resolution.number)
        bytes.appendInteger(resolution.time)
    }

    static func decodeResolution(
        _ payload: ArraySlice<UInt8>
    ) throws(ChangeCodecError) -> DeadLetterResolution {
        var reader = ByteReader(payload)
        try checkVersion(&reader)
        guard let outcome = DeadLetterOutcome(rawValue: try reader.integer(UInt8.self)) else {
            throw ChangeCodecError("a dead letter with an unknown outcome")
        }
        let resolution = DeadLetterResolution(
            number: try reader.integer(Int64.self), outcome: outcome, time: try reader.integer(Int64.self))
        guard reader.isAtEnd else { throw ChangeCodecError("a resolution with bytes after its end") }
        return resolution
    }

    private static func checkVersion(_ reader: inout ByteReader) throws(ChangeCodecError) {
        let found = try reader.integer(UInt8.self)
        guard found == version else {
            throw ChangeCodecError("a record of version \(found); this program reads version \(version)")
        }
    }
}
