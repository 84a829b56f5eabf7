import ChangeModel
import SegmentLog
import SystemPackage

/// The files `known/<offset>.state` beside the log: what was known as of an offset, so that a start reads only
/// the records after it. Two are kept; each can be thrown away, the other or the whole log then serves.
///
/// Layout, little-endian: `MRST`, version 1, log id, offset, scope flag and scope, count, then per node czxid,
/// mzxid, version, ephemeral owner and path; at the end a CRC-32C of all before it. In version 2 each node's path is followed
/// by a flag and, where that is 1, its data.
struct KnownStateStore {
    private static let magic: UInt32 = 0x5453_524D
    private enum Version {
        static let plain: UInt8 = 1
        static let withData: UInt8 = 2
        static let all = plain...withData
    }

    private let logDirectory: FilePath
    private let directory: FilePath
    private let logID: String
    /// Whether the nodes' data are wanted.
    private let keepsData: Bool

    init(directory: FilePath, logID: String, keepsData: Bool = false) {
        logDirectory = directory
        self.directory = directory.appending("known")
        self.logID = logID
        self.keepsData = keepsData
    }

    /// The offset of the older of the two state files, 0 before there are two: records from there on are needed, for
    /// either file may turn out to be damaged.
    var neededOffset: Int64 {
        let offsets = offsets()
        return offsets.count < 2 ? 0 : offsets[offsets.count - 2]
    }

    /// A state of a million nodes takes about 100 MB.
    private static let largestFile = 4 << 30

    private func file(_ offset: Int64) -> FilePath {
        let digits = String(offset)
        return directory.appending(
            String(repeating: "0", count: max(0, 20 - digits.count)) + digits + ".state")
    }

    /// The offsets of the state files, ascending.
    private func offsets() -> [Int64] {
        let names = (try? AtomicFile.names(in: directory)) ?? []
        return names.compactMap { name in
            name.hasSuffix(".state") ? Int64(name.dropLast(6)) : nil
        }.sorted()
    }

    /// Writes the state as of `offset`; all records below it must be durable already.
    func save(_ state: KnownState, at offset: Int64) throws(LogError) {
        try AtomicFile.replace(file(offset), with: encode(state, offset: offset))
        for old in offsets().dropLast(2) { try AtomicFile.remove(file(old)) }
    }

    /// Throws away what was derived from records from `offset` on.
    func forget(from offset: Int64) throws(LogError) {
        for later in offsets() where later > offset { try AtomicFile.remove(file(later)) }
    }

    /// The log's id that the newest readable state names.
    static func logID(_ logDirectory: FilePath) -> String? {
        let store = KnownStateStore(directory: logDirectory, logID: "")
        for offset in store.offsets().reversed() {
            guard let bytes = try? AtomicFile.read(store.file(offset), limit: largestFile),
                let body = sound(bytes)
            else { continue }
            var reader = ByteReader(body)
            guard (try? reader.integer(UInt32.self)) == magic,
                let version = try? reader.integer(UInt8.self), Version.all.contains(version),
                let id = try? reader.countedString()
            else { continue }
            return id
        }
        return nil
    }

    /// The newest usable state and the records after it, for the log's writer.
    func recover(upTo end: Int64, position: [UInt8]) throws(LogError) -> RecoveredCapture {
        // One beyond the end speaks of a history that is lost: once the log has grown past it, it would be believed.
        for stale in offsets() where stale > end { try AtomicFile.remove(file(stale)) }
        return try read(upTo: end, position: position)
    }

    /// The same, for those who only look.
    ///
    /// A state that lies beyond the end, is damaged or belongs to another log is passed over.
    func read(upTo end: Int64, position: [UInt8]) throws(LogError) -> RecoveredCapture {
        let start = try LogDirectory.startOffset(logDirectory)
        var known = KnownState(keepsData: keepsData)
        var from = start
        var isWhole = start == 0
        for offset in offsets().reversed() where offset <= end && offset >= start {
            guard let bytes = try? AtomicFile.read(file(offset), limit: KnownStateStore.largestFile),
                let state = decode(bytes, offset: offset)
            else { continue }
            known = state
            from = offset
            isWhole = true
            if keepsData, !state.keepsData {
                // The first start that asks for data: what the log still holds of them. They are no reason not to start.
                known.keepsData = true
                try? forEachRecord(from: start, upTo: offset) { record throws(ChangeCodecError) in
                    guard record.type == RecordType.change else { return }
                    known.fill(from: try ChangeCodec.decode(record.payload))
                }
            }
            break
        }
        let replayed = try replay(&known, from: from, upTo: end)
        // Of the nodes that were last told before the log's start nothing is known: the tree is read as if for the
        // first time.
        if !isWhole { known.scope = nil }
        let capture = (try? CapturePosition(decoding: position)) ?? .start
        var recovered = RecoveredCapture(
            known: known, position: capture, replayed: replayed, isWhole: isWhole)
        let gone = try LogDirectory.gaps(logDirectory)
        recovered.isComplete = isWhole && !gone.contains { $0.offsets.overlaps(from..<max(end, from)) }
        return recovered
    }

