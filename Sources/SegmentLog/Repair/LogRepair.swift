public import SystemPackage

/// Bytes that a repair has taken out of a file and set aside.
public struct QuarantinedBytes: Sendable, Hashable {
    /// Name of the file in the log's directory that they lay in.
    public var file: String
    public var bytes: Range<Int64>
    /// Where they are now, in the log's directory; of a dry run, where they would be.
    public var copy: String
}

/// What a repair has done, or a dry run would do.
public struct RepairReport: Sendable, Hashable {
    public var verification: VerificationReport
    public var quarantined: [QuarantinedBytes] = []
    /// The offsets that are gone, and were not listed as gone before.
    public var gaps: [LogGap] = []
    /// Segments whose index was made anew.
    public var indexes: [String] = []
    /// Whether `log.meta` was made anew.
    public var renewedMeta = false
    /// The log's id is a new one, since nothing told the old one: sinks take it for another log.
    public var hasNewID = false
    /// What a person has to decide.
    public var left: [LogDamage] = []

    public var isEmpty: Bool {
        quarantined.isEmpty && gaps.isEmpty && indexes.isEmpty && !renewedMeta && left.isEmpty
    }
}

/// Sets damaged bytes aside and makes what is left a sound log, with a manifest of what is gone.
///
/// The steps, each durable before the next: the damaged bytes are copied into `quarantine/`; `willCommit`; the manifest
/// `gaps` lists the offsets; each damaged segment is written anew without those bytes and renamed over the old file; indexes
/// are made. Whatever step a crash comes in, damage that is not mended is still there to be found, and a second repair
/// finishes: copies are made again or are there, and what is listed is not listed twice.
public struct LogRepair {
    private let directory: FilePath
    private let indexInterval: Int
    /// Called before each step; for tests that fail there.
    var onStep: () throws(LogError) -> Void = { () throws(LogError) in }

    /// - Parameter directory: of a log that is not being written.
    public init(_ directory: FilePath) {
        self.directory = directory
        indexInterval = LogConfiguration().indexIntervalBytes
    }

    /// What a repair would do. Changes nothing.
    public static func preview(_ verification: VerificationReport, now: Int64) -> RepairReport {
        let plan = RepairPlan(verification, now: now)
        var report = RepairReport(verification: verification)
        report.gaps = plan.gaps
        report.left = plan.left
        report.indexes = plan.indexes.map { Segment.name($0, ".index") }
        report.renewedMeta = plan.renewsMeta
        report.quarantined = plan.cuts.flatMap { cut in
            cut.ranges.map {
                QuarantinedBytes(
                    file: cut.report.file, bytes: $0, copy: copyName(cut.report.baseOffset, $0.lowerBound, 1))
            }
        }
        return report
    }

    /// Repairs what a verification has found. Blocking.
    ///
    /// - Parameters:
    ///   - lock: the log's, held since before the verification.
    ///   - now: milliseconds since 1970.
    ///   - knownID: the log's id as somebody else remembers it, asked for where `log.meta` does not tell.
    ///   - willCommit: called before the first change, with the lowest offset that is concerned: whatever has been
    ///     derived from records from there on has to be forgotten.
    /// - Throws: `.unsupportedVersion` where a later version has written the log: nothing is changed. What the file system
    ///   answers: a second repair goes on from there.
    public func run(
        _ verification: VerificationReport, holding lock: LogLock, now: Int64, knownID: () -> String?,
        willCommit: (Int64) throws(LogError) -> Void
    ) throws(LogError) -> RepairReport {
        defer { withExtendedLifetime(lock) {} }
        let plan = RepairPlan(verification, now: now)
        if let later = plan.left.first(where: { $0.kind == .version }) {
            throw LogError(
                code: .unsupportedVersion, message: "\(later.message); \(later.advice)",
                file: directory.appending(later.file).string, position: later.bytes?.lowerBound)
        }
        var report = RepairReport(verification: verification)
        report.left = plan.left
        for cut in plan.cuts {
            for range in cut.ranges {
                try onStep()
                report.quarantined.append(try quarantine(cut.report, range))
            }
        }
        if plan.firstOffset < .max || plan.renewsMeta {
            try onStep()
            try willCommit(plan.firstOffset)
        }
        if plan.renewsMeta { try renewMeta(verification, knownID, &report) }
        try list(plan, &report)
        for cut in plan.cuts {
            try onStep()
            try rewrite(cut)
        }
        for base in plan.indexes {
            try onStep()
            let segment = Segment(baseOffset: base, directory: directory)
            try segment.scan(indexInterval: indexInterval).index.save(segment)
            report.indexes.append(Segment.name(base, ".index"))
        }
        return report
    }

    // MARK: Quarantine

    private static func copyName(_ segment: Int64, _ position: Int64, _ attempt: Int) -> String {
        "quarantine/" + Segment.name(segment, "-\(position)") + (attempt == 1 ? "" : "-\(attempt)") + ".bin"
    }

    private func quarantine(
        _ report: SegmentReport, _ range: Range<Int64>
    ) throws(LogError) -> QuarantinedBytes {
        try quarantine(report.file, range) { LogRepair.copyName(report.baseOffset, range.lowerBound, $0) }
    }

