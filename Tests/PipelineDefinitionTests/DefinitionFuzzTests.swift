import PipelineDefinition
import Testing

/// Whatever text a definition holds, reading it ends in a result that has either a definition or an error.
@Suite struct DefinitionFuzzTests {
    private static let pieces = [
        ":", ": ", "{", "}", "[", "]", "\"", "'", "- ", "\n", "\n  ", "${", "${A", "}", "$${", "&a ", "*a",
        "? ", "|\n",
        ">\n", "!!int ", "#", ",", "\t", "\u{0}", "é", "\u{2028}", "<<: *a", "---\n", "...\n", "%", "@", "~",
        "\r\n",
    ]

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func mutatedDefinitionsNeverCrash(seed: UInt64) {
        print("DefinitionFuzzTests seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        var read = 0
        for _ in 0..<250 {
            let text = DefinitionFuzzTests.mutated(&generator)
            let result = parse(text, environment: ["A": "b"])
            #expect((result.definition == nil) == !result.errors.isEmpty, "\(text)")
            let lines = result.diagnostics.filter { $0.line < 1 || $0.column < 1 }
            #expect(lines.isEmpty, "\(lines)")
            if result.definition != nil { read += 1 }
        }
        #expect(read > 0)
    }

    private static func mutated(_ generator: inout SeededGenerator) -> String {
        var scalars = Array(DefinitionTests.full.unicodeScalars)
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            let place = Int.random(in: 0..<scalars.count, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0:
                scalars.removeSubrange(
                    place..<min(scalars.count, place + Int.random(in: 1...9, using: &generator)))
            case 1:
                let length = Int.random(in: 1...40, using: &generator)
                scalars.insert(contentsOf: scalars[place..<min(scalars.count, place + length)], at: place)
            default:
                let piece = pieces.randomElement(using: &generator) ?? ""
                scalars.insert(contentsOf: piece.unicodeScalars, at: place)
            }
        }
        return String(String.UnicodeScalarView(scalars))
    }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
