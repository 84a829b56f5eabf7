import PipelineDefinition
import Testing

/// One reading of a definition tells all that is wrong in it, and what would put it right.
@Suite struct TwentyMistakesTests {
    private static let text = """
        name: My Pipeline
        source:
          zookeeper:
            connect: "127.0.0.1:x"
            paths: [services]
            snapshto: initial
            session_timeout: 10
        log: {segment: 1KiB}
        transform:
          - drop: []
          - dedupe: true
          - rules:
              - match: "/services/{service}/{instance"
              - match: "/services/{service}/{instance}"
                decode: jsn
                on: [c, x]
                to: [registri]
              - match: "/services/{service}"
                decode: json
                jq: ".a["
                ttl: 5
                cast: {port: int}
                set:
                  host: "{value.host|lowr}"
                  name: "{servce}"
                  port: {from: "{value.port}", type: integer}
        sinks:
          registry: {redis: "http://h", write: hash, key: "svc:{service}", maxlen: 5}
          events: {redis: "redis://h", write: stream, key: "s", ttl: 30s}
          names: {redis: "redis://h", write: set, key: "s"}
        on_error: ignore
        """

    private static let expected = [
        "1:7 'My Pipeline' is no pipeline name",
        "4:14 connect: an address has a port that is no number from 1 to 65535",
        "5:13 the path 'services' does not begin with a slash",
        "6:5 unknown key 'snapshto' in source.zookeeper",
        "7:22 session_timeout is no duration: '10'",
        "8:16 segment is 1024 bytes, which is not between 4096 and 4294967296",
        "10:11 drop is empty",
        "13:9 these rules stand behind 'dedupe', which looks at what would be written",
        "13:16 the pattern '/services/{service}/{instance': '{' without '}'",
        "15:17 decode is one of json, yaml, properties, url, text, integer, number, base64, none, not 'jsn'",
        "16:17 'x' is no operation",
        "17:14 there is no sink 'registri'",
        "20:13 jq: syntax error",
        "21:14 ttl is no duration: '5'",
        "22:22 a cast is one of string",
        "24:17 the template '{value.host|lowr}': there is no filter 'lowr'",
        "25:17 the field 'name' needs {servce}, which this rule does not capture",
        "26:24 from names one thing, without braces",
        "28:21 this is no Redis URL",
        "28:68 'maxlen' does not apply to 'write: hash'",
        "29:57 'ttl' does not apply to 'write: stream'",
        "30:3 the sink 'names' has no 'member'",
        "30:48 the sinks 'events' and 'names' write the key 's' as different types",
        "31:11 on_error is one of dead_letter, stop, skip, not 'ignore'",
    ]

    @Test func eachIsToldWithItsPlaceAndItsFix() {
        let errors = parse(TwentyMistakesTests.text).errors
        let told = errors.map { "\($0.line):\($0.column) \($0.message)" }
        #expect(told.count == TwentyMistakesTests.expected.count, "\(told.joined(separator: "\n"))")
        for (told, expected) in zip(told, TwentyMistakesTests.expected) {
            #expect(told.hasPrefix(expected))
        }
        for error in errors { #expect(error.fix?.isEmpty == false, "\(error)") }
        #expect(Set(errors.map(\.message)).count == errors.count)
    }
}
