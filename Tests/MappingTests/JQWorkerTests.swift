import Glibc
import TestRandom
import Testing

@testable import JQ
@testable import Mapping

/// The process in which jq runs, as its parent has to do with it.
@Suite struct JQWorkerTests {
    private func program(
        _ text: String, _ workers: JQWorkers, milliseconds: Int = 10_000
    ) throws -> JQProgram {
        var limits = JQProgram.Limits()
        limits.milliseconds = milliseconds
        return try JQProgram(text, limits: limits, workers: workers)
    }

    @Test func oneWorkerServesAllProgramsOfAThread() throws {
        let workers = JQWorkers()
        let first = try program(". + 1", workers)
        let second = try program(". * 2", workers)
        for number in 1...3 as ClosedRange<Int64> {
            #expect(try first.outputs(of: .integer(number)) == [.integer(number + 1)])
            #expect(try second.outputs(of: .integer(number)) == [.integer(number * 2)])
        }
        #expect(workers.idle.count == 1)
        #expect(workers.idle.first?.programs == [first.number, second.number])
    }

    @Test func theChangeThatCrashesItFailsAndTheNextOneFindsAnother() throws {
        let workers = JQWorkers()
        let dates = try program("todate", workers)
        for _ in 0..<2 {
            #expect(try dates.outputs(of: .integer(0)) == [.text("1970-01-01T00:00:00Z")])
            #expect(throws: MappingFault.jq("jq has crashed (signal 6, Aborted)")) {
                try dates.outputs(of: .integer(1_700_000_000_000_000_000))
            }
        }
        #expect(workers.idle.isEmpty)
    }

    @Test func itsMemoryIsBounded() throws {
        let workers = JQWorkers()
        let reason = MappingFault.jq("jq needs more than 1024 MiB of memory")
        #expect(throws: reason) { try program(".[500000000] = 1", workers).outputs(of: .null) }
        #expect(throws: reason) {
            try program("[range(1e9) as $n | . + \"y\"]", workers).outputs(
                of: .text(String(repeating: "x", count: 1_000_000)))
        }
        #expect(try program("[range(3e6)] | length", workers).outputs(of: .null) == [.integer(3_000_000)])
    }

    @Test func oneThatWasKilledWhileIdleIsNotMissed() throws {
        let workers = JQWorkers()
        let program = try program(".", workers)
        let identifier = try #require(workers.idle.first?.identifier)
        kill(identifier, SIGKILL)
        #expect(try program.outputs(of: .text("a")) == [.text("a")])
        #expect(workers.idle.count == 1 && workers.idle.first?.identifier != identifier)
        // It was reaped, too.
        #expect(kill(identifier, 0) == -1)
    }

    @Test func oneThatIsKilledAtWorkFailsNoOtherChange() async throws {
        let workers = JQWorkers()
        let program = try program("if . then until(false; .) else 1 end", workers, milliseconds: 1000)
        let identifier = try #require(workers.idle.first?.identifier)
        async let running = Result { try program.outputs(of: .boolean(true)) }
        while !workers.idle.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        kill(identifier, SIGKILL)
        let result = await running
        #expect(throws: MappingFault.self) { try result.get() }
        #expect(try program.outputs(of: .boolean(false)) == [.integer(1)])
    }

    @Test func itHasNothingOfItsParentAndOutlivesItsSignals() throws {
        let inherited = open("/dev/null", O_RDONLY)
        defer { close(inherited) }
        let workers = JQWorkers()
        let program = try program(".", workers)
        let identifier = try #require(workers.idle.first?.identifier)
        let descriptors = try #require(opendir("/proc/\(identifier)/fd"))
        defer { closedir(descriptors) }
        var names: Set<String> = []
        while let entry = readdir(descriptors) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.insert(name) }
        }
        #expect(names == ["0", "1", "2"])
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { kill(identifier, signal) }
        #expect(try program.outputs(of: .integer(1)) == [.integer(1)])
        #expect(workers.idle.first?.identifier == identifier)
    }

    @Test func programsThatAreGoneAreForgotten() throws {
        let workers = JQWorkers()
        for number in 0..<10 {
            let program = try program("\(number)", workers)
            #expect(try program.outputs(of: .null) == [.integer(Int64(number))])
            #expect((workers.idle.first?.programs.count ?? 0) <= 2)
        }
        #expect(workers.idle.count == 1)
    }

    @Test func oneThatCannotBeStartedIsNamed() {
        let missing = #expect(throws: JQError.self) {
            try program(".", JQWorkers(executable: "/nowhere/millrace"))
        }
        #expect(missing?.code == .unavailable)
        #expect(missing?.message.contains("/nowhere/millrace: No such file or directory") == true)
        let other = #expect(throws: JQError.self) { try program(".", JQWorkers(executable: "/bin/true")) }
        #expect(other?.message == "jq's worker has ended with exit code 0")
    }

    @Test func whatIsLargeComesBackWhole() throws {
        let text = Value.text(String(repeating: "né\u{1F600}\0", count: 50_000))
        let workers = JQWorkers()
        let program = try program(".", workers)
        #expect(try program.outputs(of: .array([text, .null, text])) == [.array([text, .null, text])])
        var nested = Value.null
        for _ in 0..<500 { nested = .array([.object(ObjectValue([.init(name: "", value: .null)])), nested]) }
        #expect(try program.outputs(of: nested) == [nested])
    }

    /// What a worker that jq has damaged may send.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func answersThatMakeNoSenseAreErrors(seed: UInt64) throws {
        print("JQWorkerTests seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        var whole = JQEncoder(header: 0)
        whole.appendObject(count: 2)
        whole.append(name: "list")
        whole.appendArray(count: 3)
        whole.append(1.5)
        whole.append("text")
        whole.append(true)
        whole.append(name: "")
        whole.appendNull()
        #expect(JQWorkerTests.values(whole.bytes) == 6)
        for _ in 0..<20_000 {
            var bytes = whole.bytes
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: bytes.indices, using: &generator)
                bytes[index] = UInt8.random(in: 0...255, using: &generator)
            }
            bytes.removeLast(Int.random(in: 0...4, using: &generator))
            _ = JQWorkerTests.values(bytes)
        }
        var claims = JQEncoder(header: 0)
        claims.appendArray(count: 30)
        claims.bytes.append(contentsOf: repeatElement(0, count: 30))
        #expect(JQWorkerTests.values(claims.bytes) == 31)
        #expect(JQWorkerTests.values(claims.bytes, budget: 30) == nil)
        let deep = (0..<20).reduce(into: JQEncoder(header: 0)) { encoder, _ in encoder.appendArray(count: 1) }
        #expect(JQWorkerTests.values(deep.bytes + [0], depth: 20) == 21)
        #expect(JQWorkerTests.values(deep.bytes + [0], depth: 19) == nil)
    }

    /// How many values there are; `nil` where they make no sense.
    private static func values(_ bytes: [UInt8], budget: Int = 1000, depth: Int = 512) -> Int? {
        var decoder = JQDecoder(bytes, from: 0, values: budget, depth: depth)
        func skip() throws(JQError) -> Int {
            var count = 1
            switch try decoder.next() {
            case .array(let items):
                for _ in 0..<items { count += try skip() }
            case .object(let members):
                for _ in 0..<members {
                    _ = try decoder.name()
                    count += try skip()
                }
            default: break
            }
            return count
        }
        do {
            var count = 0
            while !decoder.isAtEnd { count += try skip() }
            return count
        } catch {
            return nil
        }
    }
}
