import ArgumentParser
import Engine
import Mapping
import PipelineDefinition
import RedisClient

/// Which sinks a replay writes, where, and what has to be said of it beforehand.
struct ReplayTargets {
    private(set) var sinks: Set<String> = []
    /// Into the sinks' own keys, in the pipeline's place.
    let restores: Bool
    /// The sinks print their changes.
    private(set) var prints = false
    private(set) var notes: [String] = []

    /// - Parameter isOpenEnded: up to the log's end.
    /// - Throws: `ValidationError` where an older state would be put over a newer one.
    init(
        _ definition: PipelineDefinition, sinks names: [String], into: String?, keyPrefix: String,
        isState: Bool,
        isOpenEnded: Bool
    ) throws {
        for name in names where !definition.sinks.contains(where: { $0.name == name }) {
            let all = definition.sinks.map(\.name).joined(separator: ", ")
            throw ValidationError("there is no sink '\(name)' in \(definition.file); it has \(all)")
        }
        let wanted = definition.sinks.filter { names.isEmpty || names.contains($0.name) }
        let isElsewhere = into != nil || !keyPrefix.isEmpty
        let printers = wanted.filter { $0.redisURL == nil }
        if !names.isEmpty, !isElsewhere, printers.count == wanted.count {
            // To standard output everything may go.
            restores = false
            prints = true
            self.sinks = Set(printers.map(\.name))
            return
        }
        restores = !isElsewhere
        if restores, !isState || !isOpenEnded {
            throw ValidationError(
                "into the sinks' own keys goes only the newest state (--state without --to): an older value would take "
                    + "the place of a newer one. Give --into another Redis, or --key-prefix for other keys")
        }
        if keyPrefix.isEmpty, let into { try ReplayTargets.check(into, wanted) }
        for sink in wanted {
            if sink.redisURL == nil {
                notes.append(
                    "sink \(sink.name) is skipped: it prints; name it with --sink to replay it alone")
            } else if restores, case .stream = sink.specification.write {
                notes.append(
                    "sink \(sink.name) is skipped: a stream keeps what it has; --key-prefix writes a fresh one"
                )
            } else {
                self.sinks.insert(sink.name)
            }
            guard !restores, case .stream(let stream) = sink.specification.write else { continue }
            notes.append(
                stream.id == .auto
                    ? "stream sink \(sink.name): Redis numbers the entries; what a broken off replay has sent last may be "
                        + "there twice"
                    : "stream sink \(sink.name): entries keep the IDs of their offsets; behind later entries they get IDs "
                        + "of a higher generation"
                        + (keyPrefix.isEmpty ? " (--key-prefix writes fresh streams)" : ""))
        }
        if self.sinks.isEmpty { throw ValidationError("no sink is left to replay to") }
    }

    /// Another Redis must not be the sink's own.
    private static func check(_ url: String, _ sinks: [SinkDefinition]) throws {
        guard let target = try? RedisEndpoint(parsing: url) else { return }
        for sink in sinks {
            guard let own = sink.redisURL.flatMap({ try? RedisEndpoint(parsing: $0) }),
                own.address == target.address, own.database == target.database,
                own.sentinel == target.sentinel
            else { continue }
            throw ValidationError(
                "--into is where sink \(sink.name) writes already: add --key-prefix for fresh keys, or leave --into out "
                    + "and give --state to restore them")
        }
    }

    /// What to do next, where sinks were restored: those without a checkpoint would be told everything again.
    func advice(_ definition: PipelineDefinition, end: Int64) async throws -> [String] {
        guard restores else { return [] }
        let report = try await OffsetReport.read(definition)
        return report.sinks.filter { sinks.contains($0.name) && $0.current ?? 0 < end }.map { sink in
            "sink \(sink.name) is at offset \(sink.current ?? 0): the next run delivers the log from there once more, older "
                + "values first. To go on behind what was restored: millrace offsets reset \(definition.file) --sink "
                + "\(sink.name) --to-offset \(end) --execute"
        }
    }
}
