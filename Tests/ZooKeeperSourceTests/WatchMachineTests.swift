import ChangeModel
import Engine
import Testing
import ZooKeeperClient

@testable import ZooKeeperSource

/// The capture without servers: a tree of the test's own answers the machine's requests.
@Suite struct WatchMachineTests {
    @Test func theFirstWalkReadsEverything() throws {
        var tree = FakeTree(["/t", "/t/a", "/t/b", "/t/b/c", "/other"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        #expect(
            bench.lines() == ["begin", "r /t true", "r /t/a true", "r /t/b true", "r /t/b/c last", "end"])
        #expect(bench.machine.known.nodes.count == 4)
        #expect(bench.machine.position.settled == bench.machine.position.seen)
    }

    @Test func readsAreBundledWhereTheServerKnowsIt() throws {
        for isOld in [false, true] {
            var tree = FakeTree(["/t"] + (0..<100).map { "/t/\($0)" })
            tree.isOld = isOld
            var bench = Bench()
            try bench.connectAndSettle(&tree)
            #expect(bench.lines().count == 103)
            let events = (0..<100).map { tree.set("/t/\($0)") }
            for event in events { bench.notify(event) }
            let requests = bench.machine.takeRequests()
            #expect(requests.count == (isOld ? 100 : 4))
            #expect(bench.machine.requestsUnderWay == 100)
            // The answers of a bundle are older than a deletion seen since, like any other.
            bench.notify(tree.delete("/t/7"))
            try bench.answer(requests, &tree)
            try bench.settle(&tree)
            let lines = bench.lines()
            #expect(lines.count == 100 && lines.contains("d /t/7 false") && !lines.contains("u /t/7 false"))
            #expect(bench.machine.requestsUnderWay == 0)
        }
    }

    @Test func eventsBecomeChanges() throws {
        var tree = FakeTree(["/t"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        bench.notify(tree.create("/t/a"))
        try bench.settle(&tree)
        bench.notify(tree.set("/t/a"))
        try bench.settle(&tree)
        bench.notify(tree.delete("/t/a"))
        try bench.settle(&tree)
        #expect(bench.lines() == ["c /t/a false", "u /t/a false", "d /t/a false"])
    }

    @Test func whatWasThereBeforeIsTold() throws {
        var tree = FakeTree(["/t", "/t/a"])
        var bench = Bench()
        bench.machine = WatchMachine(
            WatchMachine.Options(scope: CaptureScope(paths: ["/t"], excluded: [])),
            recovered: RecoveredCapture(known: KnownState(keepsData: true), position: .start))
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        for event in [tree.set("/t/a"), tree.set("/t/a")] { bench.notify(event) }
        try bench.settle(&tree)
        bench.notify(tree.delete("/t/a"))
        try bench.settle(&tree)
        let befores = bench.drain().compactMap { entry in
            if case .change(let change) = entry { change.before } else { nil }
        }
        // The value in between was never read.
        #expect(befores == [[0], [2]])
    }

    @Test func missedValuesAreCounted() throws {
        var tree = FakeTree(["/t"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        let events = [tree.create("/t/a"), tree.set("/t/a"), tree.set("/t/a"), tree.set("/t/a")]
        for event in events { bench.notify(event) }
        try bench.settle(&tree)
        // The one read shows version 3; three values lie before it.
        #expect(bench.machine.counters.missedValues == 3)
    }

    @Test func aNodeCreatedAndDeletedBeforeItsReadLeavesNothing() throws {
        var tree = FakeTree(["/t"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        bench.notify(tree.create("/t/a"))
        let reads = bench.machine.takeRequests()
        bench.notify(tree.delete("/t/a"))
        try bench.answer(reads, &tree)
        try bench.settle(&tree)
        #expect(bench.lines() == [])
    }

    @Test func anAnswerOlderThanADeletionIsThrownAway() throws {
        var tree = FakeTree(["/t", "/t/a"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        bench.notify(tree.set("/t/a"))
        let requests = bench.machine.takeRequests()
        let old = requests.map { ($0.tag, tree.reply(to: $0.request)) }
        bench.notify(tree.delete("/t/a"))
        for (tag, reply) in old { try bench.machine.replied(tag: tag, zxid: tree.zxid, reply) }
        try bench.settle(&tree)
        #expect(bench.lines() == ["d /t/a false"])
        #expect(bench.machine.known.nodes["/t/a"] == nil)
    }

    @Test func aResyncFindsWhatHappenedMeanwhile() throws {
        var tree = FakeTree(["/t", "/t/gone", "/t/gone/child", "/t/changed", "/t/again", "/t/same"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        for path in ["/t/gone/child", "/t/gone", "/t/again"] { _ = tree.delete(path) }
        _ = tree.set("/t/changed")
        let recreated = tree.create("/t/again").zxid
        _ = tree.create("/t/new")
        try bench.connectAndSettle(&tree)
        let entries = bench.entries
        #expect(
            Set(bench.lines()) == [
                "begin", "c /t/new true", "d /t/again true", "c /t/again true", "u /t/changed true",
                "d /t/gone/child true", "d /t/gone last", "end",
            ])
        let changes = entries.compactMap { if case .change(let change) = $0 { change } else { nil } }
        let again = changes.filter { $0.path == "/t/again" }
        #expect(again.map(\.operation) == [.delete, .create])
        #expect(again.first?.zxid == Zxid(recreated - 1))
    }

    @Test func aWalkThatLosesItsConnectionConcludesNothing() throws {
        var tree = FakeTree(["/t", "/t/a", "/t/b"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        bench.machine.connected()
        for request in bench.machine.takeRequests() {
            try bench.machine.replied(
                tag: request.tag, zxid: -1, .failure(ZooKeeperError(.connectionLoss, message: "cut")))
        }
        #expect(bench.machine.isWalking)
        #expect(bench.machine.known.nodes.count == 3)
        try bench.connectAndSettle(&tree)
        #expect(bench.lines() == ["begin", "begin", "end"])
    }

    @Test func nothingBelowAForbiddenNodeIsTakenAsDeleted() throws {
        var tree = FakeTree(["/t", "/t/secret", "/t/secret/x", "/t/open"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        tree.forbidden = ["/t/secret"]
        try bench.connectAndSettle(&tree)
        #expect(bench.lines() == ["begin", "end"])
        #expect(bench.machine.hiddenPaths == 1)
        #expect(bench.machine.known.nodes.count == 4)
        tree.forbidden = []
        _ = tree.delete("/t/secret/x")
        bench.machine.probeHidden()
        try bench.settle(&tree)
        #expect(bench.lines() == ["begin", "d /t/secret/x last", "end"])
    }

    @Test func aNodeDeletedWhileItWasHiddenIsTold() throws {
        var tree = FakeTree(["/t", "/t/secret", "/t/open"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        tree.forbidden = ["/t/secret"]
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        tree.forbidden = []
        _ = tree.delete("/t/secret")
        bench.machine.probeHidden()
        try bench.settle(&tree)
        #expect(bench.lines() == ["begin", "d /t/secret last", "end"])
    }

    @Test func aWatchThatABusyServerThrottlesIsAskedForAgain() throws {
        var tree = FakeTree(["/t", "/t/a"])
        var bench = Bench()
        bench.machine.connected()
        for request in bench.machine.takeRequests() {
            guard case .addWatch = request.request else { continue }
            try bench.machine.replied(
                tag: request.tag, zxid: -1, .failure(ZooKeeperError(.throttled, message: "busy")))
        }
        let again = bench.machine.takeRequests()
        #expect(again.contains { if case .addWatch = $0.request { true } else { false } })
        try bench.answer(again, &tree)
        try bench.settle(&tree)
        #expect(bench.machine.known.nodes.count == 2 && !bench.machine.isWalking)
    }

    @Test func aSinkThatIsOwedEveryNodeGetsItAlone() throws {
        var tree = FakeTree(["/t", "/t/a"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        _ = tree.set("/t/a")
        bench.machine.repeatSnapshot(for: ["late"])
        try bench.settle(&tree)
        let changes = bench.drain().compactMap { entry -> Change? in
            if case .change(let change) = entry { change } else { nil }
        }
        #expect(changes.map(\.path).sorted() == ["/t", "/t/a"])
        // What the walk finds changed is told to all, and need not be told again.
        #expect(changes.first { $0.path == "/t" }?.onlyFor == "late")
        #expect(changes.first { $0.path == "/t/a" }?.onlyFor == nil)
        #expect(bench.machine.takeRepeats().complete == ["late"])
        #expect(bench.machine.takeRepeats().complete == [])
    }

    @Test func aSecondRequestDuringTheWalkIsAnsweredByAnother() throws {
        var tree = FakeTree(["/t"] + (0..<2000).map { "/t/\($0)" })
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        bench.machine.repeatSnapshot(for: ["late"])
        for _ in 0..<4 { try bench.answer(bench.machine.takeRequests(), &tree) }
        #expect(bench.machine.isWalking)
        bench.machine.repeatSnapshot(for: ["late"])
        try bench.settle(&tree)
        #expect(bench.lines().filter { $0.hasPrefix("r") }.count == 2 * 2001)
        #expect(bench.machine.takeRepeats().complete == ["late", "late"])
    }

    @Test func aHiddenNodeIsOwedUntilItCanBeRead() throws {
        var tree = FakeTree(["/t", "/t/a", "/t/b"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        _ = bench.lines()
        tree.forbidden = ["/t/a"]
        bench.machine.repeatSnapshot(for: ["late"])
        try bench.settle(&tree)
        #expect(bench.lines() == ["begin", "r /t true", "r /t/b last", "end"])
        let repeats = bench.machine.takeRepeats()
        #expect(repeats.complete == [] && repeats.postponed == ["late"])
        tree.forbidden = []
        bench.machine.probeHidden()
        try bench.settle(&tree)
        #expect(bench.lines() == ["begin", "r /t/a last", "end"])
        #expect(bench.machine.takeRepeats().complete == ["late"])
    }

    @Test func aRepeatedSnapshotSurvivesTheConnection() throws {
        var tree = FakeTree(["/t", "/t/a"])
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        bench.machine.repeatSnapshot(for: ["late"])
        _ = bench.machine.takeRequests()
        try bench.connectAndSettle(&tree)
        #expect(bench.lines().filter { $0.hasPrefix("r") }.count == 2 + 2)
        #expect(bench.machine.takeRepeats().complete == ["late"])
    }

    @Test func anotherEnsembleIsCompared() throws {
        var old = FakeTree(["/t", "/t/a", "/t/b", "/x", "/y", "/z"])
        for _ in 0..<5 { _ = old.set("/t/a") }
        var bench = Bench()
        try bench.connectAndSettle(&old)
        var restored = FakeTree(["/t", "/t/a", "/t/c"])
        var later = Bench()
        later.machine = WatchMachine(
            WatchMachine.Options(scope: CaptureScope(paths: ["/t"], excluded: [])),
            recovered: RecoveredCapture(known: bench.machine.known, position: .start))
        try later.connectAndSettle(&restored)
        let lines = Set(later.lines())
        // /t/a has a lower mzxid than what was known of it.
        #expect(lines.isSuperset(of: ["begin", "u /t/a true", "c /t/c true", "d /t/b last", "end"]))
    }

    @Test func whatLeavesTheScopeIsForgottenOrDeleted() throws {
        for deletes in [false, true] {
            var tree = FakeTree(["/t", "/t/a", "/t/b"])
            var bench = Bench()
            try bench.connectAndSettle(&tree)
            var edited = Bench()
            edited.machine = WatchMachine(
                WatchMachine.Options(
                    scope: CaptureScope(paths: ["/t/a"], excluded: []), deletesWhatLeftTheScope: deletes),
                recovered: RecoveredCapture(known: bench.machine.known, position: .start))
            try edited.connectAndSettle(&tree)
            #expect(
                edited.lines()
                    == (deletes ? ["begin", "d /t/b true", "d /t last", "end"] : ["begin", "end"]))
            #expect(Array(edited.machine.known.nodes.keys) == ["/t/a"])
        }
    }

    @Test func everyHiddenPathIsProbedInTurn() throws {
        var tree = FakeTree(["/t"] + (0..<250).map { "/t/\($0)" })
        tree.forbidden = Set((0..<250).map { "/t/\($0)" })
        var bench = Bench()
        try bench.connectAndSettle(&tree)
        #expect(bench.machine.hiddenPaths == 250)
        var probed: Set<String> = []
        for _ in 0..<3 {
            bench.machine.probeHidden()
            let requests = bench.machine.takeRequests()
            for case .getData(let path) in requests.map(\.request) { probed.insert(path) }
            try bench.answer(requests, &tree)
        }
        #expect(probed.count == 250)
    }

    @Test func aRandomHistoryEndsEqual() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Numbers(seed)
        var tree = FakeTree(["/t"])
        var bench = Bench()
        bench.machine.connected()
        var mirror: [String: Int32] = [:]
        var inFlight: [(tag: UInt64, zxid: Int64, reply: Result<ZooKeeperResponse, ZooKeeperError>)] = []
        for _ in 0..<20_000 {
            switch random.next(10) {
            case 0..<4:
                let path = "/t/n\(random.next(20))"
                let event =
                    !tree.exists(path)
                    ? tree.create(path) : random.next(3) == 0 ? tree.delete(path) : tree.set(path)
                // In the order of the wire: answers given before the change arrive before its event.
                for answer in inFlight {
                    try bench.machine.replied(tag: answer.tag, zxid: answer.zxid, answer.reply)
                }
                inFlight = []
                bench.notify(event)
            case 4..<9:
                for request in bench.machine.takeRequests() {
                    inFlight.append((request.tag, tree.zxid, tree.reply(to: request.request)))
                }
            default:
                if random.next(20) == 0 {
                    for answer in inFlight {
                        try bench.machine.replied(
                            tag: answer.tag, zxid: -1,
                            .failure(ZooKeeperError(.connectionLoss, message: "cut")))
                    }
                    inFlight = []
                    bench.machine.connected()
                } else {
                    for answer in inFlight {
                        try bench.machine.replied(tag: answer.tag, zxid: answer.zxid, answer.reply)
                    }
                    inFlight = []
                }
            }
        }
        for answer in inFlight { try bench.machine.replied(tag: answer.tag, zxid: answer.zxid, answer.reply) }
        try bench.settle(&tree)
        var lastZxid: [String: Zxid] = [:]
        for case .change(let change) in bench.drain() {
            #expect(change.zxid >= lastZxid[change.path] ?? .none, "\(change.path)")
            lastZxid[change.path] = change.zxid
            switch change.operation {
            case .delete:
                #expect(mirror[change.path] != nil, "a delete of what was not there: \(change.path)")
                mirror[change.path] = nil
            case .create:
                #expect(mirror[change.path] == nil, "created twice: \(change.path)")
                mirror[change.path] = change.version
            case .update, .read:
                mirror[change.path] = change.version
            }
        }
        #expect(mirror == tree.versions)
    }
}

struct Numbers {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }
}
