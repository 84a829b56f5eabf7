import NIOCore
import Testing

@testable import ZooKeeperClient

/// Whatever a server sends, the client neither traps nor allocates beyond what was sent.
struct FuzzTests {
    private static let rounds = 5_000

    /// Frames that are almost right: golden replies with bytes changed, cut and put in.
    @Test func mutatedFrames() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("FuzzTests.mutatedFrames: seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let header = "00000001 0000000000000006 00000000"
        let seeds =
            WireTests.replies.map { hex(header + $0.1) } + [
                hex(MachineTests.acceptance),
                hex("ffffffff ffffffffffffffff 00000000 00000001 00000003 00000002 2f61"),
            ]
        let requests: [ZooKeeperRequest] = [
            .getData("/a"), .exists("/a"), .getChildren("/a"), .create(path: "/a", data: []), .getACL("/a"),
            .sync("/"), .multi([.create(path: "/a", data: []), .delete(path: "/a")]),
            .multiRead([.getData("/a"), .getData("/b")]),
        ]
        for _ in 0..<FuzzTests.rounds {
            var frame = seeds.randomElement(using: &random) ?? []
            FuzzTests.mutate(&frame, &random)
            var machine =
                Bool.random(using: &random) ? MachineTests.attached(chroot: "/c") : MachineTests.machine()
            if machine.isAttached, let request = requests.randomElement(using: &random) {
                var buffer = ByteBuffer()
                try machine.submit(request, token: "", into: &buffer, now: .uptimeNanoseconds(0))
            } else {
                _ = machine.start()
            }
            _ = machine.receive(ByteBuffer(bytes: frame), now: .uptimeNanoseconds(0))
            _ = machine.takeInFlight()
        }
    }

    /// A stream of noise in random pieces, through the splitter.
    @Test func noise() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("FuzzTests.noise: seed \(seed)")
        var random = SeededGenerator(seed: seed)
        for _ in 0..<FuzzTests.rounds / 10 {
            var splitter = FrameSplitter(maximumBytes: 64)
            var machine = MachineTests.attached()
            for _ in 0..<20 {
                let count = Int.random(in: 0...40, using: &random)
                // Small numbers, so that lengths make sense now and then.
                var piece = ByteBuffer(
                    bytes: (0..<count).map { _ in
                        Int.random(in: 0...3, using: &random) > 0
                            ? 0 : UInt8.random(in: 0...255, using: &random)
                    })
                splitter.append(&piece)
                do throws(FrameSplitter.Problem) {
                    while let frame = try splitter.next() {
                        _ = machine.receive(frame, now: .uptimeNanoseconds(0))
                    }
                } catch {
                    _ = machine.frameProblem(error, limit: 64)
                    break
                }
            }
        }
    }

    private static func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        let interesting: [UInt8] = [0, 1, 0x7f, 0x80, 0xff]
        for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0...4, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[index] = interesting.randomElement(using: &random) ?? 0
            case 2: bytes.removeSubrange(index...)
            case 3: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
            default: bytes.remove(at: index)
            }
        }
    }
}
