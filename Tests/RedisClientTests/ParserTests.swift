import NIOCore
import Testing

@testable import RedisClient

@Suite struct ParserTests {
    /// Every type, with what it means.
    static let samples: [(String, RESPValue)] = [
        ("+OK\r\n", .simpleString("OK")),
        ("+\r\n", .simpleString("")),
        ("+a status of more than fifteen bytes\r\n", .simpleString("a status of more than fifteen bytes")),
        ("-ERR no\r\n", .error(RedisServerError(message: "ERR no"))),
        (":0\r\n", .integer(0)),
        (":+7\r\n", .integer(7)),
        (":-9223372036854775808\r\n", .integer(.min)),
        (":9223372036854775807\r\n", .integer(.max)),
        ("$0\r\n\r\n", .bulkString([])),
        ("$5\r\na\r\n\u{0}b\r\n", bulk("a\r\n\u{0}b")),
        ("$-1\r\n", .null),
        ("*-1\r\n", .null),
        ("*0\r\n", .array([])),
        (
            "*3\r\n:1\r\n*2\r\n+x\r\n$-1\r\n$2\r\nhi\r\n",
            .array([.integer(1), .array([.simpleString("x"), .null]), bulk("hi")])
        ),
        ("_\r\n", .null),
        ("#t\r\n", .boolean(true)),
        ("#f\r\n", .boolean(false)),
        (",1.5\r\n", .double(1.5)),
        (",-1e3\r\n", .double(-1_000)),
        (",inf\r\n", .double(.infinity)),
        (",-inf\r\n", .double(-.infinity)),
        (
            "(-3492890328409238509324850943850943825024385\r\n",
            .bigNumber("-3492890328409238509324850943850943825024385")
        ),
        ("!8\r\nERR a\r\nb\r\n", .error(RedisServerError(message: "ERR a\r\nb"))),
        ("=7\r\ntxt:abc\r\n", .verbatim(format: "txt", bytes: Array("abc".utf8))),
        ("%0\r\n", .map([])),
        (
            "%1\r\n+k\r\n*1\r\n:1\r\n",
            .map([RESPMapEntry(key: .simpleString("k"), value: .array([.integer(1)]))])
        ),
        ("~2\r\n:1\r\n:2\r\n", .set([.integer(1), .integer(2)])),
        ("|1\r\n+ttl\r\n:3600\r\n:5\r\n", .integer(5)),
        ("*2\r\n|1\r\n+a\r\n|0\r\n+b\r\n:1\r\n:2\r\n", .array([.integer(1), .integer(2)])),
    ]

    @Test func everyType() throws {
        for (text, value) in ParserTests.samples {
            #expect(try reply(text) == value, "\(text.debugDescription)")
        }
        guard case .double(let number) = try reply(",nan\r\n") else { throw CancellationError() }
        #expect(number.isNaN)
    }

    @Test func everySplitIntoTwoPieces() throws {
        for (text, value) in ParserTests.samples {
            let bytes = Array(text.utf8)
            for cut in 0...bytes.count {
                let messages = try decode([Array(bytes[..<cut]), Array(bytes[cut...])])
                #expect(messages == [.reply(value)], "\(text.debugDescription) cut at \(cut)")
            }
        }
    }

    @Test func byteByByteAndAllAtOnce() throws {
        let bytes = Array(ParserTests.samples.map(\.0).joined().utf8)
        let expected = ParserTests.samples.map { RESPMessage.reply($0.1) }
        #expect(try decode(bytes.map { [$0] }) == expected)
        #expect(try decode([bytes]) == expected)
        for size in [2, 3, 7, 64] {
            let pieces = stride(from: 0, to: bytes.count, by: size).map {
                Array(bytes[$0..<min($0 + size, bytes.count)])
            }
            #expect(try decode(pieces) == expected)
        }
    }

    @Test func pushesAreNoReplies() throws {
        let messages = try decode("+a\r\n>2\r\n+invalidate\r\n*1\r\n+k\r\n+b\r\n>0\r\n")
        #expect(
            messages == [
                .reply(.simpleString("a")),
                .push([.simpleString("invalidate"), .array([.simpleString("k")])]),
                .reply(.simpleString("b")), .push([]),
            ])
    }

    @Test(arguments: [
        "?\r\n", "OK\r\n", "\r\n", "\u{0}", "+a\rb\r\n", "+a\nb\r\n", ":\r\n", ":-\r\n", ":1 \r\n", ":a\r\n",
        ":9223372036854775808\r\n", ":-9223372036854775809\r\n", ":99999999999999999999999\r\n", "$\r\n",
        "$-2\r\n", "$+1\r\na\r\n", "$01x\r\n", "$99999999999999999999\r\n", "$1\r\nab\r\n", "$1\r\na\n\r",
        "*-2\r\n",
        "*1x\r\n", "$?\r\n", "*?\r\n", "%-1\r\n", "~-1\r\n", ">-1\r\n", "!-1\r\n", "=-1\r\n", "=3\r\ntxt\r\n",
        "=4\r\ntxtx\r\n", "_a\r\n", "#x\r\n", "#\r\n", "#tt\r\n", ",\r\n", ",0x1p3\r\n", ",1.5.5\r\n",
        ",a\r\n",
        "(\r\n", "(-\r\n", "(1.5\r\n", "*1\r\n>1\r\n+a\r\n",
    ])
    func malformed(_ text: String) async throws {
        #expect(await code { _ = try decode(text) } == .protocolViolation)
        // The same when it trickles in.
        #expect(await code { _ = try decode(Array(text.utf8).map { [$0] }) } == .protocolViolation)
    }

    @Test func conveniences() {
        #expect(RESPValue.simpleString("a").string == "a")
        #expect(bulk("ü").string == "ü")
        #expect(RESPValue.bulkString([0xff]).string == nil)
        #expect(RESPValue.integer(3).int == 3)
        #expect(bulk("3").int == nil)
        let entry = RESPMapEntry(key: bulk("k"), value: .integer(1))
        #expect(RESPValue.map([entry]).array == [bulk("k"), .integer(1)])
        #expect(RESPValue.set([.null]).array == [.null])
        #expect(RESPValue.null.array == nil)
    }

    @Test func errorPrefixesAndRedirections() throws {
        #expect(RedisServerError(message: "OOM command not allowed").prefix == .oom)
        #expect(RedisServerError(message: "EXECABORT").prefix == .execabort)
        #expect(RedisServerError(message: "Something is wrong").prefix == .unknown)
        #expect(RedisServerError(message: "").prefix == .unknown)
        #expect(RedisServerError(message: "NEWERR x").prefix.rawValue == "NEWERR")
        let moved = try #require(RedisServerError(message: "MOVED 3999 127.0.0.1:6381").redirection)
        #expect(moved.slot == 3_999 && moved.address == "127.0.0.1:6381")
        #expect(RedisServerError(message: "ASK 1 :6381").redirection?.address == ":6381")
        #expect(RedisServerError(message: "MOVED 16384 h:1").redirection == nil)
        #expect(RedisServerError(message: "MOVED x h:1").redirection == nil)
        #expect(RedisServerError(message: "MOVED 1").redirection == nil)
        #expect(RedisServerError(message: "ERR 1 h:1").redirection == nil)
    }
}
