import ChangeModel
import Mapping
import SegmentLog

/// What is there and should not be.
extension Verification {
    /// Suspects what the sink remembers to have written for a path, or what its templates name, and no live node writes.
    func findExtras(_ index: Int) async throws {
        // Not a copy of the whole target, whose tables grow meanwhile.
        let (expecter, reader) = (targets[index].expecter, targets[index].reader)
        let kind = expecter.kind
        if targets[index].remembers {
            try await reader.remembered(kind) { portion in
                for (path, items) in portion where self.options.scope.contains(path) {
                    for item in items where self.isSuspect(item, index) {
                        try await self.suspect(
                            Candidate(target: index, item: item, paths: [path], isRemembered: true))
                    }
                }
            }
            return
        }
        guard let pattern = targets[index].pattern else { return }
        if !pattern.untold.isEmpty {
            report.sinks[index].blindness =
                "keys do not tell the path where rules match " + pattern.untold.joined(separator: ", ")
            // One of those may have written what looks as if it came from elsewhere.
            guard pattern.isTelling, report.hidden == 0, report.sinks[index].unmapped == 0 else { return }
        }
        try await reader.scan(kind, pattern.glob) { items in
            for item in items where self.isSuspect(item, index) {
                let paths = pattern.paths(of: item).filter { path in
                    // Forward it has to lead here.
                    self.options.scope.contains(path)
                        && expecter.gone(path).wanted(item)?.isOpen == false
                }
                guard !paths.isEmpty else { continue }
                try await self.suspect(Candidate(target: index, item: item, paths: paths))
            }
        }
    }

    private func isSuspect(_ item: SinkItem, _ index: Int) -> Bool {
        targets[index].expected[Fingerprint(item)] == nil && !isClaimed(item, besides: index)
    }

    /// What the log holds and a sink does not have yet.
    func noteLag() async throws {
        guard let end = try? LogDirectory.endOffset(setup.directory),
            let logID = try? LogDirectory.logID(setup.directory)
        else { return }
        for index in targets.indices where targets[index].isCompared {
            let store = targets[index].setup.checkpoints
            guard let checkpoint = try await store.read(timeout: Verification.checkpointTimeout),
                checkpoint.logID == logID
            else { continue }
            report.sinks[index].behind = max(end - checkpoint.confirmed, 0)
        }
    }

    // MARK: While the pipeline runs

    /// How long a change may take to be captured.
    private static let captureTime = Duration.seconds(1)
    /// How long what is captured is given to be delivered.
    private static let deliveryTime = Duration.seconds(5)
    private static let checkpointTimeout = Duration.seconds(5)

    /// Waits until the sinks have what the log holds now, a few seconds at most.
    func settle() async throws {
        try await Task.sleep(for: Verification.captureTime)
        // Without the log's files nothing tells how far behind the sinks are.
        guard let end = try? LogDirectory.endOffset(setup.directory) else {
            return try await Task.sleep(for: Verification.captureTime)
        }
        let deadline = ContinuousClock.now + Verification.deliveryTime
        for target in targets where target.isCompared {
            while ContinuousClock.now < deadline {
                let checkpoint = try await target.setup.checkpoints.read(
                    timeout: Verification.checkpointTimeout)
                guard let checkpoint, checkpoint.confirmed < end else { break }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }
}
