import Testing

@testable import LZ4

@Suite struct LZ4FrameTests {
    private static func content(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) }
    }

    private func decompress(_ frame: [UInt8], count: Int) throws -> [UInt8] {
        let codec = try LZ4Frame()
        let result = frame.withUnsafeBytes { bytes in
            Result { () throws(LZ4Error) in try codec.decompress(bytes, count: count) }
        }
        return try result.get()
    }

    @Test(arguments: [0, 1, 100, 65_536, 1_000_000]) func roundTrips(count: Int) throws {
        let codec = try LZ4Frame()
        let content = LZ4FrameTests.content(count)
        var frame: [UInt8] = [7]
        try codec.compress(content, appendingTo: &frame)
        #expect(frame[0] == 7)
        #expect(try decompress(Array(frame.dropFirst()), count: count) == content)
        #expect(count < 1000 || frame.count < count / 5)
    }

    @Test func aFrameOfAnotherLengthIsRefused() throws {
        let codec = try LZ4Frame()
        var frame: [UInt8] = []
        try codec.compress(LZ4FrameTests.content(100), appendingTo: &frame)
        for wrong in [0, 99, 101] {
            #expect(throws: LZ4Error.self) { try decompress(frame, count: wrong) }
        }
        for length in 0..<frame.count {
            #expect(throws: LZ4Error.self) { try decompress(Array(frame.prefix(length)), count: 100) }
        }
        #expect(throws: LZ4Error.self) { try decompress(frame + [0], count: 100) }
    }

    @Test func noFlippedBitGivesOtherBytes() throws {
        let codec = try LZ4Frame()
        let content = LZ4FrameTests.content(300)
        var frame: [UInt8] = []
        try codec.compress(content, appendingTo: &frame)
        for bit in 0..<frame.count * 8 {
            var damaged = frame
            damaged[bit / 8] ^= 1 << (bit % 8)
            let read = try? decompress(damaged, count: content.count)
            #expect(read == nil || read == content)
        }
    }

    @Test func aCodecGoesOnAfterAnError() throws {
        let codec = try LZ4Frame()
        var frame: [UInt8] = []
        try codec.compress([1, 2, 3], appendingTo: &frame)
        let good = frame
        let bad = Array(good.dropLast(6))
        let failed = bad.withUnsafeBytes { bytes in
            Result { () throws(LZ4Error) in try codec.decompress(bytes, count: 3) }
        }
        #expect(throws: LZ4Error.self) { try failed.get() }
        let read = good.withUnsafeBytes { bytes in
            Result { () throws(LZ4Error) in try codec.decompress(bytes, count: 3) }
        }
        #expect(try read.get() == [1, 2, 3])
    }

    /// Memory follows the bytes that are there, not the length that something says.
    @Test func aContentThatNoFrameOfThisSizeHoldsIsRefusedFirst() throws {
        let codec = try LZ4Frame()
        var frame: [UInt8] = []
        try codec.compress([1, 2, 3], appendingTo: &frame)
        let error = #expect(throws: LZ4Error.self) {
            try frame.withUnsafeBytes { try codec.decompress($0, count: 200 << 20) }
        }
        #expect(error?.description.contains("cannot hold") == true)
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        var small: [UInt8] = []
        try codec.compress(zeros, appendingTo: &small)
        #expect(try small.withUnsafeBytes { try codec.decompress($0, count: zeros.count) } == zeros)
    }
}
