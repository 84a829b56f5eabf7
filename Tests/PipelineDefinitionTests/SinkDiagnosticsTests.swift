import ChangeModel
import Mapping
import PipelineDefinition
import Testing

@Suite struct SinkDiagnosticsTests {
    private func sink(_ keys: String, transform: String = "") -> [String] {
        messages(definition(transform: transform, sinks: "  s: {redis: \"redis://h\", \(keys)}"))
    }

    @Test(arguments: [
        (
            "write: hsah, key: k",
            "write is one of stream, string, hash, set, children, stdout, sorted_set, not 'hsah'"
        ),
        ("write: string, key: \"{path}\", member: m", "'member' does not apply to 'write: string'"),
        ("write: hash, key: \"{path}\", maxlen: 5", "'maxlen' does not apply to 'write: hash'"),
        ("write: stream, key: k, on_delete: keep", "'on_delete' does not apply to 'write: stream'"),
        ("write: stdout", "'redis' does not apply to 'write: stdout'"),
        ("write: stream, key: k, maxlen: many", "maxlen is no number of entries: 'many'"),
        ("write: stream, key: k, maxlen: 0", "maxlen is no number of entries: '0'"),
        ("write: stream, key: k, maxlen: -5", "maxlen is no number of entries: '-5'"),
        ("write: stream, key: k, maxlen: 5, minid: 7d", "'minid' cannot stand beside 'maxlen'"),
        ("write: stream, key: k, minid: 7", "minid is no duration: '7'"),
        ("write: stream, key: k, id: random", "id is one of offset, zxid, auto, not 'random'"),
        (
            "write: set, key: k, member: \"{path}\", on_delete: tombstone",
            "a member cannot be a tombstone: it is in the set or it is not"
        ),
        (
            "write: string, key: \"{path\"",
            "the template '{path': '{' without '}' (for a literal brace write '{{')"
        ),
        ("write: string, key: \"\"", "key is empty"),
        (
            "write: stream, key: k, on_missing_checkpoint: now",
            "on_missing_checkpoint is one of earliest, latest, stop, not 'now'"
        ),
        ("write: sorted_set, key: k, member: \"{path}\", score: high", "score is no number: 'high'"),
        ("write: stream, key: k, maxlne: 5", "unknown key 'maxlne' in the sink 's'"),
    ])
    func sinksAreChecked(keys: String, message: String) {
        #expect(sink(keys) == [message])
    }

    @Test func replicasToWaitFor() throws {
        func sink(_ wait: String) -> String {
            definition(sinks: "  s: {redis: \"redis://h\", write: stream, key: k, wait: \(wait)}")
        }
        #expect(messages(sink("{replicas: 2, timeout: 500ms}")).isEmpty)
        #expect(messages(sink("{replicas: 1}")).isEmpty)
        #expect(messages(sink("{timeout: 1s}")) == ["wait has no 'replicas'"])
        #expect(messages(sink("{replicas: none}")) == ["replicas is no number from 1 to 100: 'none'"])
        #expect(messages(sink("{replicas: 1, timeout: 60s}")).first?.contains("timeout is 60000ms") == true)
    }

    @Test(arguments: [
        ("http://h", "this is no Redis URL: it does not begin with redis://"),
        ("h:6379", "this is no Redis URL: it does not begin with redis://"),
        ("redis://user:hunter2@:1", "the Redis URL an address has no host"),
        ("redis://:hunter2@h:x", "the Redis URL an address has a port that is no number from 1 to 65535"),
        ("redis://:hunter2@h/x", "the Redis URL has a database that is no number"),
        ("redis+unix://", "the Redis URL names no socket file"),
        (
            "redis://:hunter2@h?db=1",
            "the Redis URL has a query; the database is given as a path, and TLS is asked for by rediss://"
        ),
        ("rediss://:hunter2@", "the Redis URL an address has no host"),
        (
            "rediss://:hunter2@h/0?hunter2",
            "the Redis URL has an unknown parameter; there are ca, cert, key and verify"
        ),
        ("rediss://h?ca", "the Redis URL has the parameter 'ca' without a value"),
        ("rediss://h?ca=/a&ca=/b", "the Redis URL has the parameter 'ca' twice"),
        ("rediss://h?cert=/c", "the Redis URL has one of the parameters cert and key without the other"),
        ("rediss://h?verify=hunter2", "the Redis URL has a parameter 'verify' that is not full, ca or none"),
        ("rediss+sentinel://h?ca=/a", "the Redis URL names no master"),
        ("redis+sentinel://h", "the Redis URL names no master"),
        ("redis+sentinel://h,:1/m", "the Redis URL an address has no host"),
        ("redis+sentinel://h/m/x", "the Redis URL has a database that is no number"),
        ("redis+cluster://h,:1", "the Redis URL an address has no host"),
        ("redis+cluster://h,i:7000/3", "the Redis URL has a database, and a cluster has only 0"),
    ])
    func urlsAreCheckedAndNeverQuoted(url: String, message: String) {
        let sinks = "  s: {redis: \"\(url)\", write: stream, key: k}"
        #expect(messages(definition(sinks: sinks)) == [message])
        #expect(!problems(definition(sinks: sinks)).joined().contains("hunter2"))
    }

    @Test(arguments: [
        "redis://h", "redis://h:1/15", "redis://:p@h", "redis://u:p@h:1/2", "redis://[::1]:6379/0",
        "redis+unix:///run/r.sock?db=2", "redis+cluster://u:p@h,i:7000/0", "rediss+cluster://h,i?ca=/a",
        "rediss://u:p@h:1/2", "rediss://h?verify=none",
        "rediss://h/1?ca=/a%20b&cert=/c&key=/k&verify=ca", "rediss+sentinel://a,b:1/m/0?ca=/a",
    ])
    func urlsThatAreRight(url: String) throws {
        let sinks = "  s: {redis: \"\(url)\", write: stream, key: k}"
        #expect(try valid(definition(sinks: sinks)).sinks.first?.redisURL == url)
    }

