import Foundation
import Testing

@testable import Mapping
@testable import Zstd

/// Frames of the `zstd` program, and some made by hand.
@Suite struct ZstdTests {
    /// `printf hello | zstd`: no size in its header, a checksum.
    private static let hello: Bytes = [
        0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x29, 0, 0, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0xa3, 0x6d, 0x9f, 0x88,
    ]
    /// Text with repetitions, of 137 bytes, from a file.
    private static let text = Bytes(
        Data(
            base64Encoded:
                "KLUv/SSJxQEAtAJ0aGUgcXVpY2sgYnJvd24gZm94IGp1bXBzIG92ZXJsYXp5IGRvZzEyMzQ1AwDuDG5Vi7xyMgG/jSO6"
        ) ?? Data())
    private static let skippable: Bytes = [0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9]

    /// A frame without size and checksum, of blocks that each repeat one byte.
    private static func frame(window: UInt8 = 0x38, blocks: [(byte: UInt8, count: Int)]) -> Bytes {
        var frame: Bytes = [0x28, 0xb5, 0x2f, 0xfd, 0, window]
        for (index, block) in blocks.enumerated() {
            let header = (block.count << 3) | 1 << 1 | (index == blocks.count - 1 ? 1 : 0)
            frame += [0, 8, 16].map { UInt8(truncatingIfNeeded: header >> $0) } + [block.byte]
        }
        return frame
    }

    private func fails(_ data: Bytes, _ reason: String, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(throws: MappingFault.undecodable("zstd: \(reason)"), sourceLocation: sourceLocation) {
            try Compression.zstd.decompressed(data)
        }
    }

    @Test func framesAreRead() throws {
        let (hello, skippable) = (ZstdTests.hello, ZstdTests.skippable)
        let text = try #require(
            String(validating: try Compression.zstd.decompressed(ZstdTests.text), as: UTF8.self))
        #expect(text.hasPrefix("the quick brown fox the quick brown fox "))
        #expect(text.hasSuffix("12345"))
        #expect(text.utf8.count == 137)
        #expect(try Compression.zstd.decompressed(hello) == Bytes("hello".utf8))
        #expect(try Compression.zstd.decompressed(hello + skippable + hello) == Bytes("hellohello".utf8))
        #expect(try Compression.zstd.decompressed(skippable + hello) == Bytes("hello".utf8))
        #expect(try Compression.zstd.decompressed(skippable) == [])
    }

    @Test func autoKnowsThem() throws {
        #expect(try Compression.auto.decompressed(ZstdTests.hello) == Bytes("hello".utf8))
        #expect(throws: MappingFault.undecodable("zstd: the frame ends early")) {
            try Compression.auto.decompressed(Bytes(ZstdTests.hello.dropLast()))
        }
        let isNone: Bytes = [0x28, 0xb5, 0x2f, 0xfe]
        for data in [isNone, Bytes(isNone.prefix(3))] {
            #expect(try Compression.auto.decompressed(data) == data)
        }
    }

    /// More than is made room for at once.
    @Test func largeContentIsWhole() throws {
        let blocks = (0..<200).map { (byte: UInt8($0), count: 1500 + $0) }
        let content = blocks.flatMap { Bytes(repeating: $0.byte, count: $0.count) }
        #expect(try Compression.zstd.decompressed(ZstdTests.frame(blocks: blocks)) == content)
    }

    @Test func otherAndTruncatedDataIsARecordError() {
        let hello = ZstdTests.hello
        for length in 1..<hello.count {
            let isHeader = length >= 4
            fails(
                Bytes(hello.prefix(length)),
                isHeader ? "the frame ends early" : "the data does not begin like a zstd frame")
        }
        fails(hello + [1], "there are bytes behind the frame")
        fails(hello + hello.prefix(3), "there are bytes behind the frame")
        fails(hello + hello.prefix(7), "the frame ends early")
        fails(Bytes(ZstdTests.skippable.dropLast()), "the frame ends early")
        // A frame of zstd 0.7, which the library may know.
        fails([0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0], "the data does not begin like a zstd frame")
    }

    /// Where the content comes out all the same, only what is not read of the header was touched.
    @Test func eachTurnedBitIsARecordError() throws {
        for frame in [ZstdTests.hello, ZstdTests.text] {
            let content = try Compression.zstd.decompressed(frame)
            for bit in 0..<frame.count * 8 {
                var damaged = frame
                damaged[bit / 8] ^= 1 << (bit % 8)
                let result = Result { try Compression.zstd.decompressed(damaged) }
                switch result {
                case .success(let other):
                    #expect(other == content, "bit \(bit)")
                case .failure(let error):
                    guard case .undecodable(let reason)? = error as? MappingFault else {
                        Issue.record("bit \(bit): \(error)")
                        continue
                    }
                    #expect(reason.hasPrefix("zstd: "))
                }
            }
        }
        var wrong = ZstdTests.hello
        wrong[10] ^= 1
        fails(wrong, "Restored data doesn't match checksum")
    }

    @Test func aBombIsARecordError() throws {
        let block = (byte: UInt8(0), count: 128 << 10)
        let most = Array(repeating: block, count: Compression.maximumBytes / block.count)
        let tooMuch = "more than 16777216 bytes when decompressed"
        #expect(
            try Compression.zstd.decompressed(ZstdTests.frame(blocks: most)).count == Compression.maximumBytes
        )
        fails(ZstdTests.frame(blocks: most + [(0, 1)]), tooMuch)
        fails(ZstdTests.frame(blocks: most) + ZstdTests.hello, tooMuch)
        // Nothing is read of a frame that says so, whether it lies or not.
        let size = Compression.maximumBytes + 1
        let header: Bytes = [0x28, 0xb5, 0x2f, 0xfd, 0xa0] + (0..<4).map { UInt8(size >> ($0 * 8) & 255) }
        fails(header, tooMuch)
        fails([0x28, 0xb5, 0x2f, 0xfd, 0xe0] + Bytes(repeating: 0xfe, count: 8), tooMuch)
        // The same text, its size in the header.
        let sized: Bytes = [
            0x28, 0xb5, 0x2f, 0xfd, 0x24, 5, 0x29, 0, 0, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0xa3, 0x6d, 0x9f, 0x88,
        ]
        #expect(try Zstd.decompress(sized + sized, atMost: 10).count == 10)
        for limit in [0, 4, 9] {
            #expect(throws: ZstdError(description: "more than \(limit) bytes when decompressed")) {
                try Zstd.decompress(sized + sized, atMost: limit)
            }
        }
    }

    /// The window is memory that a header of six bytes asks for.
    @Test func aLargeWindowIsRefused() throws {
        let blocks = [(byte: UInt8(7), count: 3)]
        #expect(
            try Compression.zstd.decompressed(ZstdTests.frame(window: 0x70, blocks: blocks)) == [7, 7, 7])
        for window: UInt8 in [0x71, 0x78, 0xff] {
            fails(
                ZstdTests.frame(window: window, blocks: blocks),
                "the frame asks for a window of more than 16777216 bytes "
                    + "(compress with level 19 or less and without --long)")
        }
    }

    @Test func aDictionaryIsMissing() {
        // The header names dictionary 1.
        fails([0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x38, 0x01, 0x1b, 0, 0, 7], "Dictionary mismatch")
    }
}
