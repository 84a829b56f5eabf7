import ChangeModel
import Mapping
import SegmentLog
import SystemPackage

/// The newest change of each path in a stretch of the log, as one sink is given it. What it takes of memory grows with
/// the paths, not with the changes.
struct NewestChanges {
    private(set) var offsets: [String: Int64] = [:]
    /// Paths of which the stretch has changes, whatever becomes of them.
    private var seen: Set<String> = []
    /// Behind the end of the last snapshot or comparison with the tree; -1 without one.
    private(set) var comparedAt: Int64 = -1

    /// A change that becomes nothing does not take the place of one that has written something: that is what the sink has
    /// kept.
    ///
    /// Throws `LogError`, and `CancellationError`.
    init(
        _ directory: FilePath, _ selection: ReplaySelection, mapper: Mapper, sink: Int, name: String
    ) throws {
        var reader = try LogReader(directory, from: selection.offsets.lowerBound)
        let end = selection.offsets.upperBound
        // One more batch: the end of a comparison takes no offset.
        while reader.nextOffset <= end, let batch = try reader.next() {
            try Task.checkCancellation()
            do {
                try batch.forEach { record in
                    if record.type == RecordType.snapshotEnd, record.offset <= end {
                        comparedAt = record.offset
                    }
                    guard record.type == RecordType.change, record.offset < end else { return }
                    let change = try ChangeCodec.decode(record.payload)
                    if let only = change.onlyFor, only != name { return }
                    guard selection.contains(change, offset: record.offset) else { return }
                    seen.insert(change.path)
                    if case .dropped = mapper.map(change, offset: record.offset, sink: sink) { return }
                    offsets[change.path] = record.offset
                }
            } catch let error as ChangeCodecError {
                throw LogError(
                    code: .corrupt, message: "a record of the batch at offset \(batch.baseOffset): \(error)",
                    file: directory.string)
            }
        }
    }

    /// Of the live nodes those whose newest change the stretch does not hold.
    func missing(of known: KnownState, _ selection: ReplaySelection) -> Int {
        known.nodes.keys.count { selection.filter.takes($0) && !seen.contains($0) }
    }
}
