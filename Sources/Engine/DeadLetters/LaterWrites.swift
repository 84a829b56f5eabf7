import ChangeModel
import Mapping

/// What a key sink's write replaces: a key, or one field or member of it.
struct WriteTarget: Hashable {
    var key: Bytes
    var part: Bytes?
}

extension SinkWrite {
    /// `nil` where the write replaces nothing.
    var target: WriteTarget? {
        switch self {
        case .streamAdd, .envelope, .release: nil
        case .expiring(let write, _): write.target
        case .setString(let key, _), .replaceHash(let key, _), .deleteKey(let key): WriteTarget(key: key)
        case .setHashField(let key, let part, _), .removeHashField(let key, let part),
            .addMember(let key, let part), .removeMember(let key, let part),
            .addScoredMember(let key, let part, _), .removeScoredMember(let key, let part),
            .addListItem(let key, let part), .removeListItem(let key, let part):
            WriteTarget(key: key, part: part)
        }
    }
}

extension SinkWrite {
    /// Whether an older state of it may not be put in the place of a newer one.
    var replaces: Bool { self == .release || target != nil }
}

/// The newest writes in the pipeline's log to what some dead letters would write: an older state may not replace a
/// newer one.
///
/// One that writes the same does not count. It may never have been delivered: to `dedupe` it was what is there already.
struct LaterWrites {
    fileprivate struct Latest {
        var offset: Int64 = -1
        /// Of those that replace something; `nil` where no rule could map the change.
        var writes: [SinkWrite]? = []
    }

    private var paths: [String: Latest] = [:]
    private var targets: [WriteTarget: Latest] = [:]

    init(watching changes: [MappedChange]) {
        for change in changes {
            paths[change.change.path] = Latest()
            for case let target? in change.writes.map(\.target) { targets[target] = Latest() }
        }
    }

    /// Reads the log after `offset` up to `end` as the sink would be given it. Changes that the rules drop for the
    /// sink do not count; those that they fail for do.
    mutating func read(_ feed: DeliveryFeed, after offset: Int64, below end: Int64) async throws {
        guard offset + 1 < end else { return }
        try await feed.seek(to: offset + 1)
        while let portion = try await feed.next(below: end) {
            for failure in portion.failures where paths[failure.change.path] != nil {
                paths[failure.change.path] = Latest(offset: failure.offset, writes: nil)
            }
            for change in portion.batch.changes { note(change) }
        }
    }

    mutating func note(_ change: MappedChange) {
        if paths[change.change.path] != nil {
            paths[change.change.path] = Latest(
                offset: change.offset, writes: change.writes.filter(\.replaces))
        }
        for write in change.writes {
            guard let target = write.target, targets[target] != nil else { continue }
            targets[target] = Latest(offset: change.offset, writes: [write])
        }
    }

    /// The writes of a change that no later one has taken the place of.
    func standing(_ change: MappedChange) -> [SinkWrite] {
        let replacing = change.writes.filter(\.replaces)
        let isPathNewer = paths[change.change.path]?.isNewer(than: change.offset, replacing) ?? false
        return change.writes.filter { write in
            guard write.replaces else { return true }
            guard !isPathNewer else { return false }
            guard let target = write.target, let latest = targets[target] else { return true }
            return !latest.isNewer(than: change.offset, [write])
        }
    }
}

extension LaterWrites.Latest {
    fileprivate func isNewer(than offset: Int64, _ writes: [SinkWrite]) -> Bool {
        self.offset > offset && self.writes != writes
    }
}
