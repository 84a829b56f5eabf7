internal import Logging
internal import NIOCore
internal import Synchronization

/// What the client and its connection share: the state behind its lock.
final class ClientCore: Sendable {
    let configuration: ZooKeeperConfiguration
    let eventLoop: any EventLoop
    let logger: Logger
    private let state: Mutex<ClientState>

    init(_ configuration: ZooKeeperConfiguration, _ eventLoop: any EventLoop, _ logger: Logger) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        state = Mutex(ClientState(configuration))
    }

    /// Changes the state under the lock and does what follows from it after.
    @discardableResult
    func update<Value: Sendable>(_ body: (inout ClientState, inout Effects) -> Value) -> Value {
        let (value, effects) = state.withLock { state in
            var effects = Effects()
            let value = body(&state, &effects)
            return (value, effects)
        }
        effects.perform()
        return value
    }
}
