import ChangeModel
import Mapping
import SegmentLog
import SystemPackage

/// The newest change of each path in a stretch of the log, as one sink is given it. What it takes of memory grows with
/// the paths, not with the changes.
struct NewestChanges {
    private(set) var offsets: [String: Int64] = [:]

    /// A change that the rules leave out for its operation does not take the place of one that they let through.
    ///
    /// Throws `LogError`, and `CancellationError`.
    init(
        _ directory: FilePath, _ selection: ReplaySelection, mapper: Mapper, sink: Int, name: String
    ) throws {
        var reader = try LogReader(directory, from: selection.offsets.lowerBound)
        let end = selection.offsets.upperBound
        while reader.nextOffset < end, let batch = try reader.next() {
            try Task.checkCancellation()
            do {
                try batch.forEach { record in
                    guard record.type == RecordType.change, record.offset < end else { return }
                    let change = try ChangeCodec.decode(record.payload)
                    if let only = change.onlyFor, only != name { return }
                    guard selection.contains(change, offset: record.offset),
                        mapper.takes(change, offset: record.offset, sink: sink)
                    else { return }
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
    func missing(of known: KnownState) -> Int {
        known.nodes.keys.count { offsets[$0] == nil }
    }
}