    /// A whole file; nothing where there is none.
    private func quarantine(_ name: String, _ report: inout RepairReport) throws(LogError) {
        try onStep()
        do {
            let size = try LogFile(directory.appending(name), .read).size
            report.quarantined.append(
                try quarantine(name, 0..<size) { "quarantine/\(name)" + ($0 == 1 ? "" : "-\($0)") + ".bin" })
        } catch {
            if error.code != .notFound { throw error }
        }
    }

    /// Copies the bytes, unless an earlier repair has; a file of other bytes is left alone.
    private func quarantine(
        _ name: String, _ range: Range<Int64>, as copyName: (Int) -> String
    ) throws(LogError) -> QuarantinedBytes {
        let file = try LogFile(directory.appending(name), .read)
        for attempt in 1... {
            let copy = copyName(attempt)
            let path = directory.appending(FilePath(copy).components)
            switch try compare(path, file, range) {
            case .equal: break
            case .other: continue
            case .missing:
                try AtomicFile.replace(path) { target throws(LogError) in
                    _ = try target.copy(range, of: file, to: 0)
                }
                try AtomicFile.syncDirectory(directory)
            }
            return QuarantinedBytes(file: name, bytes: range, copy: copy)
        }
        throw LogError(code: .io, message: "no name is free", file: directory.string)
    }

    private enum Comparison { case missing, equal, other }

    private func compare(
        _ path: FilePath, _ file: LogFile, _ range: Range<Int64>
    ) throws(LogError) -> Comparison {
        let copy: LogFile
        do {
            copy = try LogFile(path, .read)
        } catch {
            if error.code == .notFound { return .missing }
            throw error
        }
        guard try copy.size == range.upperBound - range.lowerBound else { return .other }
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(range.upperBound - position, 1 << 20))
            guard
                try copy.read(at: position - range.lowerBound, count: count)
                    == file.read(at: position, count: count)
            else { return .other }
            position += Int64(count)
        }
        return .equal
    }

    // MARK: Changes

    private func list(_ plan: RepairPlan, _ report: inout RepairReport) throws(LogError) {
        guard plan.renewsGaps || !plan.gaps.isEmpty else { return }
        var gaps = LogGaps()
        if !plan.renewsGaps { gaps = try LogGaps.load(directory) }
        let known = gaps
        for gap in plan.gaps { gaps.insert(gap) }
        report.gaps = gaps.entries.filter { !known.entries.contains($0) }
        if plan.renewsGaps { try quarantine("gaps", &report) }
        if gaps == known, !plan.renewsGaps { return }
        try onStep()
        try gaps.save(directory)
    }

    /// Writes the segment anew without the bytes that were set aside.
    private func rewrite(_ cut: RepairPlan.Cut) throws(LogError) {
        let segment = Segment(baseOffset: cut.report.baseOffset, directory: directory)
        let file = try LogFile(segment.path, .read)
        let size = try file.size
        // Its positions would be wrong.
        try AtomicFile.remove(SegmentIndex.path(segment))
        try AtomicFile.replace(segment.path) { target throws(LogError) in
            var position: Int64 = 0
            var written: Int64 = 0
            for range in cut.ranges {
                written = try target.copy(position..<range.lowerBound, of: file, to: written)
                position = range.upperBound
            }
            _ = try target.copy(position..<size, of: file, to: written)
        }
    }

    /// Makes `log.meta` anew: generations from the batches and from what can be read of the old list.
    private func renewMeta(
        _ verification: VerificationReport, _ knownID: () -> String?, _ report: inout RepairReport
    ) throws(LogError) {
        let old = try? LogMeta.load(directory)
        try quarantine("log.meta", &report)
        try onStep()
        var meta = LogMeta.create(generation: 0)
        if let id = old?.id ?? knownID().flatMap(LogMeta.id) {
            meta.id = id
        } else {
            report.hasNewID = true
        }
        meta.generations = LogMeta.generations(
            old: old?.generations ?? [], found: verification.segments.flatMap(\.generations),
            end: verification.endOffset)
        // Generations without a batch are forgotten with the old list: the next open begins one of its own.
        if old == nil { _ = try CleanMarker.take(directory) }
        try meta.save(directory)
        report.renewedMeta = true
    }
}

extension LogMeta {
    /// The id that a text of `idText` stands for.
    static func id(_ text: String) -> [UInt8]? {
        let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 32, text.utf8.count == 32 else { return nil }
        return stride(from: 0, to: 32, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    /// The list that agrees with the batches, with what the old one says before and behind them.
    static func generations(old: [Generation], found: [Generation], end: Int64) -> [Generation] {
        var list: [Generation] = []
        for generation in found where generation.number > list.last?.number ?? 0 || list.isEmpty {
            list.append(generation)
        }
        guard let first = list.first, let last = list.last else {
            return old.isEmpty ? [Generation(number: 0, firstOffset: 0)] : old
        }
        // The log may begin inside a generation: its real beginning is in the old list.
        let before = old.filter { $0.firstOffset <= first.firstOffset && $0.number <= first.number }
        if before.last?.number == first.number { list.removeFirst() }
        let after = old.filter { $0.firstOffset >= end && $0.number > last.number }
        var all = before + list + after
        // There is no offset before the first generation.
        all[0].firstOffset = old.isEmpty ? 0 : all[0].firstOffset
        // Numbers that no batch carries may have been given to checkpoints.
        if old.isEmpty { all.append(Generation(number: min(last.number, .max - 2) + 2, firstOffset: end)) }
        return all
    }
}
