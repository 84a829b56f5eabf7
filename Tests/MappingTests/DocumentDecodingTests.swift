import LZ4
import Testing

@testable import Gzip
@testable import Mapping

/// YAML, properties, URLs, and what is compressed.
@Suite struct DocumentDecodingTests {
    private func decode(_ decoding: Decoding, _ text: String) throws -> String {
        String(decoding: try decoding.value(of: Bytes(text.utf8)).textBytes, as: UTF8.self)
    }

    @Test(arguments: [
        ("a: 1\nb: [x, 2.50, true, ~, 'true', \"7\"]\n", #"{"a":1,"b":["x",2.5,true,null,"true","7"]}"#),
        ("on: no\n", #"{"on":"no"}"#), ("# only a remark\n", ""), ("plain *text* here", "plain *text* here"),
        ("{a: {b: {c: ö}}}", #"{"a":{"b":{"c":"ö"}}}"#), ("--- |\n  x\n  y\n", "x\ny\n"),
        ("1: a\ntrue: b\n", #"{"1":"a","true":"b"}"#),
        ("select: \"*\"\nglob: 'a/*b'", #"{"glob":"a/*b","select":"*"}"#),
    ])
    func yaml(text: String, expected: String) throws {
        #expect(try decode(.yaml, text) == expected)
    }

    @Test(arguments: [
        "a: [", "a: 1\na: 2", "? [x]\n: y", "--- a\n--- b\n", "a: &x 1\nb: *x", "&a [*a]", "a: *nothing",
        "\u{0}",
    ])
    func yamlThatIsRefused(text: String) {
        #expect(throws: MappingFault.self) { try Decoding.yaml.value(of: Bytes(text.utf8)) }
    }

    /// Each level stands for ten of the one before: written out it would be larger than all memory.
    @Test func anAliasBombIsARecordError() {
        var bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        for level in 1..<30 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ",")
            bomb += "a\(level): &a\(level) [\(aliases)]\n"
        }
        for text in [bomb, bomb + "? *a29\n: x\n", "? {? {? *a : b} : c} : d"] {
            #expect(throws: MappingFault.self) { try Decoding.yaml.value(of: Bytes(text.utf8)) }
        }
    }

    @Test(arguments: [600, 5000, 100_000])
    func deepYAMLIsAnErrorAndNoCrash(depth: Int) {
        let flow = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        let block = String(repeating: "- ", count: depth) + "x"
        for text in [flow, block] {
            #expect(throws: MappingFault.self) { try Decoding.yaml.value(of: Bytes(text.utf8)) }
        }
    }

    @Test(arguments: [
        ("a=1\nb: two words \n c d\n", #"{"a":"1","b":"two words ","c":"d"}"#),
        ("# x\n! y\n\ndb.url = jdbc:x=1\n", #"{"db.url":"jdbc:x=1"}"#),
        (#"path = c:\\x"# + "\nlong = a\\\n    b\n", #"{"long":"ab","path":"c:\\x"}"#),
        (#"a\ b\=c = \u00e9\ud83d\ude00\t"#, #"{"a b=c":"é😀\t"}"#),
        ("empty\nalso=\r\nx=1", #"{"also":"","empty":"","x":"1"}"#),
    ])
    func properties(text: String, expected: String) throws {
        #expect(try decode(.properties, text) == expected)
    }

    @Test func propertiesThatAreRefused() {
        for data in [Bytes(#"a=\u12"#.utf8), Bytes(#"a=\ud800"#.utf8), [0x61, 0x3d, 0xff]] {
            #expect(throws: MappingFault.self) { try Decoding.properties.value(of: data) }
        }
    }

    @Test func namesWithDotsAreFound() throws {
        let value = try Decoding.properties.value(of: Bytes("db.url=x\ndb.pool.size=9\n".utf8))
        #expect(value.member(at: ["db", "url"]) == .text("x"))
        #expect(value.member(at: ["db", "pool", "size"]) == .text("9"))
        #expect(value.member(at: ["db"]) == nil)
    }

    @Test(arguments: [
        (
            "dubbo://10.0.0.1:20880/com.foo.Bar?side=provider&version=1.0%2B&empty=",
            #"{"host":"10.0.0.1","path":"/com.foo.Bar","port":20880,"query":{"empty":"","side":"provider","version":"1.0+"},"scheme":"dubbo"}"#
        ),
        ("http://u:p%40@h", #"{"host":"h","password":"p@","path":"","query":{},"scheme":"http","user":"u"}"#),
    ])
    func urls(text: String, expected: String) throws {
        #expect(try decode(.url, text) == expected)
    }

    // MARK: Compression

    private static let gzipped: Bytes = [
        0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0, 0x86, 0xa6, 0x10,
        0x36,
        0x05, 0, 0, 0,
    ]

    @Test func compressedDataIsFound() throws {
        let hello = Bytes("hello".utf8)
        var frame: Bytes = []
        try LZ4Frame().compress(hello, appendingTo: &frame)
        let gzip = DocumentDecodingTests.gzipped
        #expect(try Compression.gzip.decompressed(gzip) == hello)
        #expect(try Compression.gzip.decompressed(gzip + gzip) == hello + hello)
        #expect(try Compression.lz4.decompressed(frame) == hello)
        for data in [gzip, frame, hello] { #expect(try Compression.auto.decompressed(data) == hello) }
        #expect(try Compression.none.decompressed(gzip) == gzip)
        // zlib, stored: 78 01 and one block.
        let zlib: Bytes = [0x78, 0x01, 0x01, 0x01, 0x00, 0xfe, 0xff, 0x61, 0x00, 0x62, 0x00, 0x62]
        #expect(try Compression.auto.decompressed(zlib) == Bytes("a".utf8))
        for text in ["x", "x^2", ""] {
            #expect(try Compression.auto.decompressed(Bytes(text.utf8)) == Bytes(text.utf8))
        }
        for compression in Compression.allCases { #expect(try compression.decompressed([]) == []) }
    }

    @Test func damagedDataIsARecordError() throws {
        let gzip = DocumentDecodingTests.gzipped
        var frame: Bytes = []
        try LZ4Frame().compress(Bytes(repeating: 7, count: 1000), appendingTo: &frame)
        for length in 1..<gzip.count {
            #expect(throws: MappingFault.self) {
                try Compression.gzip.decompressed(Bytes(gzip.prefix(length)))
            }
        }
        for length in 1..<frame.count {
            #expect(throws: MappingFault.self) {
                try Compression.lz4.decompressed(Bytes(frame.prefix(length)))
            }
        }
        #expect(throws: MappingFault.self) { try Compression.gzip.decompressed(gzip + [1]) }
        #expect(throws: MappingFault.self) { try Compression.lz4.decompressed(frame + [1]) }
    }

    @Test func aBombIsARecordError() throws {
        var frame: Bytes = []
        try LZ4Frame().compress(Bytes(repeating: 0, count: Compression.maximumBytes + 1), appendingTo: &frame)
        #expect(throws: MappingFault.undecodable("lz4: more than 16777216 bytes when decompressed")) {
            try Compression.auto.decompressed(frame)
        }
        let gzip = DocumentDecodingTests.gzipped
        #expect(try Gzip.decompress(gzip + gzip, atMost: 10).count == 10)
        for limit in [0, 4, 9] {
            #expect(throws: GzipError(description: "more than \(limit) bytes when decompressed")) {
                try Gzip.decompress(gzip + gzip, atMost: limit)
            }
        }
    }

    /// More than is made room for at once.
    @Test func largeContentIsWhole() throws {
        let content = Bytes((0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 1000) })
        var frame: Bytes = []
        try LZ4Frame().compress(content, appendingTo: &frame)
        #expect(frame.count * 4 < content.count)
        #expect(try Compression.lz4.decompressed(frame) == content)
    }
}
