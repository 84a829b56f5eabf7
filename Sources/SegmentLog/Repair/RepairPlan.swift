import SystemPackage

/// What a repair has to do, taken from a verification.
struct RepairPlan {
    struct Cut {
        var report: SegmentReport
        /// Ascending and apart.
        var ranges: [Range<Int64>]
    }

    /// Segments of which bytes are taken out.
    private(set) var cuts: [Cut] = []
    /// What goes into the manifest, besides what is in it.
    private(set) var gaps: [LogGap] = []
    /// Closed segments whose index has to be made.
    private(set) var indexes: [Int64] = []
    private(set) var renewsMeta = false
    private(set) var renewsGaps = false
    /// What a person has to decide.
    private(set) var left: [LogDamage] = []
    /// Below it nothing changes.
    private(set) var firstOffset = Int64.max

    init(_ report: VerificationReport, now: Int64) {
        let last = report.segments.last
        for segment in report.segments {
            var ranges: [Range<Int64>] = []
            for damage in segment.damage + report.damage.filter({ $0.file == segment.file }) {
                if let range = take(damage, segment, now: now), !range.isEmpty { ranges.append(range) }
            }
            if !ranges.isEmpty { cuts.append(Cut(report: segment, ranges: RepairPlan.merged(ranges))) }
            let hasIndexDamage = segment.damage.contains { $0.kind == .index }
            if segment.file != last?.file, hasIndexDamage || !segment.isIndexed || !ranges.isEmpty {
                indexes.append(segment.baseOffset)
            }
        }
        for damage in report.damage {
            switch damage.kind {
            case .meta: renewsMeta = true
            case .gaps: renewsGaps = true
            default: break
            }
        }
    }

    /// The bytes to take out.
    private mutating func take(_ damage: LogDamage, _ segment: SegmentReport, now: Int64) -> Range<Int64>? {
        switch damage.kind {
        case .header, .batch, .record, .missing, .tail:
            break
        case .overlap:
            guard damage.bytes != nil else {
                left.append(damage)
                return nil
            }
        case .generation:
            renewsMeta = true
            return nil
        case .index, .meta, .gaps:
            return nil
        case .version:
            left.append(damage)
            return nil
        }
        firstOffset = min(firstOffset, damage.gone.lowerBound)
        if !damage.gone.isEmpty {
            gaps.append(
                LogGap(
                    offsets: damage.gone, segment: segment.baseOffset,
                    position: damage.bytes?.lowerBound ?? 0,
                    byteCount: damage.bytes.map { $0.upperBound - $0.lowerBound } ?? 0, repaired: now))
        }
        return damage.bytes
    }

    private static func merged(_ ranges: [Range<Int64>]) -> [Range<Int64>] {
        var merged: [Range<Int64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound < last.upperBound {
                merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged
    }
}
