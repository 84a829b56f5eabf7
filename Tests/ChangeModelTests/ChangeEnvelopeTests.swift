import Foundation
import Testing

@testable import ChangeModel

@Suite struct ChangeEnvelopeTests {
    private func json(_ change: Change) throws -> [String: Any] {
        let bytes = ChangeEnvelope.json(of: change, offset: 7, source: "p")
        #expect(!bytes.contains(UInt8(ascii: "\n")))
        return try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    }

    @Test func fields() throws {
        let json = try json(ChangeCodecTests.full)
        #expect(json["op"] as? String == "u")
        #expect(json["offset"] as? Int == 7)
        #expect(json["after"] as? String == "AQL/")
        #expect(json["after_encoding"] as? String == "base64")
        #expect(json["before"] as? String == "\u{3}")
        #expect(json["before_encoding"] == nil)
        let source = try #require(json["source"] as? [String: Any])
        #expect(source["connector"] as? String == "zookeeper")
        #expect(source["path"] as? String == "/a/ü")
        #expect(source["zxid"] as? Int == 0x1_0000_0002)
        #expect(source["snapshot"] as? String == "last")
        #expect(source["session"] as? Int == -12)
    }

    @Test func textIsEscaped() throws {
        let text = "quote \" backslash \\ line\nreturn\rtab\t bell\u{7} unit\u{1f} ü 🐎"
        let change = Change(
            operation: .create, path: "/a\"b", data: Array(text.utf8), zxid: Zxid(1), timestamp: 1)
        let json = try json(change)
        #expect(json["after"] as? String == text)
        #expect((json["source"] as? [String: Any])?["path"] as? String == "/a\"b")
    }

    @Test func aDeleteHasNothingAfter() throws {
        var change = Change(operation: .delete, path: "/a", data: nil, zxid: Zxid(1), timestamp: 1)
        #expect(try json(change)["after"] is NSNull)
        #expect(try json(change)["before"] is NSNull)
        change.before = [255]
        #expect(try json(change)["before"] as? String == "/w==")
        #expect(try json(change)["before_encoding"] as? String == "base64")
    }

    @Test(arguments: [0, 1, 2, 3, 4, 5])
    func base64(count: Int) {
        let bytes = (0..<count).map { UInt8($0 * 50) }
        #expect(ChangeEnvelope.base64(bytes) == Data(bytes).base64EncodedString())
    }
}
