import Engine
import RedisClient

/// A node's word for its slots, in a hash on the node itself: all that was written to them before the checkpoint's `c`
/// is part of the history that the hash is part of. A replica that takes the node's place has a beginning of that
/// history, and tells by the marker how much of it.
///
/// The fields are those of a checkpoint (`CheckpointRecord`), and
///
/// | field | meaning |
/// |---|---|
/// | `n` | id of the node that it was written to |
/// | `s` | the slots |
struct Marker: Equatable {
    var checkpoint: Checkpoint
    var node: String
    var slots: SlotList

    static func key(pipeline: String, sink: String, slot: HashSlot) -> String {
        CheckpointRecord.key(pipeline: pipeline, sink: sink, slot: slot) + ":marker"
    }

    func appendWrite(key: String, to batch: inout RedisCommandBatch) {
        let arguments =
            CheckpointRecord.arguments(of: checkpoint)
            + ["n", node, "s", slots.text].map { Array($0.utf8) }
        batch.begin(argumentCount: 2 + arguments.count)
        batch.add("HSET" as StaticString)
        batch.add(key)
        for argument in arguments { batch.add(argument) }
    }

    static func appendRead(key: String, to batch: inout RedisCommandBatch) {
        batch.append("HMGET", key, "e", "p", "c", "g", "l", "z", "f", "o", "t", "n", "s")
    }

    /// The answer to a read; `nil` where there is no marker.
    ///
    /// - Throws: `PipelineError.failed` where something else lies there.
    static func parse(_ reply: RESPValue, key: String) throws(PipelineError) -> Marker? {
        guard let values = reply.array, values.count == CheckpointRecord.fields.count + 2 else {
            _ = try CheckpointRecord.parse(reply, key: key)
            throw .failed("\(key) cannot be read as a marker: an answer of another form")
        }
        guard
            let checkpoint = try CheckpointRecord.parse(
                .array(Array(values.prefix(CheckpointRecord.fields.count))), key: key)
        else { return nil }
        // One that was deleted, and written to since: it speaks for nobody.
        guard let node = values[values.count - 2].string,
            let slots = values[values.count - 1].string.flatMap({ SlotList($0) })
        else { return nil }
        return Marker(checkpoint: checkpoint, node: node, slots: slots)
    }
}
