import Foundation
import SystemPackage
import Testing

/// The committed corpora, and some mutations of them, through the bodies that `Scripts/fuzz` runs under libFuzzer.
@Suite(.serialized) struct CorpusTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Corpus")

    /// The inputs of a target by the names of their files.
    static func corpus(_ target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let files = try FileManager.default.contentsOfDirectory(
            at: folder.appendingPathComponent(target.rawValue), includingPropertiesForKeys: nil)
        return try files.map { (name: $0.lastPathComponent, bytes: Array(try Data(contentsOf: $0))) }
            .sorted { $0.name < $1.name }
    }

    /// Mutations of each input: as many as a second or two allow.
    private static func mutations(_ target: FuzzTarget) -> Int {
        switch target {
        case .yaml: 3
        case .segment, .index: 12
        default: 80
        }
    }

    @Test(arguments: FuzzTarget.allCases.filter { $0 != .canary })
    func theCorpusAndItsMutations(_ target: FuzzTarget) throws {
        let corpus = try CorpusTests.corpus(target)
        #expect(corpus.count >= 10)
        for failure in try CorpusTests.failures(target, corpus, mutations: CorpusTests.mutations(target)) {
            Issue.record("\(target): \(failure)")
        }
    }

    private static let temporary = FileManager.default.temporaryDirectory
    private static let prefix = "millrace-fuzz-input-"

    /// What failed, each with the input that shows it.
    static func failures(
        _ target: FuzzTarget, _ corpus: [(name: String, bytes: [UInt8])], mutations: Int
    ) throws -> [String] {
        let scratch = try ScratchDirectory()
        // A trap ends the process: what it was given is in this file then.
        let name = "\(prefix)\(target)-\(ProcessInfo.processInfo.processIdentifier)"
        let current = FilePath(temporary.appendingPathComponent(name).path)
        var failures: [String] = []
        for (number, input) in corpus.enumerated() {
            var mutator = Mutator(seed: UInt64(number))
            for mutation in 0...mutations {
                let bytes =
                    mutation == 0 ? input.bytes : mutator.spoiled(input.bytes, with: corpus.map(\.bytes))
                try write(bytes, to: current)
                do {
                    try target.run(bytes, in: scratch.path)
                } catch {
                    failures.append(
                        "\(input.name), mutation \(mutation): \(error); \(Data(bytes).base64EncodedString())")
                }
            }
        }
        try FileManager.default.removeItem(atPath: current.string)
        return failures
    }

    @Test func theCorporaAreSmall() throws {
        var total = 0
        for target in FuzzTarget.allCases where target != .canary {
            let corpus = try CorpusTests.corpus(target)
            #expect(corpus.allSatisfy { $0.bytes.count <= 4096 })
            total += corpus.reduce(0) { $0 + $1.bytes.count }
        }
        #expect(total <= 300 << 10)
    }

    // MARK: Canaries

    @Test func aFailureIsReported() throws {
        let near: [UInt8] = Array("milk".utf8)
        #expect(throws: FuzzFailure.self) { try FuzzTarget.canary.run(Array("mill".utf8), in: "/") }
        let failures = try CorpusTests.failures(.canary, [(name: "near", bytes: near)], mutations: 4_000)
        #expect(failures.first?.contains("the canary sings") == true)
    }

    @Test func aTrapLeavesItsInput() async throws {
        await #expect(processExitsWith: .failure) {
            _ = try CorpusTests.failures(.canary, [(name: "trap", bytes: Array("trap".utf8))], mutations: 0)
        }
        let left = try FileManager.default.contentsOfDirectory(
            at: CorpusTests.temporary, includingPropertiesForKeys: nil
        ).filter { $0.lastPathComponent.hasPrefix(CorpusTests.prefix + "canary") }
        #expect(try left.contains { try Data(contentsOf: $0) == Data("trap".utf8) })
        for file in left { try FileManager.default.removeItem(at: file) }
    }
}
