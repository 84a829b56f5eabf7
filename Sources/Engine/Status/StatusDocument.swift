import ChangeModel
import SystemPackage

/// What a process that runs pipelines tells of itself, as one JSON document. Names and meanings are in
/// Documentation/metrics.md.
public struct StatusDocument: Sendable {
    public var version: String
    public var uptimeMilliseconds: Int64
    public var pipelines: [PipelineStatus]

    public init(version: String, uptimeMilliseconds: Int64, pipelines: [PipelineStatus]) {
        self.version = version
        self.uptimeMilliseconds = uptimeMilliseconds
        self.pipelines = pipelines
    }

    public var bytes: [UInt8] {
        var json = JSONBytes()
        json.open()
        json.field("version", version)
        json.field("uptime_ms", uptimeMilliseconds)
        json.field("ready", pipelines.allSatisfy(\.isReady))
        json.openArray("pipelines")
        for pipeline in pipelines { StatusDocument.append(pipeline, to: &json) }
        json.closeArray()
        json.close()
        return json.bytes
    }

    private static func append(_ pipeline: PipelineStatus, to json: inout JSONBytes) {
        json.open()
        json.field("pipeline", pipeline.name)
        json.field("state", pipeline.state.rawValue)
        json.field("ready", pipeline.isReady)
        json.openArray("problems")
        for problem in pipeline.problems { json.item(problem) }
        json.closeArray()
        appendCapture(pipeline, to: &json)
        json.open("log")
        json.field("directory", pipeline.directory.string)
        json.field("start_offset", pipeline.log?.startOffset)
        json.field("end_offset", pipeline.log?.endOffset)
        json.field("bytes", pipeline.log?.bytes)
        json.field("segments", pipeline.log.map { Int64($0.segments) })
        json.close()
        json.openArray("sinks")
        for (index, sink) in pipeline.sinks.enumerated() {
            json.open()
            appendOffsets(pipeline, index, to: &json)
            json.field("delivered", sink.counts.delivered)
            json.field("dead_letters", sink.counts.refused)
            json.field("rewinds", sink.counts.rewinds)
            if let trouble = sink.trouble { json.field("trouble", trouble) } else { json.null("trouble") }
            json.close()
        }
        json.closeArray()
        json.close()
    }

    private static func appendCapture(_ pipeline: PipelineStatus, to json: inout JSONBytes) {
        let counts = pipeline.capture
        json.open("capture")
        json.field("mode", pipeline.captureMode)
        json.field("connected", pipeline.connection != nil)
        if let connection = pipeline.connection {
            json.field("server", connection.server)
            json.field("session", "0x" + String(UInt64(bitPattern: connection.session), radix: 16))
        } else {
            json.null("server")
            json.null("session")
        }
        json.field("phase", counts.isReadingTree || !pipeline.isSynchronized ? "snapshot" : "live")
        json.field("zxid", counts.seen.value)
        json.field("nodes", Int64(counts.nodes))
        json.field("hidden_nodes", Int64(counts.hidden))
        json.field("captured", pipeline.log?.captured)
        json.field("missed_values", Int64(counts.missedValues))
        json.field("resyncs", Int64(counts.resyncs))
        json.field("history_gaps", Int64(counts.historyGaps))
        json.field("reconnects", pipeline.reconnects)
        if let trouble = pipeline.captureTrouble {
            json.field("trouble", trouble)
        } else {
            json.null("trouble")
        }
        json.close()
    }

    /// What `offsets show` tells of the sink. What could not be read is as this process knows it.
    private static func appendOffsets(
        _ pipeline: PipelineStatus, _ index: Int, to json: inout JSONBytes
    ) {
        let sink = pipeline.sinks[index]
        let report =
            pipeline.offsets
            ?? OffsetReport(
                pipeline: pipeline.name, logStart: pipeline.log?.startOffset ?? 0,
                logEnd: pipeline.log?.endOffset ?? 0, sinks: [])
        var offsets =
            report.sinks.indices.contains(index)
            ? report.sinks[index] : OffsetReport.Sink(name: sink.name, place: "")
        if offsets.checkpoint == nil {
            offsets.current = sink.current
            offsets.lag = sink.lag
            offsets.timeLagMilliseconds = sink.timeLagMilliseconds
        }
        report.append(offsets, to: &json)
    }
}
