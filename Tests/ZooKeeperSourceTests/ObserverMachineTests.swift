import ChangeModel
import Engine
import SystemPackage
import Testing
import ZooKeeperClient

@testable import ZooKeeperSource

/// Observer capture without servers.
@Suite struct ObserverMachineTests {
    @Test func aSnapshotIsReadAndTransactionsFollow() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/", 0), ("/t", 5), ("/t/a", 6), ("/other", 7)])
        #expect(bench.lines() == ["begin initial", "r /t@5 true", "r /t/a@6 last", "end"])
        #expect(
            bench.machine.position
                == CapturePosition(
                    seen: Zxid(10), settled: Zxid(10), mode: .observer,
                    order: CommitOrder(zxid: Zxid(10), index: 1)))
        try bench.commit(11, create("/t/b"))
        try bench.commit(12, set("/t/b", 1))
        try bench.commit(13, .delete(path: "/t/b", byEnsemble: false))
        try bench.commit(14, set("/other", 1))
        try bench.commit(15, .error(-101))
        #expect(bench.lines() == ["c /t/b@11 false", "u /t/b@12 false", "d /t/b@13 false"])
        #expect(bench.machine.start == 15)
        #expect(bench.machine.known.nodes.keys.sorted() == ["/t", "/t/a"])
    }

    @Test func aMultiIsDoneWholeOrNotAtAll() throws {
        var bench = ObserverBench()
        try bench.snapshot(1, [("/t", 1)])
        _ = bench.lines()
        try bench.commit(
            2,
            .multi([
                .check(path: "/t", version: 0), create("/t/a"), set("/t/a", 1), create("/x"),
            ]))
        #expect(bench.changes().map { "\($0.operation.letter) \($0.index)" } == ["c 1", "u 2"])
        try bench.commit(3, .multi([create("/t/b"), .error(-110)]))
        #expect(bench.changes().isEmpty)
        #expect(bench.machine.start == 3)
    }

    @Test(arguments: [true, false])
    func theEndOfASessionDeletesItsNodes(isLogged: Bool) throws {
        var bench = ObserverBench()
        try bench.snapshot(1, [("/t", 1)])
        for (zxid, name) in [(2, "b"), (3, "a"), (4, "c")] as [(Int64, String)] {
            try bench.commit(
                zxid,
                .create(path: "/t/\(name)", data: [], acl: [], kind: .ephemeral, parentCVersion: nil),
                session: name == "c" ? 8 : 7)
        }
        _ = bench.lines()
        try bench.commit(5, .closeSession(paths: isLogged ? ["/t/b", "/t/a"] : nil), session: 7)
        let changes = bench.changes()
        #expect(changes.map(\.path) == ["/t/a", "/t/b"])
        #expect(changes.map(\.index) == [0, 1])
        #expect(changes.allSatisfy { $0.operation == .delete && $0.session == 7 && $0.zxid == Zxid(5) })
        #expect(bench.machine.known.nodes.keys.sorted() == ["/t", "/t/c"])
    }

    /// The leader goes on writing while it sends the tree.
    @Test func whatASnapshotHasAlreadyIsNotToldAgain() throws {
        var bench = ObserverBench()
        // Announced at 10; /t/a was set at 12 and /t/b made anew at 13 before they were sent, /t/c is gone since 14.
        try bench.snapshot(10, [("/t", 1), ("/t/a", 12), ("/t/b", 13)])
        _ = bench.lines()
        try bench.commit(11, set("/t/a", 1))
        try bench.commit(12, set("/t/a", 2))
        try bench.commit(13, .delete(path: "/t/b", byEnsemble: false))
        try bench.commit(14, .delete(path: "/t/c", byEnsemble: false))
        #expect(bench.lines().isEmpty)
        try bench.commit(15, set("/t/a", 3))
        #expect(bench.lines() == ["u /t/a@15 false"])
    }

    @Test func aSnapshotAfterAResumeTellsDifferencesAndTheGap() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1), ("/t/a", 2), ("/t/b", 3), ("/t/b/c", 4), ("/t/d", 5)])
        _ = bench.lines()
        bench.restart()
        #expect(bench.machine.start == 10)
        let gap = try bench.snapshot(30, [("/t", 1), ("/t/a", 20), ("/t/e", 21), ("/t/d", 5)])
        #expect(gap == CaptureGap(after: Zxid(10), upTo: Zxid(30)))
        #expect(
            bench.lines() == [
                "gap 10 30", "begin resync", "d /t/a@19 true", "c /t/a@20 true", "c /t/e@21 true",
                "d /t/b/c@30 true", "d /t/b@30 last", "end",
            ])
        #expect(bench.machine.start == 30 && bench.machine.resyncs == 1)
    }

    /// A kill in the middle of a comparison, and a log that a repair has taken records out of.
    @Test func theGapIsToldFromTheLastTransactionInTheLog() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1), ("/t/a", 2)])
        let before = (known: bench.machine.known, position: bench.machine.position)
        bench.restart()
        _ = bench.machine.beginSnapshot(20)
        #expect(bench.machine.position.settled == Zxid(10))
        var open = before.known
        open.openScope = open.scope
        bench.restart(known: open, position: bench.machine.position)
        #expect(bench.machine.start == 0 && !bench.machine.isContinuous)
        #expect(try bench.snapshot(30, [("/t", 1)]) == CaptureGap(after: Zxid(10), upTo: Zxid(30)))
        bench.restart(known: before.known, position: before.position, isComplete: false)
        #expect(bench.machine.start == 0)
    }

    @Test func transactionsAreToldOnce() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1)])
        _ = bench.lines()
        for _ in 0..<2 {
            try bench.commit(11, create("/t/a"))
            try bench.commit(12, .delete(path: "/t/a", byEnsemble: false))
        }
        #expect(bench.lines() == ["c /t/a@11 false", "d /t/a@12 false"])
    }

    /// The leader does the parts of a multi one by one, and may have sent a node between two of them.
    @Test func aSnapshotMayHaveAPartOfAMulti() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1), ("/t/a", 11), ("/t/b", 11), ("/t/c", 11)])
        _ = bench.lines()
        try bench.commit(
            11,
            .multi([
                create("/t/a"), set("/t/a", 1), create("/t/b"), .delete(path: "/t/b", byEnsemble: false),
                .delete(path: "/t/c", byEnsemble: false), create("/t/c"),
            ]))
        #expect(bench.lines() == ["u /t/a@11 false", "d /t/b@11 false"])
    }

    @Test func anOlderEnsembleIsRefused() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1)])
        bench.restart()
        #expect(bench.machine.isBehind(9) && !bench.machine.isBehind(10))
        bench.restart { $0.isNewEnsemble = true }
        #expect(!bench.machine.isBehind(9))
        #expect(bench.machine.start == 0)
        try bench.snapshot(9, [("/t", 2)])
        #expect(bench.lines() == ["begin resync", "d /t@1 true", "c /t@2 last", "end"])
    }

    /// A change of the mode or of the scope begins with a comparison, and so does a snapshot that was not finished.
    @Test func whatCannotBeBuiltUponIsCompared() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1), ("/u", 2)])
        let known = bench.machine.known
        func start(
            _ mode: CaptureMode, paths: [String] = ["/t"], _ adjust: (inout KnownState) -> Void = { _ in }
        ) -> Int64 {
            var state = known
            adjust(&state)
            let recovered = RecoveredCapture(
                known: state, position: CapturePosition(seen: Zxid(10), settled: Zxid(10), mode: mode))
            let options = ObserverMachine.Options(scope: CaptureScope(paths: paths, excluded: []))
            return ObserverMachine(options, recovered: recovered).start
        }
        #expect(start(.observer) == 10)
        #expect(start(.watch) == 0)
        #expect(start(.observer, paths: ["/t", "/u"]) == 0)
        #expect(start(.observer) { $0.openScope = $0.scope } == 0)
    }

    @Test func sinksThatLackNodesGetThemFromASnapshot() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1), ("/t/a", 2)])
        _ = bench.lines()
        bench.machine.repeatSnapshot(for: ["late"])
        #expect(bench.machine.owesSnapshot)
        // The leader has no transactions any more: this one serves them, too.
        let gap = try bench.snapshot(20, [("/t", 1), ("/t/a", 12)])
        // What was made in between is only its outcome.
        #expect(gap == CaptureGap(after: Zxid(10), upTo: Zxid(20)))
        let changes = bench.changes()
        #expect(
            changes.map { "\($0.operation.letter) \($0.path) \($0.onlyFor ?? "all")" } == [
                "r /t late", "d /t/a all", "c /t/a all",
            ])
        #expect(bench.machine.takeRepeats() == ["late"])
        #expect(!bench.machine.owesSnapshot)
    }

    @Test func aSnapshotBesideTheTransactionsTellsWhatIsKnown() throws {
        var bench = ObserverBench()
        try bench.snapshot(10, [("/t", 1), ("/t/a", 2), ("/t/b", 3), ("/t/c", 4)])
        try bench.commit(11, create("/t/d"))
        try bench.commit(12, .delete(path: "/t/c", byEnsemble: false))
        _ = bench.lines()
        bench.machine.repeatSnapshot(for: ["late"])
        #expect(bench.machine.owesSnapshot && bench.machine.start == 12)
        bench.machine.beginAside()
        // It is ahead by /t/b and /t/e, and was begun before /t/d was made and /t/c deleted.
        for (path, zxid) in [
            ("/", 0), ("/t", 1), ("/t/a", 2), ("/t/b", 13), ("/t/c", 4), ("/t/e", 14), ("/u", 5),
        ] {
            bench.machine.nodeAside(snapshotNode(path, Int64(zxid)))
        }
        #expect(bench.machine.takeRepeats().isEmpty)
        bench.machine.abandonAside()
        #expect(bench.machine.owesSnapshot && bench.machine.takeRepeats().isEmpty)
        bench.machine.beginAside()
        bench.machine.endAside()
        #expect(bench.machine.takeRepeats() == ["late"])
        #expect(!bench.machine.owesSnapshot && bench.machine.settled == Zxid(12))
        let changes = bench.changes()
        #expect(
            changes.map { "\($0.operation.letter) \($0.path) \($0.onlyFor ?? "all") \($0.snapshot)" } == [
                "r /t late snapshot", "r /t/a late snapshot",
            ])
    }

    @Test func pathsAreThoseBelowTheChroot() throws {
        var bench = ObserverBench { $0.chroot = "/app" }
        try bench.snapshot(1, [("/app", 1), ("/app/t", 1), ("/application/t", 1), ("/t", 1)])
        #expect(bench.lines() == ["begin initial", "r /t@1 last", "end"])
        try bench.commit(2, create("/app/t/x"))
        try bench.commit(3, create("/t/y"))
        #expect(bench.lines() == ["c /t/x@2 false"])
    }

    /// Whatever tells them, the places ascend; and a transaction's are its own.
    @Test func everyChangeHasItsPlaceInTheOrder() throws {
        var bench = ObserverBench { $0.mode = .always }
        func orders() -> [String] {
            bench.changes().map { "\($0.path) \($0.order.map { "\($0.zxid.value)-\($0.index)" } ?? "none")" }
        }
        try bench.snapshot(10, [("/t", 9), ("/t/a", 4)])
        #expect(orders() == ["/t 10-0", "/t/a 10-1"])
        try bench.commit(11, .multi([.check(path: "/t", version: 0), create("/t/b"), create("/t/c")]))
        #expect(orders() == ["/t/b 11-1", "/t/c 11-2"])
        // Out of scope: nothing is told of it.
        try bench.commit(12, set("/other", 1))
        bench.machine.repeatSnapshot(for: ["late"])
        bench.machine.beginAside()
        bench.machine.nodeAside(snapshotNode("/t", 9))
        #expect(orders() == ["/t 12-0"])
        bench.machine.nodeAside(snapshotNode("/t/a", 4))
        bench.machine.endAside()
        #expect(orders() == ["/t/a 12-1"])
        // Nothing has been committed since: the next places lie behind those.
        bench.restart()
        try bench.snapshot(12, [("/t", 9), ("/t/a", 4)])
        #expect(orders() == ["/t 12-2", "/t/a 12-3", "/t/c 12-4", "/t/b 12-5"])
        try bench.commit(13, set("/t/a", 1))
        #expect(orders() == ["/t/a 13-0"])
        bench.restart { $0.isNewEnsemble = true }
        try bench.snapshot(2, [("/t", 1)])
        #expect(orders().last == "/t/a 2-2")
    }

    /// Its rest may come from a server that lags.
    @Test func aSnapshotThatIsBrokenOffHasBeenSeen() throws {
        var bench = ObserverBench()
        _ = bench.machine.beginSnapshot(10)
        bench.machine.node(snapshotNode("/t", 3))
        bench.machine.node(snapshotNode("/t/a", czxid: 4, mzxid: 12, []))
        bench.machine.node(snapshotNode("/t/b", 5))
        #expect(bench.machine.position.settled == .none)
        #expect(bench.machine.isBehind(11) && !bench.machine.isBehind(12))
        bench.restart()
        #expect(bench.machine.start == 0 && bench.machine.isBehind(11))
    }

    /// A transaction goes into the log as one: what a small request deletes may be large.
    @Test func whatWasThereBeforeHasABound() throws {
        var bench = ObserverBench()
        bench.restart(known: KnownState(keepsData: true), position: .start)
        _ = bench.machine.beginSnapshot(1)
        let paths = (0..<40).map { "/t/n\($0)" }
        for path in paths { bench.machine.node(snapshotNode(path, 1, Array(repeating: 7, count: 1 << 20))) }
        bench.machine.endSnapshot(1)
        _ = bench.changes()
        try bench.commit(2, .multi(paths.map { .delete(path: $0, byEnsemble: false) }))
        let changes = bench.changes()
        #expect(changes.count == 40 && changes.count { $0.before != nil } == 32)
        try bench.commit(3, create("/t/n0"))
        try bench.commit(4, set("/t/n0", 1))
        #expect(bench.changes().last?.before == [])
    }

    @Test func whatWasThereBeforeIsTold() throws {
        var bench = ObserverBench()
        bench.restart(known: KnownState(keepsData: true), position: .start)
        func befores() -> [String] {
            bench.changes().map {
                "\($0.operation.letter) \($0.before.map { "\($0)" } ?? "none") \($0.data.map { "\($0)" } ?? "none")"
            }
        }
        func set(_ data: [UInt8]) -> Transaction.Operation { .setData(path: "/t/a", data: data, version: 1) }
        #expect(bench.machine.beginSnapshot(1) == nil)
        bench.machine.node(snapshotNode("/t/a", 1, [1]))
        bench.machine.endSnapshot(1)
        #expect(befores() == ["r none [1]"])
        try bench.commit(2, set([2]))
        try bench.commit(3, .multi([set([3]), set([4])]))
        try bench.commit(4, .delete(path: "/t/a", byEnsemble: false))
        try bench.commit(5, .create(path: "/t/a", data: [5], acl: [], kind: .persistent, parentCVersion: nil))
        #expect(
            befores() == [
                "u [1] [2]", "u [2] [3]", "u [3] [4]", "d [4] none", "c none [5]",
            ])
        // A comparison tells it too.
        bench.restart { $0.mode = .always }
        _ = bench.machine.beginSnapshot(9)
        bench.machine.node(snapshotNode("/t/a", czxid: 5, mzxid: 8, [6]))
        bench.machine.endSnapshot(9)
        #expect(befores() == ["u [5] [6]"])
    }

    @Test func anUnknownTransactionEndsTheCapture() throws {
        var bench = ObserverBench()
        try bench.snapshot(1, [("/t", 1)])
        #expect(throws: PipelineError.self) { try bench.commit(2, .unknown(type: 99, body: [])) }
    }

    @Test(arguments: [10, 40_000])
    func stagedEventsComeBack(count: Int) async throws {
        var staged = StagedEvents(FilePath("/tmp"))
        try staged.begin(.snapshot(zxid: 3))
        let nodes = (0..<count).map { snapshotNode("/n\($0)", Int64($0), Array(repeating: 7, count: 200)) }
        try staged.append(nodes)
        try staged.end(3)
        let operations: [Transaction.Operation] = [
            create("/a"), set("/a", 3), .delete(path: "/a", byEnsemble: true), .error(-4),
            .closeSession(paths: nil), .closeSession(paths: ["/x", "/y"]),
            .multi([.check(path: "/", version: -1), create("/m"), .error(0)]),
            .create(path: "/ttl", data: [1], acl: [], kind: .timeToLive(500), parentCVersion: nil),
        ]
        let transactions = operations.enumerated().map {
            Transaction(session: 1, cxid: 2, zxid: Int64(4 + $0.offset), time: 5, operation: $0.element)
        }
        try staged.append(transactions)
        var found: (zxids: [Int64], nodes: [SnapshotNode], transactions: [Transaction]) = ([], [], [])
        for _ in 0..<2 {
            found = ([], [], [])
            try await staged.drain { event in
                switch event {
                case .snapshot(let zxid), .snapshotEnd(let zxid): found.zxids.append(zxid)
                case .node(let node): found.nodes.append(node)
                case .transaction(let transaction): found.transactions.append(transaction)
                }
            }
        }
        #expect(found.zxids == [3, 3])
        #expect(found.nodes == nodes)
        #expect(found.transactions == transactions)
        staged.clear()
        try await staged.drain { _ in Issue.record("nothing is there") }
    }
}

