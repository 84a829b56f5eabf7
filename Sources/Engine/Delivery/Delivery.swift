import ChangeModel
import Logging

/// Carries the log to one sink, from the sink's own checkpoint, until nothing more will come.
///
/// While the sink writes one batch the next is read and mapped: two bounded buffers, no queue.
struct Delivery: Sendable {
    let name: String
    let sink: any ChangeSink
    let feed: DeliveryFeed
    /// The log as the sink sees it.
    let context: SinkContext
    /// The end of what may be delivered.
    let tail: Watermark
    /// Takes what no rule could map, and what the sink has refused; durable when it returns.
    let takeRejections: @Sendable (_ failures: [Rejection], _ refused: [Rejection]) async throws -> Void
    /// Whether what is held back has its turn as soon as nothing else has: nobody waits for more.
    let hurries: Bool
    /// Waits before so many changes are delivered: a replay that is to be slow.
    var pace: @Sendable (_ changes: Int) async throws -> Void = { _ in }
    let progress: SinkProgress
    let logger: Logger

    /// How long an idle sink waits before it looks at its checkpoint again.
    private static let idleInterval = Duration.seconds(1)

    func run() async throws {
        progress.beginStep()
        var position = try await sink.start(context)
        progress.confirmed.set(position)
        try await feed.seek(to: position)
        await feed.setWidth(sink.width())
        logger.info("delivery starts", metadata: ["sink": "\(name)", "offset": "\(position)"])
        var prepared: DeliveryFeed.Portion?
        // The oldest change that was held back when the last portion was made.
        var heldBack: Int64?
        while true {
            progress.beginStep()
            let portion: DeliveryFeed.Portion?
            if let ready = prepared {
                portion = ready
            } else {
                let isLast = hurries || tail.isFinished
                portion = try await feed.next(below: tail.value, isLast: isLast)
            }
            prepared = nil
            guard let portion else {
                if let offset = try await sink.idle() {
                    position = try await rewind(to: offset)
                    heldBack = nil
                    continue
                }
                progress.confirmed.set(min(position, heldBack ?? .max))
                if tail.isFinished, tail.value <= position, heldBack == nil { return }
                progress.endStep()
                let wait = min(Delivery.idleInterval, await feed.timeUntilDue() ?? Delivery.idleInterval)
                _ = try await tail.wait(until: position + 1, timeout: wait)
                continue
            }
            if let gap = portion.gap { try await bridge(gap) }
            try await pace(portion.batch.changes.count)
            async let following = feed.next(below: tail.value)
            let outcome = try await sink.deliver(portion.batch)
            prepared = try await following
            switch outcome {
            case .delivered(let refused):
                try await takeRejections(portion.failures, refused)
                if !refused.isEmpty { await feed.forget(refused) }
                // The transaction that has just gone through has confirmed everything before it.
                progress.confirmed.set(min(portion.batch.offsets.lowerBound, heldBack ?? .max))
                position = portion.batch.offsets.upperBound
                heldBack = portion.heldBack
                await sink.confirm(min(position, heldBack ?? .max))
                progress.delivered(portion.batch, failed: portion.failures.count, refused: refused)
            case .rewound(let offset):
                prepared = nil
                heldBack = nil
                position = try await rewind(to: offset)
            }
        }
    }

    private func rewind(to offset: Int64) async throws -> Int64 {
        let start = context.startOffset
        let target = max(offset, start)
        if offset < start { try await bridge(offset..<start) }
        logger.warning(
            "the sink has lost what it had acknowledged; delivering again",
            metadata: ["sink": "\(name)", "offset": "\(target)"])
        try await feed.seek(to: target)
        progress.rewound(to: target)
        return target
    }

    /// What the log no longer holds is made good by every live node, as it is now.
    private func bridge(_ gap: Range<Int64>) async throws {
        try await context.repeatSnapshot()
        logger.error(
            "the log no longer holds what the sink has not taken; every live node follows once more",
            metadata: ["sink": "\(name)", "offset": "\(gap.lowerBound)", "log_start": "\(gap.upperBound)"])
    }
}
