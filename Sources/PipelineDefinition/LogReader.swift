/// Reads `log:`, all of which has defaults.
struct LogReader {
    let context: LoadContext

    static let defaults = LogDefinition(
        directory: "./data", segmentBytes: 64 << 20, fsync: .batch, retainBytes: nil,
        retainAgeMilliseconds: nil,
        retainForce: false)

    /// A segment of a few KiB is for tests; a batch must fit well into the largest.
    private static let segmentBounds: ClosedRange<Int64> = 4096...(4 << 30)
    private static let defaultInterval = 1000

    func read(_ root: Section) -> LogDefinition {
        var log = LogReader.defaults
        guard let node = root.node("log"),
            let section = Section(
                node, "log", at: root.position(of: "log"), keys: ["directory", "segment", "fsync", "retain"],
                context: context)
        else { return log }
        if let directory = section.text("directory") { log.directory = directory.value }
        if let bytes = section.bytes("segment", in: LogReader.segmentBounds, context: context) {
            log.segmentBytes = Int(bytes)
        }
        if let node = section.node("fsync") { log.fsync = fsync(node) }
        retain(section, into: &log)
        return log
    }

    private enum FsyncName: String, CaseIterable {
        case batch, interval, never
    }

    /// `batch`, `never`, `interval` (a second) or `{interval: 200ms}`.
    private func fsync(_ node: Node) -> LogDefinition.Fsync {
        if case .mapping = node.content {
            let section = Section(node, "fsync", keys: ["interval"], context: context)
            let interval = section?.milliseconds("interval", in: 1...3_600_000, context: context)
            return .interval(milliseconds: interval.map(Int.init) ?? LogReader.defaultInterval)
        }
        switch context.choice(node, "fsync", of: FsyncName.self) {
        case .batch, nil: return .batch
        case .interval: return .interval(milliseconds: LogReader.defaultInterval)
        case .never: return .never
        }
    }

    private func retain(_ section: Section, into log: inout LogDefinition) {
        guard let node = section.node("retain"),
            let retain = Section(
                node, "log.retain", at: section.position(of: "retain"), keys: ["bytes", "age", "force"],
                context: context)
        else { return }
        log.retainBytes = retain.bytes("bytes", in: 1...(1 << 60), context: context)
        log.retainAgeMilliseconds = retain.milliseconds("age", in: 1...(1 << 50), context: context)
        log.retainForce = retain.choice("force", default: YesOrNo.false) == .true
        if let bytes = log.retainBytes, bytes < log.segmentBytes {
            context.warning(
                retain.node("bytes")?.position ?? retain.position,
                "retain.bytes is less than one segment: whole segments are removed, the newest never",
                fix: "make segment smaller, or retain.bytes larger")
        }
    }
}