private func create(_ path: String) -> Transaction.Operation {
    .create(path: path, data: [], acl: [], kind: .persistent, parentCVersion: nil)
}

private func set(_ path: String, _ version: Int32) -> Transaction.Operation {
    .setData(path: path, data: [], version: version)
}

private func snapshotNode(_ path: String, _ zxid: Int64, _ data: [UInt8] = []) -> SnapshotNode {
    snapshotNode(path, czxid: zxid, mzxid: zxid, data)
}

private func snapshotNode(_ path: String, czxid: Int64, mzxid: Int64, _ data: [UInt8]) -> SnapshotNode {
    SnapshotNode(
        path: path, data: data, acl: nil,
        stat: Stat(
            czxid: czxid, mzxid: mzxid, ctime: 1, mtime: 1, version: 0, cversion: 0, aversion: 0,
            ephemeralOwner: 0, dataLength: 0, numChildren: 0, pzxid: czxid))
}

/// A machine and what it hands out.
private struct ObserverBench {
    var machine: ObserverMachine
    private var options = ObserverMachine.Options(scope: CaptureScope(paths: ["/t"], excluded: []))

    init(_ adjust: (inout ObserverMachine.Options) -> Void = { _ in }) {
        adjust(&options)
        machine = ObserverMachine(options, recovered: RecoveredCapture(known: KnownState(), position: .start))
    }

