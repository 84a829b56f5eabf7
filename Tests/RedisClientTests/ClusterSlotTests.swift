import Testing

@testable import RedisClient

@Suite struct ClusterSlotTests {
    /// The check value of CRC16/XMODEM and the examples of the cluster specification and of CLUSTER KEYSLOT.
    @Test(arguments: [
        ("123456789", 12_739), ("", 0), ("somekey", 11_058), ("foo{hash_tag}", 2_515), ("hash_tag", 2_515),
        ("bar{hash_tag}", 2_515), ("foo", 12_182), ("bar", 5_061), ("hello", 866),
    ])
    func published(_ key: String, _ slot: Int) {
        #expect(HashSlot(of: key).number == slot)
        #expect(HashSlot(of: Array(key.utf8)).number == slot)
    }

    @Test func tags() {
        #expect(HashSlot(of: "{user1000}.following") == HashSlot(of: "user1000"))
        #expect(HashSlot(of: "foo{{bar}}zap") == HashSlot(of: "{bar"))
        #expect(HashSlot(of: "foo{bar}{zap}") == HashSlot(of: "bar"))
        #expect(HashSlot(of: "}{a}") == HashSlot(of: "a"))
        // No tag: nothing between the braces, or no closing one. Then all of the key counts.
        #expect(HashSlot(of: "foo{}{bar}") == HashSlot(of: Array("foo{}{bar}".utf8)))
        #expect(HashSlot(of: "foo{}{bar}") != HashSlot(of: "bar"))
        #expect(HashSlot(of: "{}a") != HashSlot(of: "a"))
        #expect(HashSlot(of: "{a") != HashSlot(of: "a"))
        #expect(HashSlot(of: "a}") != HashSlot(of: "a"))
        #expect(HashSlot(of: "{") != HashSlot(of: ""))
    }

    @Test func bytes() {
        #expect(HashSlot(of: [0xff, 0x00, 0x7b, 0xfe, 0x7d, 0x0d]) == HashSlot(of: [0xfe]))
        let everything = [UInt8](0...255)
        // The tag is what stands between `{` (123) and `}` (125).
        #expect(HashSlot(of: everything) == HashSlot(of: "|"))
    }

    @Test func everySlotHasATag() throws {
        var seen: Set<Int> = []
        for slot in HashSlot.all {
            let tag = HashSlot.tag(for: slot)
            #expect(HashSlot(of: "millrace:{\(tag)}:pipeline:sink") == slot)
            seen.insert(tag)
        }
        #expect(seen.count == HashSlot.count)
        #expect(seen.max() == 109_757)
        // The smallest: no smaller number leads there.
        let last = HashSlot(of: "109757")
        #expect(!(0..<109_757).contains { HashSlot(of: "\($0)") == last })
        #expect(HashSlot(-1) == nil && HashSlot(16_384) == nil && HashSlot(16_383) != nil)
    }
}
