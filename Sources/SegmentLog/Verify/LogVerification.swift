import Dispatch
import Synchronization
public import SystemPackage

/// Reads a whole log and says what in it is not as it was written. Beside a running writer, too.
public enum LogVerification {
    /// Verifies the log in a directory, several segments at the same time. Blocking; memory does not depend on the size
    /// of the log.
    ///
    /// - Parameters:
    ///   - lock: the log's, where the caller holds it: nobody else writes then.
    ///   - inspect: what is wrong with a record whose checksum is right. Called by several threads.
    ///   - progress: called by several threads with the bytes read so far, and all there are.
    /// - Throws: `.notFound` where there is no log; what the file system answers. Damage is no error.
    public static func run(
        _ directory: FilePath, holding lock: LogLock? = nil,
        inspect: @escaping @Sendable (LogRecord) -> RecordFlaw?,
        progress: @Sendable (Int64, Int64) -> Void = { _, _ in }
    ) throws(LogError) -> VerificationReport {
        defer { withExtendedLifetime(lock) {} }
        var state = LogState(directory, isWritten: lock == nil)
        let segments = try LogDirectory.segments(directory)
        let checked = try check(segments, state, inspect, progress)
        // Retention may have been at work: what it has removed since was no part of the log any more.
        let start = try LogDirectory.segments(directory)[0].baseOffset
        let reports = checked.compactMap(\.self).filter { $0.baseOffset >= start }
        state.reload(directory)
        return state.report(directory, reports, start: start)
    }

    private static func check(
        _ segments: [Segment], _ state: LogState, _ inspect: @escaping @Sendable (LogRecord) -> RecordFlaw?,
        _ progress: @Sendable (Int64, Int64) -> Void
    ) throws(LogError) -> [SegmentReport?] {
        var sizes: Int64 = 0
        for segment in segments { sizes += try segment.open()?.size ?? 0 }
        let all = sizes
        let results = Mutex([Result<SegmentReport?, LogError>?](repeating: nil, count: segments.count))
        let done = Atomic<Int64>(0)
        DispatchQueue.concurrentPerform(iterations: segments.count) { number in
            let isLast = number == segments.count - 1
            let limit = isLast ? state.cleanEnd : segments[number + 1].baseOffset
            let result = Result { () throws(LogError) -> SegmentReport? in
                guard let file = try segments[number].open() else { return nil }
                var check = try SegmentCheck(
                    segments[number], file, gaps: state.gaps, limit: limit, isLast: isLast, inspect: inspect)
                try check.run { progress(done.add($0, ordering: .relaxed).newValue, all) }
                return check.report
            }
            results.withLock { $0[number] = result }
        }
        var reports: [SegmentReport?] = []
        for result in results.withLock({ $0 }) { reports.append(try result?.get()) }
        return reports
    }
}

/// What lies beside the segments, as it was before they were read.
private struct LogState: Sendable {
    var gaps = LogGaps()
    var meta: LogMeta?
    /// Where the last writer closed the log in an orderly way; `nil` while one writes.
    var cleanEnd: Int64?
    private var damage: [LogDamage] = []

    /// - Parameter isWritten: whether a writer may hold the lock.
    init(_ directory: FilePath, isWritten: Bool) {
        // A writer takes the lock, and then the marker away.
        let marked = CleanMarker.look(directory)
        cleanEnd = isWritten && LogDirectory.writerProcess(directory) != nil ? nil : marked
        do throws(LogError) {
            gaps = try LogGaps.load(directory)
        } catch {
            add(error.code == .unsupportedVersion ? .version : .gaps, "gaps", error)
        }
    }

    /// The list of generations may have grown while the segments were read.
    mutating func reload(_ directory: FilePath) {
        do throws(LogError) {
            meta = try LogMeta.load(directory)
        } catch {
            add(error.code == .unsupportedVersion ? .version : .meta, "log.meta", error)
        }
    }

    private mutating func add(_ kind: LogDamage.Kind, _ file: String, _ error: LogError) {
        damage.append(
            LogDamage(
                kind, file: file, message: error.message,
                advice: kind == .version
                    ? "look at it with the version of Millrace that wrote it"
                    : "`millrace log repair` makes it anew from what the segments say"))
    }

    func report(_ directory: FilePath, _ segments: [SegmentReport], start: Int64) -> VerificationReport {
        let advice = "restore the files from a backup, or run `millrace log repair \(directory)`"
        var report = VerificationReport(
            directory: directory.string, startOffset: start,
            endOffset: gaps.end(from: segments.last?.nextOffset ?? start), segments: segments, damage: damage,
            gaps: gaps.entries, notes: [])
        for (before, after) in zip(segments, segments.dropFirst()) {
            let missing = before.nextOffset..<max(before.nextOffset, after.baseOffset)
            if before.nextOffset > after.baseOffset {
                report.damage.append(
                    LogDamage(
                        .overlap, file: after.file,
                        message: "it begins at offset \(after.baseOffset), the segment before it ends behind "
                            + "\(before.nextOffset - 1)",
                        advice:
                            "keep the right one of \(before.file) and \(after.file), and move the other away")
                )
            } else if !gaps.covers(missing) {
                report.damage.append(
                    LogDamage(
                        .missing, file: after.file, gone: missing,
                        message:
                            "offsets \(missing.lowerBound) to \(missing.upperBound - 1) are missing before it",
                        advice: advice))
            }
        }
        addTail(&report, advice)
        addGenerations(&report)
        let missing = segments.dropLast().count { !$0.isIndexed }
        if missing > 0 {
            report.notes.append(
                "\(missing) closed segments have no index: readers begin at their start until the next run makes it"
            )
        }
        let unknown = segments.reduce(0) { $0 + $1.unknownRecords }
        if unknown > 0 {
            report.notes.append("\(unknown) records are of types that this version does not know")
        }
        return report
    }

    /// A log that was closed in an orderly way has lost what is not there; else the end may be torn.
    private func addTail(_ report: inout VerificationReport, _ advice: String) {
        guard let last = report.segments.last else { return }
        let torn = last.fileBytes - last.tornBytes..<last.fileBytes
        if let cleanEnd, cleanEnd > report.endOffset || cleanEnd == report.endOffset && !torn.isEmpty {
            let end = cleanEnd > report.endOffset ? "ends at \(report.endOffset)" : "has bytes behind its end"
            report.damage.append(
                LogDamage(
                    .tail, file: last.file, bytes: torn, gone: report.endOffset..<cleanEnd,
                    message: "the log was closed in an orderly way at offset \(cleanEnd) and \(end)",
                    advice: advice + "; without either the next run cuts the rest off"))
            report.endOffset = cleanEnd
        } else if last.tornBytes > 0 {
            report.notes.append(
                "the last \(last.tornBytes) bytes of \(last.file) are no whole batch: one that is being written, or that a "
                    + "crash has torn; the next run cuts off what is torn")
        }
    }

    /// Every batch must carry the generation that `log.meta` lists for its offset.
    private func addGenerations(_ report: inout VerificationReport) {
        guard let meta else { return }
        for segment in report.segments {
            for found in segment.generations {
                let listed = meta.generations.last { $0.firstOffset <= found.firstOffset }
                guard listed?.number != found.number else { continue }
                report.damage.append(
                    LogDamage(
                        .generation, file: segment.file,
                        message:
                            "the batch of offset \(found.firstOffset) is of generation \(found.number), log.meta says "
                            + (listed.map { "\($0.number)" } ?? "nothing"),
                        advice: "`millrace log repair` makes the list anew from the batches"))
            }
        }
    }
}
