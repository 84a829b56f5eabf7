import Testing

@testable import ChangeModel

@Suite struct ChangeCodecTests {
    static let full = Change(
        operation: .update, path: "/a/ü", data: [1, 2, 255], zxid: Zxid(0x1_0000_0002), index: 3,
        timestamp: 1000,
        captured: 1001,
        stat: NodeStat(
            czxid: Zxid(1), mzxid: Zxid(0x1_0000_0002), pzxid: Zxid(1), ctime: 5, mtime: 6, version: 7,
            cversion: 8,
            aversion: 9, ephemeralOwner: 10, numChildren: 11),
        session: -12, snapshot: .last, onlyFor: "sink", before: [3],
        placed: CommitOrder(zxid: Zxid(258), index: 5))

    /// The layout on disk: a change of these bytes is a change of the format.
    @Test func goldenBytes() {
        var bytes: [UInt8] = []
        ChangeCodec.encode(
            Change(operation: .create, path: "/a", data: [0x78], zxid: Zxid(258), timestamp: 2, captured: 3),
            into: &bytes)
        #expect(
            bytes == [
                1, 1, 0, 1,
                2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
                2, 0, 0, 0, 0x2f, 0x61,
                1, 0, 0, 0, 0x78,
            ])
    }

    /// What stands behind a record of the first programs.
    @Test func goldenBytesOfBeforeAndPlaced() {
        var bytes: [UInt8] = []
        let change = Change(
            operation: .update, path: "/", data: nil, zxid: Zxid(258), timestamp: 2, captured: 3,
            before: [0x79],
            placed: CommitOrder(zxid: Zxid(259), index: 4))
        ChangeCodec.encode(change, into: &bytes)
        #expect(
            bytes == [
                1, 2, 0, 48,
                2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
                1, 0, 0, 0, 0x2f,
                1, 0, 0, 0, 0x79,
                3, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0,
            ])
    }

    @Test func theOrderIsThatOfTransactions() {
        var change = Change(
            operation: .create, path: "/a", data: [], zxid: Zxid(7), index: 2, timestamp: 1, session: 5)
        #expect(change.order == CommitOrder(zxid: Zxid(7), index: 2))
        change.session = nil
        #expect(change.order == nil)
        change.placed = CommitOrder(zxid: Zxid(6), index: 1)
        #expect(change.order == CommitOrder(zxid: Zxid(6), index: 1))
        let start = CommitOrder.start.next(notBefore: Zxid(9))
        #expect(start == CommitOrder(zxid: Zxid(9), index: 0))
        #expect(start.next(notBefore: Zxid(9)) == CommitOrder(zxid: Zxid(9), index: 1))
        #expect(start.next(notBefore: Zxid(8)) == CommitOrder(zxid: Zxid(9), index: 1))
    }

    @Test func roundTrips() throws {
        let bare = Change(operation: .delete, path: "/", data: nil, zxid: .none, timestamp: -1)
        let empty = Change(operation: .read, path: "/x", data: [], zxid: Zxid(.max), timestamp: .max)
        for change in [ChangeCodecTests.full, bare, empty] {
            var bytes: [UInt8] = [9, 9]
            ChangeCodec.encode(change, into: &bytes)
            #expect(try ChangeCodec.decode(bytes[2...]) == change)
        }
    }

    @Test func everyCutIsAnError() {
        var bytes: [UInt8] = []
        ChangeCodec.encode(ChangeCodecTests.full, into: &bytes)
        for length in 0..<bytes.count {
            #expect(throws: ChangeCodecError.self) { try ChangeCodec.decode(bytes[..<length]) }
        }
        #expect(throws: ChangeCodecError.self) { try ChangeCodec.decode((bytes + [0])[...]) }
    }

    @Test func anyBytesAreReadOrRefused() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var state = seed
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var bytes: [UInt8] = []
        ChangeCodec.encode(ChangeCodecTests.full, into: &bytes)
        for _ in 0..<20_000 {
            var mutated = bytes
            for _ in 0...random(4) { mutated[random(mutated.count)] = UInt8(random(256)) }
            _ = try? ChangeCodec.decode(mutated.prefix(1 + random(mutated.count)))
        }
    }

    @Test func captureRecords() throws {
        let scope = CaptureScope(paths: ["/a", "/b"], excluded: [try PathPattern("/a/**/lock-*")])
        var bytes: [UInt8] = []
        SnapshotBegin(reason: .resync, scope: scope).encode(into: &bytes)
        #expect(try SnapshotBegin(decoding: bytes[...]) == SnapshotBegin(reason: .resync, scope: scope))
        for length in 0..<bytes.count {
            #expect(throws: ChangeCodecError.self) { try SnapshotBegin(decoding: bytes[..<length]) }
        }
        let position = CapturePosition(seen: Zxid(5), settled: Zxid(4))
        #expect(position.bytes.count == 18)
        #expect(try CapturePosition(decoding: position.bytes) == position)
        #expect(throws: ChangeCodecError.self) { try CapturePosition(decoding: []) }
        let observed = CapturePosition(
            seen: Zxid(5), settled: Zxid(4), mode: .observer, order: CommitOrder(zxid: Zxid(3), index: 2))
        #expect(observed.bytes.count == 34)
        #expect(try CapturePosition(decoding: observed.bytes) == observed)
        // As the first programs wrote it: behind every part of the last transaction.
        #expect(
            try CapturePosition(decoding: Array(observed.bytes.prefix(18))).order
                == CommitOrder(zxid: Zxid(4), index: Int64(Int32.max)))
        #expect(throws: ChangeCodecError.self) {
            try CapturePosition(decoding: Array(observed.bytes.prefix(30)))
        }
    }

    @Test func scopes() throws {
        let scope = CaptureScope(
            paths: ["/a", "/b/c"], excluded: [try PathPattern("/a/tmp"), try PathPattern("/a/**/lock-*")])
        #expect(scope.contains("/a") && scope.contains("/a/x") && scope.contains("/b/c"))
        #expect(!scope.contains("/b") && !scope.contains("/ab") && !scope.contains("/b/cd"))
        #expect(!scope.contains("/a/tmp") && !scope.contains("/a/tmp/deep"))
        #expect(!scope.contains("/a/x/lock-1") && !scope.contains("/a/x/lock-1/y"))
        #expect(CaptureScope(paths: ["/"], excluded: []).contains("/"))
    }
}
