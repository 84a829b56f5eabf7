public import ChangeModel
public import Mapping
import SegmentLog

/// One sink that holds state.
public struct VerifyTarget: Sendable {
    var specification: SinkSpecification
    var reader: any SinkReader
    var mayLackNodes: Bool
    var isCompared: Bool

    /// - Parameters:
    ///   - mayLackNodes: nodes may have been there before anything was delivered of them.
    ///   - isCompared: `false` for a sink of which only is asked what it writes, for that is not extra elsewhere.
    public init(
        _ specification: SinkSpecification, reader: any SinkReader, mayLackNodes: Bool,
        isCompared: Bool = true
    ) {
        self.specification = specification
        self.reader = reader
        self.mayLackNodes = mayLackNodes
        self.isCompared = isCompared
    }
}

/// How to compare.
public struct VerifyOptions: Sendable {
    public var scope: CaptureScope
    /// Differences that are kept for the report; all are counted.
    public var limit = 1000
    /// Whether what differs is written anew. The pipeline has to be stopped.
    public var repairs = false
    /// Told of how many nodes have been read.
    public var onProgress: (@Sendable (Int) -> Void)?

    public init(scope: CaptureScope) {
        self.scope = scope
    }
}

/// Compares a tree, through the transforms, with what the sinks hold.
///
/// The tree is read once, in portions, for all sinks. Of all that is expected 16 bytes are kept, so that what is there
/// besides can be told. What differs is looked at again at the end, node and key: the pipeline may run meanwhile.
/// A key that several nodes write is right if it holds what one of them writes: the tree does not say which was last.
public actor Verification {
    private let executor = BlockingExecutor(label: "millrace.verify")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let setup: PipelineSetup
    let options: VerifyOptions
    let tree: any TreeReader
    var targets: [Target] = []
    var report = VerifyReport()
    /// To be looked at again.
    private var pending: [Candidate] = []
    /// Nobody delivers: what differs now will not be mended by waiting.
    var isQuiet = false
    /// In a repair.
    var log: PipelineLog?

    /// Candidates that wait for their second look.
    private static let maximumPending = 20_000
    /// Nodes and items that are looked at again at once.
    static let chunk = 200
    /// Looks at a node that changes at each of them.
    private static let rounds = 4

    /// A sink as far as it has been compared.
    struct Target {
        let setup: SinkSetup
        let expecter: Expecter
        let reader: any SinkReader
        /// `nil` where data decides what is written.
        let pattern: ItemPattern?
        /// Whether the sink remembers what it has written for each path.
        let remembers: Bool
        let isCompared: Bool
        /// What live nodes write, and whether it holds what one of them writes.
        var expected: [Fingerprint: Bool] = [:]
        /// Of fields, members and items the keys.
        var keys: Set<Fingerprint> = []
        var reported: [Fingerprint: Difference.Kind] = [:]
    }

    /// Something that may differ.
    struct Candidate {
        var target: Int
        var item: SinkItem
        /// The nodes that it may come from: of several that the key can be read as at most one is there.
        var paths: [String]
        /// The sink remembers to have written it.
        var isRemembered = false
        /// The nodes as they were at the last look.
        var stamps: [Stamp]?
    }

    /// Which state of a node was seen.
    enum Stamp: Hashable {
        case absent, hidden
        case live(created: Zxid, modified: Zxid)

        init(_ reading: NodeReading) {
            switch reading {
            case .absent: self = .absent
            case .hidden: self = .hidden
            case .live(let node): self = .live(created: node.stat.czxid, modified: node.stat.mzxid)
            }
        }
    }

    /// A difference that has stood two looks.
    struct Finding {
        var candidate: Candidate
        var kind: Difference.Kind
        /// Its node, or the first that it may have come from.
        var path: String
        /// For the report, as long as it has room.
        var texts: (expected: String?, found: String?)
    }

    /// `targets` are all sinks of the setup that hold state.
    public init(
        _ setup: PipelineSetup, transform: TransformSpecification, targets: [VerifyTarget],
        tree: any TreeReader,
        options: VerifyOptions
    ) {
        self.setup = setup
        self.options = options
        self.tree = tree
        for target in targets {
            let sink = target.specification
            guard let index = setup.sinks.firstIndex(where: { $0.name == sink.name }),
                let kind = SinkItem.Kind(sink)
            else { continue }
            let expecter = Expecter(
                mapper: setup.mapper, sink: index, kind: kind,
                dependsOnOperation: sink.dependsOnOperation(transform),
                dependsOnOffset: sink.dependsOnOffset(transform), mayLackNodes: target.mayLackNodes)
            self.targets.append(
                Target(
                    setup: setup.sinks[index], expecter: expecter, reader: target.reader,
                    pattern: ItemPattern(sink, transform), remembers: sink.remembersAddresses(transform),
                    isCompared: target.isCompared))
            report.sinks.append(VerifyReport.Sink(name: sink.name))
        }
    }

    /// Throws `PipelineError`: `.unavailable` where a server is missing or, in a repair, the pipeline runs.
    public func run() async throws -> VerifyReport {
        do {
            if options.repairs { try await takeOver() }
            isQuiet = options.repairs || isStopped
            try await walk()
            report.hidden = await tree.hiddenPaths
            for index in targets.indices where targets[index].isCompared { try await findExtras(index) }
            try await lookAgain()
            try await noteLag()
        } catch {
            await release()
            throw error
        }
        await release()
        report.sinks = report.sinks.indices.filter { targets[$0].isCompared }.map { report.sinks[$0] }
        return report
    }

    /// Whether nobody writes the log that is here.
    private var isStopped: Bool {
        (try? LogDirectory.endOffset(setup.directory)) != nil
            && LogDirectory.writerProcess(setup.directory) == nil
    }

    // MARK: What live nodes write

    private func walk() async throws {
        let tree = tree
        var nodes = try await tree.next()
        while !nodes.isEmpty {
            // The next are read meanwhile.
            async let following = tree.next()
            for index in targets.indices { try await compare(nodes, index) }
            report.nodes += nodes.count
            options.onProgress?(report.nodes)
            nodes = try await following
            if pending.count >= Verification.maximumPending { try await lookAgain() }
        }
    }

    private func compare(_ nodes: [TreeNode], _ index: Int) async throws {
        let now = wallClockMilliseconds()
        var judged: [(item: SinkItem, wanted: Wanted, node: Int)] = []
        for (number, node) in nodes.enumerated() {
            let expectation = targets[index].expecter.live(node, now: now)
            if expectation.failure != nil { report.sinks[index].unmapped += 1 }
            for (item, wanted) in expectation.items {
                // Open ones too: what may be there is not extra.
                if wanted.isOpen {
                    targets[index].expected[Fingerprint(item)] = true
                } else if wanted.shown != nil {
                    let fingerprint = Fingerprint(item)
                    if targets[index].expected[fingerprint] == nil {
                        targets[index].expected[fingerprint] = false
                    }
                }
                if !item.kind.isWhole { targets[index].keys.insert(Fingerprint(item.wholeKey)) }
                if !wanted.isOpen { judged.append((item, wanted, number)) }
            }
        }
        guard targets[index].isCompared else { return }
        let found = try await targets[index].reader.read(judged.map(\.item))
        report.sinks[index].compared += judged.count
        for (one, content) in zip(judged, found) {
            if one.wanted.takes(content, one.item.kind) {
                if one.wanted.shown != nil { isRight(one.item, index) }
            } else {
                let node = nodes[one.node]
                pending.append(
                    Candidate(
                        target: index, item: one.item, paths: [node.path], stamps: [Stamp(.live(node))]))
            }
        }
    }

    /// It holds what one of its nodes writes, whatever another one would.
    private func isRight(_ item: SinkItem, _ index: Int) {
        let fingerprint = Fingerprint(item)
        targets[index].expected[fingerprint] = true
        // Told too early: of very many candidates some are looked at before the walk is over.
        guard !options.repairs, let kind = targets[index].reported.removeValue(forKey: fingerprint) else {
            return
        }
        report.sinks[index].differences[kind, default: 1] -= 1
        report.differences.removeAll { $0.item == item && $0.sink == targets[index].setup.name }
    }

    /// For what is there and no live node writes.
    func suspect(_ candidate: Candidate) async throws {
        pending.append(candidate)
        if pending.count >= Verification.maximumPending { try await lookAgain() }
    }

    // MARK: The second look

    private func lookAgain() async throws {
        var open = pending
        pending = []
        for _ in 0..<Verification.rounds where !open.isEmpty {
            if !isQuiet { try await settle() }
            var findings: [Finding] = []
            var changed: [Candidate] = []
            for start in stride(from: 0, to: open.count, by: Verification.chunk) {
                let chunk = open[start..<min(start + Verification.chunk, open.count)]
                try await look(Array(chunk), &findings, &changed)
            }
            try await take(findings)
            open = changed
        }
        for candidate in open { report.sinks[candidate.target].changing += 1 }
    }

    private func look(
        _ candidates: [Candidate], _ findings: inout [Finding], _ changed: inout [Candidate]
    ) async throws {
        let nodes = try await readings(candidates)
        var judged: [(candidate: Candidate, wanted: Wanted, path: String)] = []
        for var candidate in candidates {
            let stamps = candidate.paths.compactMap { nodes[$0].map(Stamp.init) }
            if !isQuiet, candidate.stamps != stamps {
                candidate.stamps = stamps
                changed.append(candidate)
            } else if let (wanted, path) = wanted(candidate, nodes) {
                judged.append((candidate, wanted, path))
            }
        }
        var differing: [Finding] = []
        for index in targets.indices {
            let part = judged.filter { $0.candidate.target == index }
            let contents = try await targets[index].reader.read(part.map(\.candidate.item))
            for (one, found) in zip(part, contents) {
                let item = one.candidate.item
                if one.wanted.takes(found, item.kind) {
                    if one.wanted.shown != nil { isRight(item, index) }
                } else if let kind = Difference.Kind(one.wanted, found, isGone: isGone(one.path, nodes)) {
                    let isShown = report.differences.count + findings.count + differing.count < options.limit
                    differing.append(
                        Finding(
                            candidate: one.candidate, kind: kind, path: one.path,
                            texts: isShown
                                ? ShownContent.texts(kind == .extra ? nil : one.wanted.shown, found)
                                : (nil, nil)))
                }
            }
        }
        guard !isQuiet, !differing.isEmpty else { return findings += differing }
        // What was read of the store may be newer than what was read of the node.
        let later = try await readings(differing.map(\.candidate))
        for var finding in differing {
            let stamps = finding.candidate.paths.compactMap { later[$0].map(Stamp.init) }
            if finding.candidate.stamps == stamps {
                findings.append(finding)
            } else {
                finding.candidate.stamps = stamps
                changed.append(finding.candidate)
            }
        }
    }

    func readings(_ candidates: [Candidate]) async throws -> [String: NodeReading] {
        let paths = Array(Set(candidates.flatMap(\.paths)))
        return Dictionary(uniqueKeysWithValues: zip(paths, try await tree.read(paths)))
    }

    private func isGone(_ path: String, _ nodes: [String: NodeReading]) -> Bool { nodes[path] == .absent }

    /// What the item should hold, and the node that says so; `nil` where that cannot be told.
    func wanted(
        _ candidate: Candidate, _ nodes: [String: NodeReading]
    ) -> (wanted: Wanted, path: String)? {
        let target = targets[candidate.target]
        let isExpected = target.expected[Fingerprint(candidate.item)]
        if isExpected == true { return nil }
        var result: (wanted: Wanted, path: String)?
        for path in candidate.paths {
            switch nodes[path] {
            case .live(let node)?:
                let expectation = target.expecter.live(node, now: wallClockMilliseconds())
                if let wanted = expectation.wanted(candidate.item) {
                    if wanted.isOpen { return nil }
                    if wanted.shown != nil { return (wanted, path) }
                    result = (wanted, path)
                    continue
                }
                if expectation.isOpen || !candidate.isRemembered { return nil }
                result = (.nothing, path)
            case .absent?:
                let expectation = target.expecter.gone(path)
                if candidate.isRemembered {
                    if expectation.isOpen { return nil }
                    result = (.nothing, path)
                } else if let wanted = expectation.wanted(candidate.item), !wanted.isOpen {
                    result = result ?? (wanted, path)
                }
            case .hidden?, nil:
                return nil
            }
        }
        // Another node writes it, or another sink.
        return isExpected == nil && !isClaimed(candidate.item, besides: candidate.target) ? result : nil
    }

    /// Whether another sink of the pipeline writes it, or a part of it, or the whole that it would be a part of.
    func isClaimed(_ item: SinkItem, besides index: Int) -> Bool {
        guard targets.count > 1 else { return false }
        let (part, key) = (Fingerprint(item), Fingerprint(item.wholeKey))
        return targets.indices.contains { other in
            guard other != index else { return false }
            if targets[other].expected[part] != nil { return true }
            // What it wrote for nodes that nothing is known of is nowhere but in its templates.
            if report.hidden > 0 || report.sinks[other].unmapped > 0,
                targets[other].expecter.kind == item.kind,
                targets[other].pattern?.paths(of: item).isEmpty == false
            {
                return true
            }
            return targets[other].expecter.kind.isWhole
                ? targets[other].expected[key] != nil : item.kind.isWhole && targets[other].keys.contains(key)
        }
    }
}

extension Wanted {
    fileprivate static let nothing: Wanted = {
        var nothing = Wanted()
        nothing.accept(.absent)
        return nothing
    }()
}

extension Difference.Kind {
    /// `nil` for what is not the sink's.
    fileprivate init?(_ wanted: Wanted, _ found: ItemContent, isGone: Bool) {
        if found == .absent {
            self = .missing
        } else if wanted.shown == nil || isGone {
            if found == .otherType { return nil }
            self = .extra
        } else {
            self = .different
        }
    }
}
