import ChangeModel
import Mapping
import TestRandom
import Testing

/// Whatever bytes a znode holds, mapping ends in a result. Seeds are printed; a failing one is added here.
@Suite struct MappingFuzzTests {
    private static let texts = [
        #"{"name":"orders","address":{"host":"h","port":8080},"list":[1,2.5,null,true],"n":-1e10}"#,
        #"[[[[{"a":"\u00e9\ud83d\ude00"}]]]]"#, "9223372036854775808", "\"text\"", "", "null", "{}", "0.1",
    ]

    @Test(arguments: [1, 2, 3] as [UInt64])
    func mutatedDataNeverCrashes(seed: UInt64) throws {
        print("MappingFuzzTests seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        let fields = [
            try field("a", "{value.address.host}"),
            try field("b", from: "value.n", type: .integer, default: "0"),
            try field("c", from: "value.list.1", type: .number),
            try field("d", from: "value", type: .boolean),
        ]
        let mappers = try Decoding.allCases.flatMap { decoding in
            try [nil, fields, Array(fields.prefix(2))].map { set in
                mapper(
                    [try rule("/{x}", decode: decoding, set: set)], try sink(.hash),
                    try sink(.string, value: "{value}"),
                    try sink(.sortedSet, member: "{x}", score: "{value}"),
                    try sink(.stream(StreamOptions()), key: "s"))
            }
        }
        var written = 0
        for _ in 0..<400 {
            let data = MappingFuzzTests.mutated(&generator)
            let change = Change(operation: .update, path: "/n", data: data, zxid: Zxid(1), timestamp: 0)
            for mapper in mappers {
                for sink in 0..<4 {
                    if case .writes(let writes) = mapper.map(change, offset: 0, sink: sink) {
                        written += writes.count
                    }
                }
            }
        }
        #expect(written > 0)
    }

    private static func mutated(_ generator: inout SeededGenerator) -> Bytes {
        var data = Bytes((texts.randomElement(using: &generator) ?? "").utf8)
        for _ in 0..<Int.random(in: 0...4, using: &generator) {
            let place = Int.random(in: 0...data.count, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: data.insert(UInt8.random(in: 0...255, using: &generator), at: place)
            case 1 where place < data.count: data[place] = UInt8.random(in: 0...255, using: &generator)
            case 2 where place < data.count: data.remove(at: place)
            default:
                let pieces = ["[", "{", "\"", ":", "e999", "-", "\\u", "00000000000000000000", ",", "}", "]"]
                data.insert(contentsOf: (pieces.randomElement(using: &generator) ?? "").utf8, at: place)
            }
        }
        return data
    }
}
