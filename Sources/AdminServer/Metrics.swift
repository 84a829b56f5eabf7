import Engine

/// The metrics of a process. Documentation/metrics.md tells what each means.
struct Metrics {
    var version: String
    var pipelines: [PipelineStatus]

    var text: String {
        var out = PrometheusText()
        out.metric("millrace_build_info", .gauge, "1; the version is in the label.")
        out.sample("millrace_build_info", [("version", version)], 1 as Int64)
        appendPipelines(&out)
        appendLog(&out)
        appendSinks(&out)
        return out.text
    }

    private func appendPipelines(_ out: inout PrometheusText) {
        each(&out, "millrace_up", .gauge, "1 while the pipeline runs.") { $0.state == .running ? 1 : 0 }
        each(&out, "millrace_ready", .gauge, "1 while changes arrive; what /ready answers.") {
            $0.isReady ? 1 : 0
        }
        each(&out, "millrace_captured_events_total", .counter, "Changes appended to the log.") {
            $0.log?.captured ?? 0
        }
        each(&out, "millrace_zookeeper_connected", .gauge, "1 while there is a session.") {
            $0.connection == nil ? 0 : 1
        }
        each(&out, "millrace_reconnects_total", .counter, "Connections to ZooKeeper after the first.") {
            $0.reconnects
        }
        each(
            &out, "millrace_history_gaps_total", .counter,
            "How often transactions were gone, and only their outcome is in the log."
        ) { Int64($0.capture.historyGaps) }
        each(&out, "millrace_resyncs_total", .counter, "How often the tree was compared with the log.") {
            Int64($0.capture.resyncs)
        }
        each(
            &out, "millrace_missed_values_total", .counter,
            "Values that were overwritten before they could be read."
        ) { Int64($0.capture.missedValues) }
        each(&out, "millrace_nodes", .gauge, "Live nodes within the scope.") { Int64($0.capture.nodes) }
        each(&out, "millrace_hidden_nodes", .gauge, "Nodes that may not be read.") {
            Int64($0.capture.hidden)
        }
    }

    private func appendLog(_ out: inout PrometheusText) {
        each(&out, "millrace_log_bytes", .gauge, "Size of the log's segments.") { $0.log?.bytes }
        each(&out, "millrace_log_segments", .gauge, "Segments of the log.") {
            $0.log.map { Int64($0.segments) }
        }
        each(&out, "millrace_log_start_offset", .gauge, "The first offset that the log holds.") {
            $0.log?.startOffset
        }
        each(&out, "millrace_log_end_offset", .gauge, "The next offset to be written.") {
            $0.log?.endOffset
        }
    }

    private func appendSinks(_ out: inout PrometheusText) {
        eachSink(&out, "millrace_delivered_events_total", .counter, "Changes written to the sink.") {
            $0.counts.delivered
        }
        eachSink(
            &out, "millrace_dead_letters_total", .counter, "Changes that a rule or the server has refused."
        ) { $0.counts.refused }
        eachSink(
            &out, "millrace_rewinds_total", .counter,
            "How often delivery went back because the server had lost what it had acknowledged."
        ) { $0.counts.rewinds }
        eachSink(&out, "millrace_lag_events", .gauge, "Changes in the log that are not delivered yet.") {
            $0.lag
        }
        let age = "millrace_lag_seconds"
        out.metric(age, .gauge, "Age of the oldest change that is not delivered yet; 0 without any.")
        forEachSink { sink, labels in
            guard let lag = sink.timeLagMilliseconds else { return }
            out.sample(age, labels, Double(lag) / 1000)
        }
        let latency = "millrace_capture_to_delivery_seconds"
        out.metric(latency, .histogram, "From a change's append to the log until the sink had it.")
        forEachSink { sink, labels in
            let histogram = sink.counts.latency
            let buckets = zip(LatencyHistogram.bounds, histogram.counts).map { (Double($0) / 1000, $1) }
            out.histogram(
                latency, labels, buckets: buckets, beyond: histogram.counts.last ?? 0,
                sum: Double(histogram.sum) / 1000)
        }
    }

    private func each(
        _ out: inout PrometheusText, _ name: String, _ kind: PrometheusText.Kind, _ help: String,
        _ value: (PipelineStatus) -> Int64?
    ) {
        out.metric(name, kind, help)
        for pipeline in pipelines {
            if let value = value(pipeline) { out.sample(name, [("pipeline", pipeline.name)], value) }
        }
    }

    private func eachSink(
        _ out: inout PrometheusText, _ name: String, _ kind: PrometheusText.Kind, _ help: String,
        _ value: (PipelineStatus.Sink) -> Int64?
    ) {
        out.metric(name, kind, help)
        forEachSink { sink, labels in
            if let value = value(sink) { out.sample(name, labels, value) }
        }
    }

    private func forEachSink(_ body: (PipelineStatus.Sink, PrometheusText.Labels) -> Void) {
        for pipeline in pipelines {
            for sink in pipeline.sinks { body(sink, [("pipeline", pipeline.name), ("sink", sink.name)]) }
        }
    }
}
