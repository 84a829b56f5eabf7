import Foundation
import PipelineDefinition
import Testing

@Suite struct DiagnosticsTests {
    @Test func fiveMistakesGiveFiveDiagnostics() {
        let text = """
            name: Service Registry
            source:
              zookeeper:
                conect: "127.0.0.1:2181"
                connect: "127.0.0.1:2181"
                paths: [/services]
                session_timeout: 10 minutes
            transform:
              - rules:
                  - match: "/services/{service}/{instance}"
                    to: [registry, evnts]
            sinks:
              registry:
                redis: "redis://127.0.0.1:6379/0"
                write: hash
                key: "svc:{servce}:{instance}"
              events: {redis: "${REDIS:redis://127.0.0.1}", write: stream, key: changes}
            """
        let result = parse(text)
        #expect(result.definition == nil)
        #expect(
            result.diagnostics.map(\.description) == [
                "f.yaml:1:7: error: 'Service Registry' is no pipeline name (1 to 64 of a-z, 0-9 and -)",
                "f.yaml:4:5: error: unknown key 'conect' in source.zookeeper (did you mean 'connect'?)",
                "f.yaml:7:22: error: session_timeout is no duration: '10 minutes' "
                    + "(write a number and ms, s, m, h or d, for example 10s)",
                "f.yaml:11:24: error: there is no sink 'evnts' (did you mean 'events'?)",
                "f.yaml:16:10: error: the key of sink 'registry' needs {servce}, which the rule at line 10 "
                    + "does not capture (match: /services/{service}/{instance}) (did you mean {service}?)",
            ])
    }

    @Test func missingKeysAreNamedWhereTheyBelong() {
        #expect(
            problems("log: {}\n") == [
                "1:1 error: the definition has no 'name' (add name: my-pipeline)",
                "1:1 error: the definition has no 'source' "
                    + "(add source: {zookeeper: {connect: …, paths: […]}})",
                "1:1 error: the definition has no 'sinks' (add sinks: {console: {write: stdout}})",
            ])
        #expect(
            problems("name: a\nsource:\n  zookeeper: {}\nsinks:\n  s: {}\n  t: {write: set}\n") == [
                "3:3 error: source.zookeeper has no 'connect' (add connect: \"127.0.0.1:2181\")",
                "3:3 error: source.zookeeper has no 'paths' (add paths: [/services])",
                "5:3 error: the sink 's' has no 'write' (add write: stream)",
                "6:3 error: the sink 't' has no 'key' (add key: \"members\")",
                "6:3 error: the sink 't' has no 'member' (add member: \"{path}\")",
                "6:3 error: the sink 't' has no 'redis' (add redis: \"redis://127.0.0.1:6379/0\")",
            ])
    }

    @Test func valuesOfTheWrongKindAreNamed() {
        #expect(
            problems("[]") == [
                "1:1 error: a definition needs a mapping, not a list "
                    + "(its keys are name, source, log, transform, sinks, on_error, tests)"
            ])
        #expect(problems("") == ["1:1 error: the definition is empty"])
        #expect(problems("# nothing\n") == ["1:1 error: the definition is empty"])
        #expect(messages(definition(name: "")) == ["name needs a text, not nothing"])
        #expect(messages(definition(name: "[a]")) == ["name needs a text, not a list"])
        #expect(messages(definition(name: "\"\"")) == ["name is empty"])
        #expect(messages(definition(log: "directory: {}")) == ["directory needs a text, not a mapping"])
        #expect(messages(definition(transform: "transform: x")) == ["transform needs a list, not text"])
        #expect(
            messages(definition(sinks: "  []")) == ["sinks needs a mapping from names to sinks, not a list"])
        #expect(
            messages(definition(transform: "transform: [{rules: [{match: /a, set: [x]}]}]"))
                == ["set needs a mapping of fields, not a list"])
        #expect(
            messages(definition(transform: "transform: [{rules: [{match: /a, set: {x: [y]}}]}]"))
                == ["the field 'x' needs a template, not a list"])
    }

    @Test func namesAreChecked() {
        let long = String(repeating: "a", count: 65)
        for name in ["A", "a_b", "a.b", long, "ä"] {
            #expect(messages(definition(name: name)) == ["'\(name)' is no pipeline name"])
        }
        #expect(messages(definition(name: String(repeating: "a", count: 64))) == [])
        let sinks = "  \"a:b\": {write: stdout}"
        #expect(messages(definition(sinks: sinks)) == ["'a:b' is no name for a sink"])
    }

    @Test(arguments: [
        ("snapshot: sometimes", "snapshot is one of initial, always, never, when_needed, not 'sometimes'"),
        ("snapshot: nevr", "snapshot is one of initial, always, never, when_needed, not 'nevr'"),
        ("session_timeout: 10", "session_timeout is no duration: '10'"),
        ("session_timeout: 2h", "session_timeout is 7200000ms, which is not between 100ms and 3600000ms"),
        ("session_timeout: 99999999999999999999s", "session_timeout is no duration: '99999999999999999999s'"),
        ("exclude: [a]", "the pattern 'a': a path pattern begins with a slash"),
        ("exclude: [\"/a/{b\"]", "the pattern '/a/{b': '{' without '}'"),
        ("exclude: /a", "exclude needs a list, not text"),
        ("auth: {scheme: digest, credentials: nocolon}", "credentials have no ':'"),
        (
            "auth: {scheme: sasl, credentials: \"a:b\"}",
            "the scheme 'sasl' is not supported by this version yet"
        ),
        ("auth: {credentials: \"a:b\"}", "auth has no 'scheme'"),
    ])
    func sourceIsChecked(line: String, message: String) {
        #expect(messages(definition(source: line)) == [message])
    }

    @Test(arguments: [
        ("paths: []", "paths is empty"),
        ("paths: [services]", "the path 'services' does not begin with a slash"),
        ("paths: [/a//b]", "the path '/a//b' has two slashes in a row"),
        ("paths: [/a/../b]", "the path '/a/../b' has '.' or '..' in it, which ZooKeeper does not allow"),
        (
            "paths: [\"/a/*\"]",
            "the path '/a/*' is a pattern, but a subtree is wanted: all below a path is captured, "
                + "rules choose from it"
        ),
    ])
    func pathsAreChecked(line: String, message: String) {
        #expect(messages(definition().replacing("paths: [/]", with: line)) == [message])
    }

    @Test(arguments: [
        ("127.0.0.1:0", "connect: an address has a port that is no number from 1 to 65535"),
        ("127.0.0.1:x", "connect: an address has a port that is no number from 1 to 65535"),
        ("h:65536", "connect: an address has a port that is no number from 1 to 65535"),
        ("a:1,,b:2", "connect: an address has no host"),
        ("/chroot", "connect: an address has no host"),
        ("a b:1", "connect: an address has a space in it"),
        ("[::1:2181", "connect: an address has '[' without ']'"),
        ("[::1]x", "connect: an address has text behind its ']'"),
        ("h:1/a//b", "connect: the chroot '/a//b' has two slashes in a row"),
    ])
    func connectIsChecked(text: String, message: String) {
        #expect(messages(definition().replacing("127.0.0.1:2181", with: text)) == [message])
    }

    @Test(arguments: [
        "h", "h:1", "a:1,b:2,c", "[::1]:2181", "[::1]", "h:1/", "h:1/a/b", "zk-1.example:2181,zk-2:2181/x",
    ])
    func connectStringsThatAreRight(text: String) throws {
        #expect(try valid(definition().replacing("127.0.0.1:2181", with: text)).source.connect == text)
    }

    @Test(
        arguments: [
            ("segment: 64 MiB", nil),
            ("segment: lots", "segment is no size: 'lots'"),
            ("segment: 1KiB", "segment is 1024 bytes, which is not between 4096 and 4294967296"),
            ("segment: 99999999TiB", "segment is no size: '99999999TiB'"),
            ("fsync: always", "fsync is one of batch, interval, never, not 'always'"),
            ("fsync: {interval: 0s}", "interval is 0ms, which is not between 1ms and 3600000ms"),
            ("retain: {age: 7}", "age is no duration: '7'"),
            ("retain: {force: yes}", "force is one of true, false, not 'yes'"),
            ("retain: {days: 7}", "unknown key 'days' in log.retain"),
            (
                "retain: {bytes: 1MiB}",
                "retain.bytes is less than one segment: whole segments are removed, the newest never"
            ),
        ] as [(String, String?)])
    func logIsChecked(line: String, message: String?) {
        #expect(messages(definition(log: line)) == (message.map { [$0] } ?? []))
    }

    @Test func filesThatCannotBeReadAreTyped() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "definition-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let missing = folder.appending(path: "none.yaml").path
        #expect(throws: DefinitionFileError(code: .notFound, file: missing)) {
            try PipelineDefinition.load(file: missing, environment: [:])
        }
        #expect(throws: DefinitionFileError(code: .notAFile, file: folder.path)) {
            try PipelineDefinition.load(file: folder.path, environment: [:])
        }
        let file = folder.appending(path: "f.yaml")
        try Data([0x6e, 0xff]).write(to: file)
        #expect(
            try PipelineDefinition.load(file: file.path, environment: [:]).errors.map(\.message)
                == ["the file is not valid UTF-8"])
        try Data(repeating: 0x20, count: PipelineDefinition.maximumFileBytes + 1).write(to: file)
        #expect(
            try PipelineDefinition.load(file: file.path, environment: [:]).errors.map(\.message)
                == ["the file is longer than 1048576 bytes"])
    }
}
