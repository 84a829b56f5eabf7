import ChangeModel
import Logging
import Mapping
import SegmentLog

/// What becomes of differences: they are counted, and in a repair written anew.
extension Verification {
    /// How long a server may take for one step. The pipeline waits for ever, a command does not.
    private static let stepTimeout = Duration.seconds(60)
    private static let checkpointTimeout = Duration.seconds(10)
    private static let batchBytes = 1 << 20

    /// Each thing once, however many nodes write it.
    func take(_ findings: [Finding]) async throws {
        var fresh: [Finding] = []
        for finding in findings {
            let fingerprint = Fingerprint(finding.candidate.item)
            let index = finding.candidate.target
            if targets[index].expected[fingerprint] == true { continue }
            guard targets[index].reported[fingerprint] == nil else { continue }
            // The templates of several sinks may name the same.
            if finding.kind == .extra, targets.contains(where: { $0.reported[fingerprint] == .extra }) {
                continue
            }
            targets[index].reported[fingerprint] = finding.kind
            report.sinks[index].differences[finding.kind, default: 0] += 1
            fresh.append(finding)
        }
        for start in stride(from: 0, to: fresh.count, by: Verification.chunk) {
            let chunk = Array(fresh[start..<min(start + Verification.chunk, fresh.count)])
            let repairs = options.repairs ? try await repair(chunk) : []
            for (number, finding) in chunk.enumerated() {
                let repair = repairs.isEmpty ? nil : repairs[number]
                if repair == .done { report.sinks[finding.candidate.target].repaired += 1 }
                guard report.differences.count < options.limit else { continue }
                report.differences.append(
                    Difference(
                        kind: finding.kind, sink: targets[finding.candidate.target].setup.name,
                        item: finding.candidate.item, path: finding.path, expected: finding.texts.expected,
                        found: finding.texts.found, repair: repair))
            }
        }
    }

    // MARK: Lock and epoch

    /// Takes the log's lock and the sinks, as a run does.
    func takeOver() async throws {
        guard ((try? LogDirectory.endOffset(setup.directory)) ?? 0) > 0 else {
            throw PipelineError.unavailable(
                "\(setup.directory): the pipeline's log is not there; run the pipeline, which writes all of it"
            )
        }
        let log = try PipelineLog(directory: setup.directory, configuration: setup.log, initialGeneration: 0)
        self.log = log
        // What was known of the tree is of no use here.
        _ = await log.takeRecovered()
        for target in targets where target.isCompared {
            let sink = target.setup
            guard try await sink.checkpoints.read(timeout: Verification.checkpointTimeout) != nil else {
                throw PipelineError.unavailable(
                    "\(sink.checkpoints.place): there is no checkpoint; the next run delivers to sink "
                        + "\(sink.name) anew")
            }
            let feed = DeliveryFeed(
                directory: setup.directory, mapper: setup.mapper, sinkIndex: target.expecter.sink,
                sinkName: sink.name)
            let context = SinkContext(log, sink: sink.name, takeOver: false, feed)
            let position = try await within(sink.name) { try await sink.sink.start(context) }
            // What is still to be delivered would put older states over newer ones.
            guard position >= log.tail.value else {
                throw PipelineError.failed(
                    "sink \(sink.name) has \(log.tail.value - position) changes of the log still to take: "
                        + "run the pipeline (run --until-caught-up), then repair")
            }
        }
    }

    func release() async {
        guard let log else { return }
        for target in targets where target.isCompared { await target.setup.sink.close() }
        do {
            try await log.close()
        } catch {
            setup.logger.error("closing the log failed", metadata: ["error": "\(error)"])
        }
    }

    // MARK: Writing

    /// Writes what should be there through the sinks' own way, and looks at it again.
    private func repair(_ findings: [Finding]) async throws -> [Difference.Repair] {
        let nodes = try await readings(findings.map(\.candidate))
        var results = [Difference.Repair?](repeating: nil, count: findings.count)
        for index in targets.indices {
            let numbers = findings.indices.filter { findings[$0].candidate.target == index }
            guard !numbers.isEmpty else { continue }
            var batch: [MappedChange] = []
            var refused: [String: String] = [:]
            var bytes = 0
            var paths: Set<String> = []
            for number in numbers where paths.insert(findings[number].path).inserted {
                let path = findings[number].path
                let items = Set(
                    numbers.filter { findings[$0].path == path }.map { findings[$0].candidate.item })
                guard let change = change(path, items, nodes[path], index) else { continue }
                batch.append(change)
                bytes += change.writes.reduce(0) { $0 + $1.byteCount }
                guard bytes >= Verification.batchBytes else { continue }
                refused.merge(try await deliver(batch, index)) { first, _ in first }
                (batch, bytes) = ([], 0)
            }
            if !batch.isEmpty { refused.merge(try await deliver(batch, index)) { first, _ in first } }
            let contents = try await targets[index].reader.read(numbers.map { findings[$0].candidate.item })
            for (number, content) in zip(numbers, contents) {
                let finding = findings[number]
                let now = wanted(finding.candidate, nodes)
                if now?.wanted.takes(content, finding.candidate.item.kind) == true {
                    results[number] = .done
                } else {
                    results[number] = .failed(
                        refused[finding.path] ?? "it is not what it should be after the repair either")
                }
            }
        }
        return results.map { $0 ?? .failed("nothing was written for it") }
    }

    /// What brings these items of a path into order.
    private func change(
        _ path: String, _ items: Set<SinkItem>, _ node: NodeReading?, _ index: Int
    ) -> MappedChange? {
        let target = targets[index]
        var made: (change: Change, writes: [SinkWrite])?
        switch node {
        case .live(let node)?:
            made = target.expecter.writes(node)
            // No rule writes anything for it: what it wrote before is all that there is.
            if made == nil, target.remembers { made = (target.expecter.change(.read, of: node), [.release]) }
        case .absent?:
            made =
                target.remembers
                ? (target.expecter.deletion(of: path), [.release]) : target.expecter.writes(deleting: path)
        case .hidden?, nil:
            return nil
        }
        guard var made else { return nil }
        // What a sink remembers of a path it has to be told as a whole.
        if !target.remembers {
            made.writes.removeAll { write in
                guard let item = write.leaves(target.expecter.kind)?.item else { return true }
                return !items.contains(item)
            }
        }
        guard !made.writes.isEmpty else { return nil }
        return MappedChange(made.change, offset: 0, generation: 0, writes: made.writes)
    }

    /// By path why it was refused.
    private func deliver(_ changes: [MappedChange], _ index: Int) async throws -> [String: String] {
        var batch = MappedBatch(offsets: 0..<0, changes: changes, settled: .none, generation: 0)
        batch.isReplay = true
        let sink = targets[index].setup
        let outcome = try await within(sink.name) { [batch] in try await sink.sink.deliver(batch) }
        guard case .delivered(let rejections) = outcome else {
            throw PipelineError.failed(
                "sink \(sink.name) has lost what it had acknowledged; run the pipeline, then verify again")
        }
        return Dictionary(rejections.map { ($0.change.path, $0.reason) }) { first, _ in first }
    }

    private func within<Value: Sendable>(
        _ sink: String, _ step: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await Engine.within(
            Verification.stepTimeout, step,
            else: .unavailable(
                "sink \(sink) did not take it within \(Verification.stepTimeout); repair again later"))
    }
}
