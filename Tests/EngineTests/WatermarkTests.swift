import Testing

@testable import Engine

@Suite(.timeLimit(.minutes(1))) struct WatermarkTests {
    @Test func waitsForTheLevel() async throws {
        let mark = Watermark(0)
        async let waiting: Void = mark.wait(until: 3)
        for value: Int64 in 1...3 { mark.set(value) }
        try await waiting
        try await mark.wait(until: 2)
    }

    @Test func finishingWakesEverybody() async throws {
        let mark = Watermark(0)
        async let one: Void = mark.wait(until: 1)
        async let two: Void = mark.wait(until: .max)
        mark.finish()
        _ = try await (one, two)
    }

    @Test func timesOut() async throws {
        let mark = Watermark(0)
        #expect(try await mark.wait(until: 1, timeout: .milliseconds(10)) == false)
        mark.set(1)
        #expect(try await mark.wait(until: 1, timeout: .milliseconds(10)))
    }

    @Test func cancellationEndsAWait() async throws {
        let mark = Watermark(0)
        for _ in 0..<200 {
            let task = Task { try await mark.wait(until: 1) }
            if Bool.random() { await Task.yield() }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }
}