    /// As a process that begins with what the log says.
    mutating func restart(_ adjust: (inout ObserverMachine.Options) -> Void = { _ in }) {
        adjust(&options)
        machine = ObserverMachine(
            options, recovered: RecoveredCapture(known: machine.known, position: machine.position))
    }

    mutating func restart(known: KnownState, position: CapturePosition, isComplete: Bool = true) {
        var recovered = RecoveredCapture(known: known, position: position)
        recovered.isComplete = isComplete
        machine = ObserverMachine(options, recovered: recovered)
    }

    @discardableResult
    mutating func snapshot(_ zxid: Int64, _ nodes: [(path: String, zxid: Int64)]) throws -> CaptureGap? {
        let gap = machine.beginSnapshot(zxid)
        for node in nodes { machine.node(snapshotNode(node.path, node.zxid)) }
        machine.endSnapshot(zxid)
        return gap
    }

    mutating func commit(_ zxid: Int64, _ operation: Transaction.Operation, session: Int64 = 1) throws {
        try machine.transaction(
            Transaction(session: session, cxid: 1, zxid: zxid, time: 1, operation: operation))
    }

    mutating func changes() -> [Change] {
        machine.takeEntries().compactMap { if case .change(let change) = $0 { change } else { nil } }
    }

    mutating func lines() -> [String] {
        machine.takeEntries().map { entry in
            switch entry {
            case .change(let change):
                "\(change.operation.letter) \(change.path)@\(change.zxid.value) \(change.snapshot.text)"
            case .snapshotBegin(let begin): "begin \(begin.reason)"
            case .snapshotEnd: "end"
            case .gap(let gap): "gap \(gap.after.value) \(gap.upTo.value)"
            }
        }
    }
}
