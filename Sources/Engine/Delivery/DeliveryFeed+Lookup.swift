import ChangeModel
import Mapping
import SegmentLog
import SystemPackage

extension DeliveryFeed: ChangeLookup {
    /// `nil` also where the log has lost it meanwhile.
    func change(atOrBehind offset: Int64) throws(PipelineError) -> Change? {
        var found: Change?
        try forEachChange { directory throws(LogError) in
            try max(offset, LogDirectory.startOffset(directory))
        } _: { change, position, _ in
            if position >= offset { found = change }
            return found == nil
        }
        return found
    }

    func hasChange(
        of zxid: Zxid, atOrBehind offset: Int64,
        where isWanted: @Sendable (Change, _ generation: UInt16, _ writes: () -> [SinkWrite]) -> Bool
    ) throws(PipelineError) -> Bool {
        var isFound = false
        try forEachChange { directory throws(LogError) in
            // What lies before may be of another ensemble.
            try max(offset, LogInspection.batch(directory, of: zxid))
        } _: { change, position, generation in
            guard position >= offset, let order = change.order, order.zxid >= zxid else { return true }
            guard order.zxid == zxid else { return false }
            isFound = isWanted(change, generation) { self.writes(of: change, at: position) }
            return !isFound
        }
        return isFound
    }

    /// - Parameters:
    ///   - start: an offset to read from.
    ///   - body: whether to go on.
    private func forEachChange(
        from start: (FilePath) throws(LogError) -> Int64,
        _ body: (_ change: Change, _ offset: Int64, _ generation: UInt16) -> Bool
    ) throws(PipelineError) {
        do {
            var reader = try LogReader(directory, from: start(directory))
            var goesOn = true
            while goesOn, let batch = try reader.next() {
                try batch.forEach { record in
                    guard goesOn, record.type == RecordType.change else { return }
                    goesOn = body(try ChangeCodec.decode(record.payload), record.offset, batch.generation)
                }
            }
        } catch let error as LogError {
            if error.code != .trimmed { throw PipelineError(log: error) }
        } catch {
            throw .failed("a record of \(directory): \(error)")
        }
    }
}
