import TestServers
import Testing

@testable import AdminServer

/// The text format 0.0.4.
@Suite struct PrometheusTextTests {
    @Test func aMetricIsWrittenAsTheFormatWantsIt() throws {
        var out = PrometheusText()
        out.metric("a_total", .counter, "Counts, with a \\ and\na line.")
        out.sample("a_total", [], 3 as Int64)
        out.sample("a_total", [("x", "1"), ("y", "say \"no\" \\ and\nmore")], 9_007_199_254_740_993 as Int64)
        #expect(
            out.text == """
                # HELP a_total Counts, with a \\\\ and\\na line.
                # TYPE a_total counter
                a_total 3
                a_total{x="1",y="say \\"no\\" \\\\ and\\nmore"} 9007199254740993

                """)
        #expect(try MetricsText(parsing: out.text).samples.count == 2)
    }

    @Test func aHistogramIsCumulative() throws {
        var out = PrometheusText()
        out.metric("h", .histogram, "Times.")
        out.histogram(
            "h", [("s", "k")], buckets: [(0.001, 2), (0.5, 0), (60, 3)], beyond: 1, sum: 1234.5)
        #expect(
            out.text == """
                # HELP h Times.
                # TYPE h histogram
                h_bucket{s="k",le="0.001"} 2
                h_bucket{s="k",le="0.5"} 2
                h_bucket{s="k",le="60"} 5
                h_bucket{s="k",le="+Inf"} 6
                h_sum{s="k"} 1234.5
                h_count{s="k"} 6

                """)
        #expect(try MetricsText(parsing: out.text).types == ["h": "histogram"])
    }

    @Test(
        arguments: [
            (0, "0"), (1, "1"), (-2.5, "-2.5"), (0.001, "0.001"), (1e300, "1e+300"), (.infinity, "+Inf"),
            (-.infinity, "-Inf"), (.nan, "NaN"),
        ] as [(Double, String)])
    func numbers(_ value: Double, _ text: String) {
        #expect(PrometheusText.number(value) == text)
    }

    @Test(arguments: ["a 1", "# TYPE a gauge\na 1\n", "# HELP a A.\n# TYPE a gauge\na{x=\"\"\"} 1\n"])
    func whatIsNotTheFormatIsNoticed(_ text: String) {
        #expect(throws: TestServerError.self) { try MetricsText(parsing: text) }
    }
}
