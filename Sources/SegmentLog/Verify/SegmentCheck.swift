import LZ4

/// Reads one segment from its start to its end and says what is not as it was written. One batch is held at a time.
struct SegmentCheck {
    private let segment: Segment
    private let file: LogFile
    private let codec: LZ4Frame
    private let gaps: LogGaps
    /// Every offset of the segment lies below it, where that is known.
    private let limit: Int64?
    private let isLast: Bool
    private let inspect: (LogRecord) -> RecordFlaw?

    private(set) var report: SegmentReport
    private var headers: HeaderReader
    private var totals: SegmentIndex
    private var indexCheck: IndexCheck?
    private var number = 0

    /// - Parameters:
    ///   - gaps: offsets that may be missing.
    ///   - limit: every offset of the segment lies below it.
    ///   - isLast: a writer may be appending to it.
    init(
        _ segment: Segment, _ file: LogFile, gaps: LogGaps, limit: Int64?, isLast: Bool,
        inspect: @escaping (LogRecord) -> RecordFlaw?
    ) throws(LogError) {
        self.segment = segment
        self.file = file
        self.gaps = gaps
        self.limit = limit
        self.isLast = isLast
        self.inspect = inspect
        do {
            codec = try LZ4Frame()
        } catch {
            throw LogError(code: .io, message: "\(error)")
        }
        report = SegmentReport(segment)
        headers = HeaderReader(file)
        totals = SegmentIndex(baseOffset: segment.baseOffset)
    }

    /// - Parameter progress: called with the bytes that each step has read.
    mutating func run(_ progress: (Int64) -> Void) throws(LogError) {
        if !isLast { try loadIndex() }
        while true {
            let position = headers.position
            report.fileBytes = try file.size
            do {
                guard try step() else { break }
            } catch {
                guard error.code == .unsupportedVersion else { throw error }
                add(.version, message: error.message, advice: SegmentCheck.versionAdvice)
                break
            }
            progress(headers.position - position)
        }
        if let indexCheck, report.damage.isEmpty, !indexCheck.isRight(totals.totals) {
            addIndexDamage("its entries are not those of the segment")
        }
    }

    /// Takes what is at the position; `false` at the end.
    private mutating func step() throws(LogError) -> Bool {
        switch try headers.look(size: report.fileBytes) {
        case .end: return false
        case .batch(let header): return try take(header)
        case .broken(let message): return try skip(message)
        }
    }

    private static let versionAdvice =
        "look at it with the version of Millrace that wrote it; nothing is repaired"

    // MARK: Batches

    private mutating func take(_ header: BatchHeader) throws(LogError) -> Bool {
        let position = headers.position
        let next = position + header.totalLength
        let offsets = header.baseOffset..<header.lastOffset + 1
        number += 1
        guard header.baseOffset >= report.nextOffset else {
            add(
                .overlap, bytes: position..<next, batch: number, offsets: offsets,
                gone: report.nextOffset..<max(report.nextOffset, offsets.upperBound),
                message: "a batch of offset \(header.baseOffset) where \(report.nextOffset) belongs",
                advice: repairAdvice)
            report.nextOffset = max(report.nextOffset, offsets.upperBound)
            headers.position = next
            return true
        }
        checkGap(before: header)
        switch try content(header, at: position) {
        case .success(let batch):
            add(batch, header, at: position)
            headers.position = next
            return true
        case .failure(let flaw):
            return try skip(header, flaw.message)
        }
    }

    /// What is not whole is read again: it may just have been written.
    private func content(
        _ header: BatchHeader, at position: Int64
    ) throws(LogError) -> Result<RecordBatch, Segment.BatchFlaw> {
        let first = try Segment.content(file, header, at: position, from: 0, codec: codec)
        guard case .failure = first, isLast else { return first }
        return try Segment.content(file, header, at: position, from: 0, codec: codec)
    }

    private mutating func checkGap(before header: BatchHeader) {
        let missing = report.nextOffset..<header.baseOffset
        if !gaps.covers(missing) {
            add(
                .missing, bytes: headers.position..<headers.position, batch: number, gone: missing,
                message: "offsets \(missing.lowerBound) to \(missing.upperBound - 1) are missing",
                advice: repairAdvice)
        }
        report.nextOffset = header.baseOffset
    }

    private mutating func add(_ batch: RecordBatch, _ header: BatchHeader, at position: Int64) {
        indexCheck?.pass(header, at: position)
        totals.add(header, interval: .max)
        report.batches += 1
        report.records += batch.count
        report.nextOffset = header.lastOffset + 1
        if header.lastOffset >= header.baseOffset {
            report.firstOffset = report.firstOffset ?? header.baseOffset
            if report.generations.last?.number != header.generation {
                report.generations.append(
                    Generation(number: header.generation, firstOffset: header.baseOffset))
            }
        }
        var flaw: (kind: LogDamage.Kind, message: String)?
        batch.forEach { record in
            guard let found = inspect(record) else { return }
            switch found {
            case .unknownType: report.unknownRecords += 1
            case .version(let message): flaw = flaw ?? (.version, "offset \(record.offset): \(message)")
            case .damaged(let message): flaw = flaw ?? (.record, "offset \(record.offset): \(message)")
            }
        }
        guard let flaw else { return }
        let offsets = header.baseOffset..<header.lastOffset + 1
        add(
            flaw.kind, bytes: position..<position + header.totalLength, batch: number, offsets: offsets,
            gone: flaw.kind == .record ? offsets : 0..<0, message: flaw.message,
            advice: flaw.kind == .record ? repairAdvice : SegmentCheck.versionAdvice)
    }

