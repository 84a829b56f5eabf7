import Engine
import Foundation
import Logging
import NIOCore
import TestServers
import Testing

@testable import AdminServer

/// The server as whoever asks meets it, friendly or not. There is no pipeline behind it here.
@Suite(.serialized) struct AdminServerTests {
    private static var logger: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    private static func serving(
        lifetime: TimeAmount = .seconds(15), _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let port = try freePort()
        let address = try #require(HTTPAddress(":\(port)"))
        var server = AdminServer(version: "1.2.3", pipelines: [], logger: logger)
        server.lifetime = lifetime
        try await server.serve(address) { try await body(port) }
        // Nobody listens any more.
        #expect(throws: TestServerError.self) { try PlainConnection(port: port) }
    }

    @Test func whatThereIs() async throws {
        try await AdminServerTests.serving { port in
            let live = try HTTPProbe.get("/live", port: port)
            #expect(live.status == 200 && live.body == "live\n")
            #expect(live.headers["connection"] == "close" && live.headers["content-length"] == "5")
            #expect(try HTTPProbe.get("/ready?x=/status", port: port).status == 200)
            let metrics = try HTTPProbe.get("/metrics", port: port)
            #expect(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            let samples = try MetricsText(parsing: metrics.body).samples
            #expect(samples == [#"millrace_build_info{version="1.2.3"}"#: 1])
            let status = try HTTPProbe.get("/status", port: port)
            #expect(status.headers["content-type"] == "application/json")
            #expect(status.body.hasPrefix(#"{"version":"1.2.3","uptime_ms":"#))
            #expect(status.body.hasSuffix(#","ready":true,"pipelines":[]}"#))
            let page = try HTTPProbe.get("/", port: port)
            #expect(page.status == 200 && page.body.hasSuffix("</html>"))
            #expect(!page.body.contains("http:") && !page.body.contains("https:"))
            #expect(page.headers["content-security-policy"]?.hasPrefix("default-src 'none'") == true)
            for path in ["/live/", "/Metrics", "/../live", "*", "//", "/%2e"] {
                #expect(try HTTPProbe.get(path, port: port).status == 404, "\(path)")
            }
            for method in ["POST", "HEAD", "DELETE", "OPTIONS"] {
                let answer = try HTTPProbe.get("/live", port: port, method: method)
                #expect(answer.status == 405 && answer.headers["allow"] == "GET", "\(method)")
            }
        }
    }

    @Test func whatIsNoRequestIsRefused() async throws {
        try await AdminServerTests.serving { port in
            for (text, status) in [
                ("hello\r\n\r\n", 400), ("GET /live HTTP/9.9\r\n\r\n", 400),
                ("GET /live HTTP/1.1\r\nhost: \(String(repeating: "a", count: 20_000))\r\n\r\n", 431),
                ("GET /\(String(repeating: "a", count: 20_000)) HTTP/1.1\r\n\r\n", 431),
            ] {
                let connection = try PlainConnection(port: port)
                try connection.send(text)
                let answer = try HTTPProbe(parsing: connection.readToEnd(within: 10))
                #expect(answer.status == status)
            }
            #expect(try HTTPProbe.get("/live", port: port).status == 200)
        }
    }

    /// Of several requests on one connection the first is answered.
    @Test func aConnectionServesOneRequest() async throws {
        try await AdminServerTests.serving { port in
            let connection = try PlainConnection(port: port)
            try connection.send(String(repeating: "GET /live HTTP/1.1\r\nhost: h\r\n\r\n", count: 5))
            let answer = try connection.readToEnd(within: 10)
            #expect(answer.components(separatedBy: "HTTP/1.1 200").count == 2)
        }
    }

    /// Who says nothing holds a place for a while; who comes beyond the limit is sent away, and nobody else is kept out
    /// when they have gone.
    @Test func connectionsAreLimitedInNumberAndTime() async throws {
        try await AdminServerTests.serving(lifetime: .seconds(3)) { port in
            var silent: [PlainConnection] = []
            for _ in 0..<200 { silent.append(try PlainConnection(port: port)) }
            let last = try #require(silent.last)
            #expect(try last.readToEnd(within: 10) == "")
            // A slow sender is no better: its time is counted from the beginning.
            try? silent[0].send("GET /live HT")
            #expect(try silent[0].readToEnd(within: 30) == "")
            #expect(try HTTPProbe.get("/live", port: port).status == 200)
        }
    }

    @Test func aPortThatIsTakenIsNamedBeforeAnythingBegins() async throws {
        try await AdminServerTests.serving { port in
            let address = try #require(HTTPAddress(":\(port)"))
            let error = await #expect(throws: PipelineError.self) {
                try await AdminServer(version: "", pipelines: [], logger: AdminServerTests.logger).serve(
                    address
                ) {
                    Issue.record("it has begun")
                }
            }
            #expect(error?.kind == .unavailable)
            #expect(error?.message.contains("127.0.0.1:\(port): another process listens there") == true)
        }
    }

    @Test func whatTheBodyThrowsIsThrown() async throws {
        let address = try #require(HTTPAddress("0"))
        let error = await #expect(throws: PipelineError.self) {
            try await AdminServer(version: "", pipelines: [], logger: AdminServerTests.logger).serve(address)
            {
                throw PipelineError.failed("so")
            }
        }
        #expect(error == .failed("so"))
    }
}
