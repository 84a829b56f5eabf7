import ChangeModel
import Engine
import Foundation
import SegmentLog

/// One line of an exported log: a header, a batch, a record, or the end. What is not there is left out.
///
/// The records of a batch follow its line. A record that has a form of its own (`type` is `change`, `snapshot-begin` or
/// `snapshot-end`) has it only where that gives the same bytes back; any other is its type's number and its payload.
struct ExportedLine: Codable {
    struct Header: Codable {
        static let version = 1
        var version: Int
        var logId: String
        var startOffset: Int64
        var generations: [ExportedGeneration]
        var gaps: [ExportedGap]
    }

    struct ExportedGeneration: Codable {
        var number: UInt16
        var firstOffset: Int64
    }

    struct ExportedGap: Codable {
        var firstOffset: Int64
        var lastOffset: Int64
        var segment: Int64
        var byte: Int64
        var bytes: Int64
        var repairedMs: Int64
    }

    struct Batch: Codable {
        var baseOffset: Int64
        var lastOffset: Int64
        var generation: UInt16
        var firstTsMs: Int64
        var lastTsMs: Int64
        var position: Data
        var records: Int
    }

    struct Stat: Codable {
        var czxid, mzxid, pzxid, ctime, mtime: Int64
        var version, cversion, aversion: Int32
        var ephemeralOwner: Int64
        var numChildren: Int32
    }

    struct Record: Codable {
        var type: String
        var op: String?
        var path: String?
        var data: String?
        var dataBase64: Data?
        var before: String?
        var beforeBase64: Data?
        var zxid: Int64?
        var index: Int32?
        var tsMs: Int64?
        var capturedMs: Int64?
        var stat: Stat?
        var session: Int64?
        var snapshot: String?
        var onlyFor: String?
        /// Zxid and index.
        var placed: [Int64]?
        var reason: UInt8?
        var paths: [String]?
        var exclude: [String]?
        var payload: Data?
    }

    struct End: Codable {
        var batches: Int
        var records: Int
    }

    var log: Header?
    var batch: Batch?
    /// Its offset, for whoever reads it; an import counts for itself.
    var offset: Int64?
    var record: Record?
    var end: End?

    static func encoder() -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    static func decoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return decoder
    }
}

extension ExportedLine.Record {
    /// A record in its own form, or as type and payload where that would not give the same bytes back.
    init(_ record: LogRecord) {
        if let named = Self(named: record), let back = try? named.encoded(), back.type == record.type,
            back.payload.elementsEqual(record.payload)
        {
            self = named
        } else {
            self.init(type: "\(record.type)", payload: Data(record.payload))
        }
    }

    private init(type: String, payload: Data? = nil) {
        self.type = type
        self.payload = payload
    }

    private init?(named record: LogRecord) {
        switch record.type {
        case RecordType.change:
            guard let change = try? ChangeCodec.decode(record.payload) else { return nil }
            self.init(change)
        case RecordType.snapshotBegin:
            guard let begin = try? SnapshotBegin(decoding: record.payload) else { return nil }
            self.init(type: "snapshot-begin")
            reason = begin.reason.rawValue
            paths = begin.scope.paths
            exclude = begin.scope.excluded.map(\.text)
        case RecordType.snapshotEnd:
            self.init(type: "snapshot-end")
        default:
            return nil
        }
    }

    private init(_ change: Change) {
        self.init(type: "change")
        op = change.operation.letter
        path = change.path
        if let bytes = change.data {
            data = String(validating: bytes, as: UTF8.self)
            if data == nil { dataBase64 = Data(bytes) }
        }
        if let bytes = change.before {
            before = String(validating: bytes, as: UTF8.self)
            if before == nil { beforeBase64 = Data(bytes) }
        }
        zxid = change.zxid.value
        index = change.index
        tsMs = change.timestamp
        capturedMs = change.captured
        stat = change.stat.map {
            ExportedLine.Stat(
                czxid: $0.czxid.value, mzxid: $0.mzxid.value, pzxid: $0.pzxid.value, ctime: $0.ctime,
                mtime: $0.mtime, version: $0.version, cversion: $0.cversion, aversion: $0.aversion,
                ephemeralOwner: $0.ephemeralOwner, numChildren: $0.numChildren)
        }
        session = change.session
        snapshot = change.snapshot.text
        onlyFor = change.onlyFor
        placed = change.placed.map { [$0.zxid.value, $0.index] }
    }

    /// Type and payload. Throws `ImportError` for what no record is.
    func encoded() throws(ImportError) -> (type: UInt8, payload: [UInt8]) {
        var bytes: [UInt8] = []
        switch type {
        case "change":
            ChangeCodec.encode(try change(), into: &bytes)
            return (RecordType.change, bytes)
        case "snapshot-begin":
            guard let reason = reason.flatMap(SnapshotReason.init(rawValue:)), let paths, let exclude else {
                throw ImportError("a snapshot-begin has reason, paths and exclude")
            }
            var excluded: [PathPattern] = []
            for text in exclude {
                guard let pattern = try? PathPattern(text) else {
                    throw ImportError("'\(text)' is no pattern")
                }
                excluded.append(pattern)
            }
            SnapshotBegin(reason: reason, scope: CaptureScope(paths: paths, excluded: excluded)).encode(
                into: &bytes)
            return (RecordType.snapshotBegin, bytes)
        case "snapshot-end":
            return (RecordType.snapshotEnd, [])
        default:
            guard let number = UInt8(type), let payload else {
                throw ImportError("'\(type)' is no type with a form of its own, and there is no payload")
            }
            return (number, Array(payload))
        }
    }

    private func change() throws(ImportError) -> Change {
        guard let operation = op.flatMap({ ChangeModel.Operation(letter: $0) }), let path, let zxid,
            let index, let tsMs, let capturedMs,
            let mark = [SnapshotMark.live, .snapshot, .last].first(where: { $0.text == snapshot })
        else { throw ImportError("a change has op, path, zxid, index, ts_ms, captured_ms and snapshot") }
        guard placed.map({ $0.count == 2 }) ?? true else {
            throw ImportError("'placed' of a change is zxid and index")
        }
        return Change(
            operation: operation, path: path, data: data.map { Array($0.utf8) } ?? dataBase64.map(Array.init),
            zxid: Zxid(zxid), index: index, timestamp: tsMs, captured: capturedMs,
            stat: stat.map {
                NodeStat(
                    czxid: Zxid($0.czxid), mzxid: Zxid($0.mzxid), pzxid: Zxid($0.pzxid), ctime: $0.ctime,
                    mtime: $0.mtime, version: $0.version, cversion: $0.cversion, aversion: $0.aversion,
                    ephemeralOwner: $0.ephemeralOwner, numChildren: $0.numChildren)
            }, session: session, snapshot: mark, onlyFor: onlyFor,
            before: before.map { Array($0.utf8) } ?? beforeBase64.map(Array.init),
            placed: placed.map { CommitOrder(zxid: Zxid($0[0]), index: $0[1]) })
    }
}

/// Why a line is no part of an exported log.
struct ImportError: Error {
    var message: String

    init(_ message: String) {
        self.message = message
    }
}