    // MARK: Damage

    /// The batch here has a sound header and damaged records.
    private mutating func skip(_ header: BatchHeader, _ message: String) throws(LogError) -> Bool {
        let position = headers.position
        let next = position + header.totalLength
        if isLast, next >= report.fileBytes { return finishTorn() }
        var following = next
        if next < report.fileBytes, case .broken = try Segment.header(file, at: next, size: report.fileBytes)
        {
            // Bytes are missing or added inside: a later batch lies elsewhere.
            let later = try Segment.firstBatch(file, behind: position, size: report.fileBytes) {
                isPlausible($0, from: header.baseOffset)
            }
            following = later?.position ?? next
        }
        let offsets = header.baseOffset..<header.lastOffset + 1
        add(
            .batch, bytes: position..<following, batch: number, offsets: offsets, gone: offsets,
            message: message,
            advice: repairAdvice)
        report.nextOffset = offsets.upperBound
        headers.position = following
        return true
    }

    /// No whole batch begins here.
    private mutating func skip(_ message: String) throws(LogError) -> Bool {
        let position = headers.position
        let size = report.fileBytes
        let expected = report.nextOffset
        let later = try following(position, size: size)
        if isLast {
            // What was being written when it was read may be whole by now.
            if case .batch = try Segment.header(file, at: position, size: try file.size) { return true }
            if later == nil, try !Segment.hasBatch(file, behind: position, size: size) { return finishTorn() }
        }
        number += 1
        let end = later?.position ?? size
        let next = max(expected, later?.header.baseOffset ?? limit ?? expected)
        add(
            .header, bytes: position..<end, batch: number, gone: expected..<next, message: message,
            advice: repairAdvice)
        report.nextOffset = next
        headers.position = end
        return true
    }

    /// The next whole batch behind a header that cannot be read: where the frame ends, if that can be followed, else
    /// wherever one begins.
    private func following(
        _ position: Int64, size: Int64
    ) throws(LogError) -> (position: Int64, header: BatchHeader)? {
        let expected = report.nextOffset
        let frame = position + Int64(BatchHeader.byteCount)
        if let end = try Segment.frameEnd(file, at: frame, size: size), end < size,
            case .batch(let header) = try Segment.header(file, at: end, size: size),
            isPlausible(header, from: expected)
        {
            return (end, header)
        }
        return try Segment.firstBatch(file, behind: position, size: size) { isPlausible($0, from: expected) }
    }

    /// Data of a znode might look like a batch; its offsets would hardly fit.
    private func isPlausible(_ header: BatchHeader, from expected: Int64) -> Bool {
        header.baseOffset >= expected && header.lastOffset < limit ?? BatchHeader.offsetBound
    }

    /// The rest of the last segment is no whole batch: a write that is under way or was torn, unless the log was closed
    /// behind it.
    private mutating func finishTorn() -> Bool {
        let position = headers.position
        report.tornBytes = report.fileBytes - position
        return false
    }

    private var repairAdvice: String {
        "restore \(report.file) from a backup, or run `millrace log repair \(segment.directory)`"
    }

    private mutating func add(
        _ kind: LogDamage.Kind, bytes: Range<Int64>? = nil, batch: Int? = nil, offsets: Range<Int64>? = nil,
        gone: Range<Int64> = 0..<0, message: String, advice: String
    ) {
        report.damage.append(
            LogDamage(
                kind, file: report.file, bytes: bytes, batch: batch, batchOffsets: offsets, gone: gone,
                message: message, advice: advice))
    }

    // MARK: Index

    private mutating func loadIndex() throws(LogError) {
        if let index = SegmentIndex.load(segment, size: try file.size) {
            report.isIndexed = true
            indexCheck = IndexCheck(index)
            return
        }
        do {
            _ = try LogFile(SegmentIndex.path(segment), .read)
            report.isIndexed = true
            addIndexDamage("it is damaged, or of another size of the segment, or of an older version")
        } catch {
            if error.code != .notFound { throw error }
        }
    }

    private mutating func addIndexDamage(_ message: String) {
        report.damage.append(
            LogDamage(
                .index, file: Segment.name(segment.baseOffset, ".index"), message: message,
                advice:
                    "nothing is lost by it: the next `millrace run` or `millrace log repair` makes it anew"))
    }
}
