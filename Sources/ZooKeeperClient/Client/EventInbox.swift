internal import NIOCore

/// Events that wait for the one consumer, and the consumer that waits for events.
struct EventInbox {
    struct Waiter {
        let id: UInt64
        let continuation: CheckedContinuation<[ZooKeeperEvent], any Error>
        var timer: Scheduled<Void>?
    }

    private let limit: Int
    private var events: [ZooKeeperEvent] = []
    private(set) var waiter: Waiter?
    /// Somebody has asked for events.
    private var isConsumed = false

    init(limit: Int) {
        self.limit = max(limit, 2)
    }

    /// The consumer must catch up before more is read from the server. Without any consumer nothing is ever
    /// full: `append` forgets instead.
    var isFull: Bool { isConsumed && events.count >= limit }
    var isEmpty: Bool { events.isEmpty }

    /// Of attempts to connect that fail one after the other, the first and the last are kept: the first tells
    /// why a connection was lost.
    mutating func append(_ event: ZooKeeperEvent) {
        if isDisconnected(event), let last = events.last, isDisconnected(last), events.count > 1,
            isDisconnected(events[events.count - 2])
        {
            events.removeLast()
        }
        // A client of which nobody wants events: the oldest half goes.
        if !isConsumed, events.count >= limit { events.removeFirst(events.count / 2) }
        events.append(event)
    }

    private func isDisconnected(_ event: ZooKeeperEvent) -> Bool {
        if case .disconnected = event { true } else { false }
    }

    mutating func append(contentsOf more: [ZooKeeperEvent]) {
        if isConsumed {
            events.append(contentsOf: more)
        } else {
            for event in more { append(event) }
        }
    }

    mutating func take() -> [ZooKeeperEvent] {
        isConsumed = true
        defer { events = [] }
        return events
    }

    /// Whoever sends requests wants their replies.
    mutating func expectConsumer() { isConsumed = true }

    mutating func wait(_ waiter: Waiter) {
        isConsumed = true
        self.waiter = waiter
    }

    mutating func setTimer(_ timer: Scheduled<Void>, of id: UInt64) -> Bool {
        guard waiter?.id == id else { return false }
        waiter?.timer = timer
        return true
    }

    mutating func takeWaiter(_ id: UInt64? = nil) -> Waiter? {
        guard let waiter, id == nil || waiter.id == id else { return nil }
        self.waiter = nil
        return waiter
    }
}
