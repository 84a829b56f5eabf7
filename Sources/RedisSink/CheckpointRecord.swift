import ChangeModel
import Engine
import Mapping
import RedisClient

/// The checkpoint's hash in Redis.
///
/// | field | meaning |
/// |---|---|
/// | `e` | epoch: grows by one with each process that takes the sink |
/// | `p` | next offset to be sent |
/// | `c` | next offset to be confirmed: all before it is delivered or a durable dead letter |
/// | `g` | generation of the change before `p` |
/// | `l` | id of the log |
/// | `z` | every change up to this zxid lies before `p` |
/// | `f` | stream IDs are at least of this generation |
/// | `o` | host and process of the writer |
/// | `t` | when it was written, milliseconds since 1970 |
/// | `r` | the stream entries of the last replay of dead letters; only a replay writes it |
enum CheckpointRecord {
    static let fields = ["e", "p", "c", "g", "l", "z", "f", "o", "t"]
    static let replayedField = "r"

    /// The name on one Redis.
    static func key(pipeline: String, sink: String) -> String { "millrace:\(pipeline):\(sink)" }

    /// The name in a slot of a cluster.
    static func key(pipeline: String, sink: String, slot: HashSlot) -> String {
        "millrace:{\(HashSlot.tag(for: slot))}:\(pipeline):\(sink)"
    }

    /// Names and values, as `HSET` takes them.
    ///
    /// - Parameters:
    ///   - replayed: the field `r`, in a replay.
    ///   - isWhole: also what stays the same as long as one process has the sink.
    static func arguments(of checkpoint: Checkpoint, replayed: Bytes? = nil, isWhole: Bool = true) -> [Bytes]
    {
        var values = [
            "p", "\(checkpoint.sent)", "c", "\(checkpoint.confirmed)", "g", "\(checkpoint.generation)", "z",
            "\(checkpoint.settled)", "f", "\(checkpoint.floor)", "t", "\(checkpoint.written)",
        ]
        if isWhole { values += ["e", "\(checkpoint.epoch)", "l", checkpoint.logID, "o", checkpoint.owner] }
        var arguments = values.map { Bytes($0.utf8) }
        if let replayed { arguments += [Bytes(replayedField.utf8), replayed] }
        return arguments
    }

    static func appendWrite(
        of checkpoint: Checkpoint, replayed: Bytes? = nil, isWhole: Bool = true, key: String,
        to batch: inout RedisCommandBatch
    ) {
        let arguments = arguments(of: checkpoint, replayed: replayed, isWhole: isWhole)
        batch.begin(argumentCount: 2 + arguments.count)
        batch.add("HSET" as StaticString)
        batch.add(key)
        for argument in arguments { batch.add(argument) }
    }

    static func appendRead(key: String, to batch: inout RedisCommandBatch) {
        batch.append("HMGET", key, "e", "p", "c", "g", "l", "z", "f", "o", "t")
    }

    /// The answer to a read; `nil` where there is no checkpoint.
    ///
    /// Throws `PipelineError.failed` where something else lies there.
    static func parse(_ reply: RESPValue, key: String) throws(PipelineError) -> Checkpoint? {
        if case .error(let error) = reply {
            throw .failed("\(key) cannot be read as a checkpoint: \(error.message)")
        }
        guard let values = reply.array, values.count == fields.count else {
            throw .failed("\(key) cannot be read as a checkpoint: an answer of another form")
        }
        let texts = values.map(\.string)
        if texts.allSatisfy({ $0 == nil }) { return nil }
        func number<T: FixedWidthInteger>(_ index: Int, _ type: T.Type) throws(PipelineError) -> T {
            guard let number = texts[index].flatMap({ T($0) }), number >= 0 else {
                throw .failed(
                    "the checkpoint \(key) has no valid field '\(fields[index])'; delete the key to deliver "
                        + "the log from its start")
            }
            return number
        }
        let epoch = try number(0, Int64.self)
        guard epoch < 1 << 62 else {
            throw .failed(
                "the checkpoint \(key) has an epoch that nobody can follow; delete the key to start over")
        }
        return Checkpoint(
            epoch: epoch, sent: try number(1, Int64.self),
            confirmed: try number(2, Int64.self), generation: try number(3, UInt16.self),
            logID: texts[4] ?? "", settled: Zxid(try number(5, Int64.self)),
            floor: try number(6, UInt16.self),
            owner: texts[7] ?? "", written: try number(8, Int64.self))
    }
}
