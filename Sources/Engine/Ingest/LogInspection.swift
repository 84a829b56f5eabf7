public import ChangeModel
public import SegmentLog
public import SystemPackage

/// What the log tools have to know of a pipeline's log beyond its format.
public enum LogInspection {
    /// Where a pipeline's dead letters lie, a log of their own.
    public static func deadLetters(of log: FilePath) -> FilePath { DeadLetterReader.directory(of: log) }

    /// What is wrong with a record of a pipeline's log.
    public static func flaw(_ record: LogRecord) -> RecordFlaw? {
        flaw(record, version: ChangeCodec.version) { () throws(ChangeCodecError) in
            switch record.type {
            case RecordType.change: _ = try ChangeCodec.decode(record.payload)
            case RecordType.snapshotBegin: _ = try SnapshotBegin(decoding: record.payload)
            case RecordType.snapshotEnd, RecordType.gap: break
            default: return false
            }
            return true
        }
    }

    /// What is wrong with a record of a dead-letter log.
    public static func deadLetterFlaw(_ record: LogRecord) -> RecordFlaw? {
        flaw(record, version: DeadLetterCodec.version) { () throws(ChangeCodecError) in
            switch record.type {
            case DeadLetterCodec.letterType:
                _ = try DeadLetterCodec.decodeLetter(record.payload, number: record.offset, refused: 0)
            case DeadLetterCodec.resolvedType: _ = try DeadLetterCodec.decodeResolution(record.payload)
            case DeadLetterCodec.purgedType: break
            default: return false
            }
            return true
        }
    }

    private static func flaw(
        _ record: LogRecord, version: UInt8, decode: () throws(ChangeCodecError) -> Bool
    ) -> RecordFlaw? {
        do {
            return try decode() ? nil : .unknownType
        } catch {
            if let first = record.payload.first, first > version { return .version(error.message) }
            return .damaged(error.message)
        }
    }

    /// Throws away what is known of the tree from records from `offset` on, since some of those are gone: the next start
    /// then compares the tree with what is left of the log, and appends what is not in it.
    public static func forgetKnownState(_ log: FilePath, from offset: Int64) throws(LogError) {
        try KnownStateStore(directory: log, logID: "").forget(from: offset)
    }

    /// The base offset of the first batch that may tell of a transaction: those before which no server had shown one so late are
    /// passed over by their headers alone.
    public static func batch(_ log: FilePath, of zxid: Zxid) throws(LogError) -> Int64 {
        try LogDirectory.offset(
            log, atOrAbove: zxid.value,
            of: { position in (try? CapturePosition(decoding: position))?.seen.value })
    }

    /// The log's id as the files of the known state name it.
    public static func rememberedID(_ log: FilePath) -> String? { KnownStateStore.logID(log) }
}
