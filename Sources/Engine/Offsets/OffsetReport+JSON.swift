import ChangeModel

extension OffsetReport {
    /// The document that `offsets show --json` prints.
    public var json: String {
        var json = JSONBytes()
        json.open()
        json.field("pipeline", pipeline)
        json.openArray("sinks")
        for sink in sinks {
            json.open()
            append(sink, to: &json)
            json.close()
        }
        json.closeArray()
        json.close()
        return json.text
    }

    /// The fields of a sink, into an object that is open.
    func append(_ sink: Sink, to json: inout JSONBytes) {
        json.field("name", sink.name)
        json.field("log_start_offset", logStart)
        json.field("current_offset", sink.current)
        json.field("log_end_offset", logEnd)
        json.field("lag", sink.lag)
        json.field("time_lag_ms", sink.timeLagMilliseconds)
        json.field("zxid", sink.checkpoint?.settled.value)
        json.open("checkpoint")
        json.field("place", sink.place)
        if let checkpoint = sink.checkpoint {
            json.field("epoch", checkpoint.epoch)
            json.field("sent", checkpoint.sent)
            json.field("generation", Int64(checkpoint.generation))
            json.field("log_id", checkpoint.logID)
            json.field("owner", checkpoint.owner)
            json.field("age_ms", sink.ageMilliseconds)
        }
        if let problem = sink.problem { json.field("error", problem) }
        json.close()
        guard !sink.nodes.isEmpty else { return }
        json.openArray("nodes")
        for node in sink.nodes {
            json.open()
            json.field("node", node.name)
            json.field("slots", node.slots)
            json.field("current_offset", node.current)
            json.field("lag", node.lag)
            json.field("zxid", node.checkpoint?.settled.value)
            json.field("age_ms", node.ageMilliseconds)
            json.close()
        }
        json.closeArray()
    }
}
