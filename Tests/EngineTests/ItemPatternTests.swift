import ChangeModel
import Mapping
import Testing

@testable import Engine

/// The way back from keys to paths.
@Suite struct ItemPatternTests {
    private func sink(_ write: WriteKind, _ key: String, member: String? = nil, field: String? = nil) throws
        -> SinkSpecification
    {
        SinkSpecification(
            name: "s", write: write, key: try Template(key), member: try member.map { try Template($0) },
            field: try field.map { try Template($0) })
    }

    private func rules(_ matches: String...) throws -> TransformSpecification {
        TransformSpecification(stages: [.rules(try matches.map { Rule(match: try PathPattern($0)) })])
    }

    private func item(_ kind: SinkItem.Kind, _ key: String, _ part: String = "") -> SinkItem {
        SinkItem(kind: kind, key: Bytes(key.utf8), part: Bytes(part.utf8))
    }

    @Test func aKeyLeadsToItsPath() throws {
        let pattern = try #require(
            ItemPattern(try sink(.hash, "svc:{s}:{i}"), try rules("/services/{s}/{i}")))
        #expect(pattern.untold.isEmpty)
        #expect(String(decoding: pattern.glob, as: UTF8.self) == "svc:*:*")
        #expect(pattern.paths(of: item(.hash, "svc:api:1")) == ["/services/api/1"])
        // A colon may belong to either.
        #expect(
            Set(pattern.paths(of: item(.hash, "svc:api:h:80"))) == [
                "/services/api/h:80", "/services/api:h/80",
            ])
        for other in ["svc:api", "svc::1", "svc:api:", "other:api:1", "svc:a/b:1", "svc:..:1"] {
            #expect(pattern.paths(of: item(.hash, other)).isEmpty, "\(other)")
        }
        let binary = SinkItem(kind: .hash, key: Bytes("svc:".utf8) + [0xff] + Bytes(":1".utf8))
        #expect(pattern.paths(of: binary).isEmpty)
        let hostile = item(.hash, "svc:" + String(repeating: ":", count: 3000))
        #expect(pattern.paths(of: hostile).isEmpty)
    }

    @Test func aPathIsItself() throws {
        let pattern = try #require(ItemPattern(try sink(.string, "k:{path}"), TransformSpecification()))
        #expect(pattern.untold.isEmpty && pattern.isTelling)
        #expect(pattern.paths(of: item(.string, "k:/a/b")) == ["/a/b"])
        #expect(pattern.paths(of: item(.string, "k:a")).isEmpty)
        #expect(pattern.paths(of: item(.string, "k:/a//b")).isEmpty)
    }

    @Test func keyAndMemberTellItTogether() throws {
        let pattern = try #require(
            ItemPattern(try sink(.set, "svc:{s}", member: "{s}/{i}"), try rules("/services/{s}/{i}")))
        #expect(pattern.paths(of: item(.member, "svc:api", "api/1")) == ["/services/api/1"])
        #expect(pattern.paths(of: item(.member, "svc:api", "web/1")).isEmpty)
    }

    @Test func aFilterTellsNothing() throws {
        let all = try rules("/d/{interface}/{provider}")
        let hashed = try #require(
            ItemPattern(try sink(.hash, "d:{interface}:{provider|hash:sha256:12}"), all))
        #expect(!hashed.isTelling && hashed.untold == ["/d/{interface}/{provider}"])
        let both = try #require(ItemPattern(try sink(.hash, "{interface|lower}:{interface}:{provider}"), all))
        #expect(both.untold.isEmpty)
        #expect(both.paths(of: item(.hash, "a:A:b")) == ["/d/A/b"])
    }

    @Test func wildcardsTellNothing() throws {
        let pattern = try #require(
            ItemPattern(try sink(.string, "k:{x}"), try rules("/a/{x}", "/b/*/{x}", "/c/{x}/{y}")))
        #expect(pattern.isTelling && pattern.untold == ["/b/*/{x}", "/c/{x}/{y}"])
        #expect(pattern.paths(of: item(.string, "k:1")) == ["/a/1"])
        let fixed = try #require(ItemPattern(try sink(.string, "all"), try rules("/a/{x}")))
        #expect(!fixed.isTelling)
    }

    @Test func dataTellsNothing() throws {
        #expect(ItemPattern(try sink(.string, "k:{value.id}"), try rules("/a/{x}")) == nil)
        #expect(ItemPattern(try sink(.stream(StreamOptions()), "k:{x}"), try rules("/a/{x}")) == nil)
    }

    @Test func literalsAreNoGlobs() throws {
        let pattern = try #require(ItemPattern(try sink(.string, "a*[b]?\\{x}{{y}}"), try rules("/a/{x}")))
        #expect(String(decoding: pattern.glob, as: UTF8.self) == #"a\*\[b\]\?\\*{y}"#)
        #expect(pattern.paths(of: item(.string, "a*[b]?\\1{y}")) == ["/a/1"])
    }
}
