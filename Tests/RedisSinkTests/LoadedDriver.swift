import Engine

/// Delivers a log that a test lets grow.
protocol LoadedDriver: Sendable {
    /// The log's end.
    var end: Watermark { get }
    /// 1 once delivery has started.
    var started: Watermark { get }
    /// Delivers until the end is finished and all before it is delivered.
    func run() async throws
    /// Ends what `run` has left open.
    func close() async
    /// Changes a second that a test gets unless it asks for others.
    static var usualLoad: Int64 { get }
}

extension LoadedDriver {
    /// Lets the log grow while the body breaks things, then waits until all is delivered.
    func underLoad(
        perSecond: Int64 = usualLoad, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let isOver = Watermark(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await run() }
            group.addTask {
                _ = try await started.wait(until: 1, timeout: .seconds(20))
                try await body()
                isOver.set(1)
            }
            group.addTask {
                while isOver.value == 0 {
                    end.set(end.value + perSecond / 50)
                    try await Task.sleep(for: .milliseconds(20))
                }
                end.finish()
            }
            while try await group.next() != nil {}
        }
        await close()
    }
}