    @Test(arguments: [
        ("quorum: \"h:2888\"", "quorum is for capture: observer and capture: auto"),
        ("capture: auto\n    quorum: \"h:2888/x\"", "quorum has a path; connect has the chroot"),
        ("capture: auto\n    quorum: \"a:2888,b\"", "quorum: b has no port"),
        ("capture: auto\n    quorum: \"[::1]\"", "quorum: [::1] has no port"),
        (
            "capture: auto\n    quorum: {servers: \"h:1\", observer_masters: \"h\"}",
            "observer_masters: h has no port"
        ),
        (
            "capture: auto\n    quorum: {servers: \"h:1\", credentials: \"secret\"}",
            "credentials have no user before a ':'"
        ),
        (
            "capture: auto\n    quorum: {servers: \"h:1\", tls: {ca: a.pem, cert: b.pem}}",
            "quorum.tls has no 'key'"
        ),
    ])
    func quorumIsChecked(line: String, message: String) {
        let found = problems(definition(source: line)).map { String($0.split(separator: "error: ")[1]) }
        #expect(found.count == 1 && found[0].hasPrefix(message), "\(found)")
    }

    @Test func observersHaveAQuorum() throws {
        // The one that the ensemble names.
        #expect(try valid(definition(source: "capture: observer")).source.quorum == .init())
        let partly = "capture: auto\n    quorum: {credentials: \"me:a\"}"
        #expect(try valid(definition(source: partly)).source.quorum == .init(credentials: "me:a"))
        let source = "capture: observer\n    quorum: \"a:2888,b:2888\""
        let short = try valid(definition(source: source))
        #expect(short.source.capture == .observer)
        #expect(short.source.quorum == .init(servers: "a:2888,b:2888"))
        let whole = try valid(
            definition(
                source: """
                    capture: auto
                        quorum:
                          servers: "a:2888"
                          observer_masters: "b:2191"
                          credentials: "me:a:b"
                          tls: {ca: ca.pem, cert: a.pem, key: a.key}
                    """))
        #expect(
            whole.source.quorum
                == .init(
                    servers: "a:2888", observerMasters: "b:2191", credentials: "me:a:b",
                    tls: .init(ca: "ca.pem", cert: "a.pem", key: "a.key")))
    }

    // MARK: Not yet

    @Test(arguments: [
        ("write: string, key: \"{path}\", lease: true", "'lease' is not supported by this version yet")
    ])
    func laterSinks(keys: String, message: String) {
        #expect(sink(keys) == [message])
    }

    @Test func idsMadeOfZxidsNeedAnObserver() {
        #expect(
            sink("write: stream, key: k, id: zxid") == [
                "'id: zxid' needs each transaction as it was committed, which only an observer sees"
            ])
    }

    @Test func addressesThatMoveAreRememberedWhereTheyCanBe() throws {
        #expect(sink("write: string, key: \"k:{value}\"") == [])
        #expect(sink("write: set, key: k, member: \"{value}\", max_remembered: 7") == [])
        #expect(
            sink("write: set, key: k, member: \"{value}\", max_remembered: 0") == [
                "max_remembered is no number from 1 to 1000000000: '0'"
            ])
        #expect(sink("write: children, key: k, member: \"{path}\"") == [])
        let cluster = "  s: {redis: \"redis+cluster://h:1\", write: string, key: \"k:{value}\"}"
        #expect(messages(definition(sinks: cluster)) == [])
        let children = "  s: {redis: \"redis+cluster://h:1\", write: children, key: k, member: \"{path}\"}"
        #expect(messages(definition(sinks: children)) == [])
        #expect(
            sink("write: string, key: \"k:{value}\", on_delete: tombstone") == [
                "on_delete: tombstone is not for a key with {value}, which can differ between changes of one znode, "
                    + "since the sink has to remember it"
            ])
        #expect(sink("write: string, key: \"k:{value}\", on_delete: keep").count == 1)
    }

    @Test func aStreamsKeyMayComeFromTheDataWhereThereAreNoDeletes() throws {
        let refusal = "a stream's key with {value.kind}, which a delete does not have"
        let sinks = "  s: {redis: \"redis://h\", write: stream, key: \"s:{value.kind}\"}"
        func rules(_ on: String) -> String {
            "transform: [{rules: [{match: \"/{n}\", decode: json, \(on)}]}]"
        }
        #expect(sink("write: stream, key: \"s:{value}\"").count == 1)
        #expect(messages(definition(transform: rules("to: [s]"), sinks: sinks)) == [refusal])
        #expect(messages(definition(transform: rules("on: [c, d]"), sinks: sinks)) == [refusal])
        let read = try valid(definition(transform: rules("on: [c, u, r]"), sinks: sinks))
        let mapper = Mapper(transform: read.transform, sinks: read.sinks.map(\.specification))
        func key(_ operation: Operation) -> [UInt8]? {
            let change = Change(
                operation: operation, path: "/a",
                data: operation == .delete ? nil : Array(#"{"kind":"x"}"#.utf8),
                zxid: Zxid(1), timestamp: 0)
            guard case .writes(let writes) = mapper.map(change, offset: 0, sink: 0),
                case .streamAdd(let key, _)? = writes.first
            else { return nil }
            return key
        }
        #expect(key(.update) == Array("s:x".utf8))
        #expect(key(.delete) == nil)
    }

    @Test func streamsMayUseFactsOfTheChangeInTheirKey() {
        #expect(sink("write: stream, key: \"s:{op}\"") == [])
    }
}
