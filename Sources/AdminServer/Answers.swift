import Engine
import NIOHTTP1

/// One answer, small enough to be made as a whole.
struct Answer: Sendable {
    var status: HTTPResponseStatus
    var type = "text/plain; charset=utf-8"
    var body: [UInt8]
    /// Beyond those that every answer has.
    var headers: [(String, String)] = []

    static func text(_ status: HTTPResponseStatus, _ text: String) -> Answer {
        Answer(status: status, body: Array((text + "\n").utf8))
    }
}

/// What the server has to say.
struct Answers: Sendable {
    let version: String
    let watches: [PipelineWatch]
    private let begin = ContinuousClock.now

    init(version: String, pipelines: [PipelineProgress]) {
        self.version = version
        watches = pipelines.map(PipelineWatch.init)
    }

    /// - Parameter target: of the request line.
    func answer(_ method: HTTPMethod, _ target: String) async throws -> Answer {
        guard method == .GET else {
            var answer = Answer.text(.methodNotAllowed, "GET is all there is")
            answer.headers.append(("allow", "GET"))
            return answer
        }
        switch target.prefix(while: { $0 != "?" }) {
        case "/metrics": return try await metrics()
        case "/live": return .text(.ok, "live")
        case "/ready": return ready()
        case "/status": return try await status()
        case "/": return page
        default: return .text(.notFound, "there are /, /metrics, /live, /ready and /status")
        }
    }

    private func metrics() async throws -> Answer {
        let text = Metrics(version: version, pipelines: try await pipelines(asksServers: false)).text
        return Answer(status: .ok, type: PrometheusText.contentType, body: Array(text.utf8))
    }

    private func ready() -> Answer {
        let problems = watches.flatMap { watch in
            watch.progress.problems().map { "\(watch.progress.name): \($0)" }
        }
        if problems.isEmpty { return .text(.ok, "ready") }
        return .text(.serviceUnavailable, problems.joined(separator: "\n"))
    }

    private func status() async throws -> Answer {
        let document = StatusDocument(
            version: version, uptimeMilliseconds: Int64((ContinuousClock.now - begin) / .milliseconds(1)),
            pipelines: try await pipelines(asksServers: true))
        return Answer(status: .ok, type: "application/json", body: document.bytes)
    }

    /// All at the same time, in their order.
    private func pipelines(asksServers: Bool) async throws -> [PipelineStatus] {
        try await withThrowingTaskGroup(of: (Int, PipelineStatus).self) { group in
            for (index, watch) in watches.enumerated() {
                group.addTask { (index, try await watch.status(asksServers: asksServers)) }
            }
            var found: [(Int, PipelineStatus)] = []
            for try await status in group { found.append(status) }
            return found.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private var page: Answer {
        // What it shows is text, and nothing comes from elsewhere.
        let policy =
            "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        return Answer(
            status: .ok, type: "text/html; charset=utf-8", body: Array(StatusPage.html.utf8),
            headers: [("content-security-policy", policy)])
    }
}
