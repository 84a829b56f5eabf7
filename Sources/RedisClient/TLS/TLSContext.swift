internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// What all connections of a client share for TLS. Made with the first of them, on a thread that may block: files are
/// read for it.
final class TLSContext: Sendable {
    let settings: RedisTLS
    private let loading = Mutex<EventLoopFuture<NIOSSLContext>?>(nil)

    init(_ settings: RedisTLS) {
        self.settings = settings
    }

    /// The context; after a failure another attempt to make it.
    ///
    /// - Throws: `connectionFailed` naming the file, `timeout` where the files cannot be read before the deadline,
    ///   `cancelled`.
    func get(
        before deadline: NIODeadline, _ eventLoop: any EventLoop, _ logger: Logger
    ) async throws(RedisError) -> NIOSSLContext {
        // Reading cannot be given up, but waiting for it can.
        let promise = eventLoop.makePromise(of: NIOSSLContext.self)
        let timer = eventLoop.scheduleTask(deadline: deadline) {
            promise.fail(RedisError(code: .timeout, message: "the files for TLS are not read in time"))
        }
        load(eventLoop, logger).whenComplete { result in
            timer.cancel()
            promise.completeWith(result)
        }
        do {
            return try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                promise.fail(RedisError(code: .cancelled, message: "cancelled"))
            }
        } catch {
            throw error as? RedisError
                ?? RedisError(code: .connectionFailed, message: "cannot prepare TLS: \(error)")
        }
    }

    private func load(_ eventLoop: any EventLoop, _ logger: Logger) -> EventLoopFuture<NIOSSLContext> {
        let (context, isNew) = loading.withLock { loading in
            if let loading { return (loading, false) }
            let context = NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) { [settings] in
                try TLSFiles(settings).context()
            }
            loading = context
            return (context, true)
        }
        guard isNew else { return context }
        context.whenComplete { result in
            switch result {
            case .failure:
                self.loading.withLock { $0 = nil }
            case .success where self.settings.verification == .none:
                logger.warning("the certificates of Redis servers are not checked (verify=none)")
            case .success:
                break
            }
        }
        return context
    }
}