    private func replay(_ known: inout KnownState, from: Int64, upTo end: Int64) throws(LogError) -> Int {
        var replayed = 0
        try forEachRecord(from: from, upTo: end) { record throws(ChangeCodecError) in
            switch record.type {
            case RecordType.change where record.offset < end:
                known.apply(try ChangeCodec.decode(record.payload))
                replayed += 1
            case RecordType.snapshotBegin:
                known.apply(snapshotBegin: try SnapshotBegin(decoding: record.payload))
            case RecordType.snapshotEnd:
                known.applySnapshotEnd()
            default:
                break
            }
        }
        return replayed
    }

    /// The records of all batches that begin below `end`.
    private func forEachRecord(
        from: Int64, upTo end: Int64, _ body: (LogRecord) throws(ChangeCodecError) -> Void
    ) throws(LogError) {
        var reader = try LogReader(logDirectory, from: from)
        while reader.nextOffset < end, let batch = try reader.next() {
            do {
                try batch.forEach { record in try body(record) }
            } catch {
                throw LogError(
                    code: .corrupt, message: "a record of the batch at offset \(batch.baseOffset): \(error)",
                    file: logDirectory.string)
            }
        }
    }

    func encode(_ state: KnownState, offset: Int64) -> [UInt8] {
        var size = 256 + logID.utf8.count
        for (path, node) in state.nodes { size += 33 + path.utf8.count + 4 + (node.data?.count ?? 0) }
        // Without the data it can be read; they come back from the log.
        let hasData = state.keepsData && size < KnownStateStore.largestFile
        var bytes: [UInt8] = []
        bytes.reserveCapacity(hasData ? size : 256 + state.nodes.count * 64)
        bytes.appendInteger(KnownStateStore.magic)
        bytes.append(hasData ? Version.withData : Version.plain)
        bytes.appendCounted(logID.utf8)
        bytes.appendInteger(offset)
        for scope in [state.scope, state.openScope] {
            bytes.append(scope == nil ? 0 : 1)
            scope?.encode(into: &bytes)
        }
        bytes.appendInteger(UInt64(state.nodes.count))
        for (path, node) in state.nodes {
            bytes.appendInteger(node.czxid.value)
            bytes.appendInteger(node.mzxid.value)
            bytes.appendInteger(node.version)
            bytes.appendInteger(node.ephemeralOwner)
            bytes.appendCounted(path.utf8)
            guard hasData else { continue }
            bytes.append(node.data == nil ? 0 : 1)
            if let data = node.data { bytes.appendCounted(data) }
        }
        bytes.appendInteger(bytes.withUnsafeBytes { CRC32C.checksum($0) })
        return bytes
    }

    func decode(_ bytes: [UInt8], offset: Int64) -> KnownState? {
        KnownStateStore.sound(bytes).flatMap { try? decode(ByteReader($0), offset: offset) }
    }

    /// What stands before the checksum, if that is right.
    private static func sound(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        guard bytes.count > 4 else { return nil }
        var checksum = ByteReader(bytes[(bytes.count - 4)...])
        let body = bytes[..<(bytes.count - 4)]
        let isSound = (try? checksum.integer(UInt32.self)) == body.withUnsafeBytes { CRC32C.checksum($0) }
        return isSound ? body : nil
    }

    private func decode(_ reader: ByteReader, offset: Int64) throws(ChangeCodecError) -> KnownState? {
        var reader = reader
        guard try reader.integer(UInt32.self) == KnownStateStore.magic,
            case let version = try reader.integer(UInt8.self), Version.all.contains(version),
            try reader.countedString() == logID,
            try reader.integer(Int64.self) == offset
        else { return nil }
        let hasData = version == Version.withData
        var state = KnownState(keepsData: keepsData && hasData)
        if try reader.integer(UInt8.self) != 0 { state.scope = try CaptureScope(decoding: &reader) }
        if try reader.integer(UInt8.self) != 0 { state.openScope = try CaptureScope(decoding: &reader) }
        let count = try reader.integer(UInt64.self)
        guard count <= UInt64(reader.remaining / 32) else { return nil }
        state.nodes.reserveCapacity(Int(count))
        for _ in 0..<count {
            let czxid = Zxid(try reader.integer(Int64.self))
            let mzxid = Zxid(try reader.integer(Int64.self))
            let version = try reader.integer(Int32.self)
            let ephemeralOwner = try reader.integer(Int64.self)
            let path = try reader.countedString()
            var data: [UInt8]?
            if hasData, try reader.integer(UInt8.self) != 0 {
                let bytes = try reader.countedBytes()
                if keepsData { data = Array(bytes) }
            }
            state.nodes[path] = KnownNode(
                czxid: czxid, mzxid: mzxid, version: version, ephemeralOwner: ephemeralOwner, data: data)
        }
        return state
    }
}
