internal import NIOCore

/// What a connection has read and not yet handed over.
struct Received: Sendable {
    var events: [ZooKeeperEvent] = []
    var answers: [(id: UInt64, answer: Answer)] = []
    var lastZxid: Int64 = 0
    var isEmpty: Bool { events.isEmpty && answers.isEmpty }
}

/// What is done after the lock is released: resuming a task or calling into the connection may run code that
/// takes the lock.
struct Effects: Sendable {
    private var woken: (EventInbox.Waiter, Result<[ZooKeeperEvent], any Error>)?
    private var answered: [(Caller, Answer)] = []
    private var resumed: [CheckedContinuation<Void, Never>] = []
    private var commands: [(ConnectionHandler.Command, any Channel)] = []

    mutating func wake(_ waiter: EventInbox.Waiter, _ result: Result<[ZooKeeperEvent], any Error>) {
        woken = (waiter, result)
    }
    mutating func answer(_ caller: Caller, _ answer: Answer) { answered.append((caller, answer)) }
    mutating func resume(_ continuation: CheckedContinuation<Void, Never>) { resumed.append(continuation) }
    mutating func command(_ command: ConnectionHandler.Command, _ channel: any Channel) {
        commands.append((command, channel))
    }

    func perform() {
        for (command, channel) in commands { channel.triggerUserOutboundEvent(command, promise: nil) }
        if let (waiter, result) = woken {
            waiter.timer?.cancel()
            waiter.continuation.resume(with: result)
        }
        for (caller, answer) in answered {
            caller.timer.cancel()
            caller.continuation.resume(returning: answer)
        }
        for continuation in resumed { continuation.resume() }
    }
}
